// SPDX-License-Identifier: Apache-2.0
//
// The clock and the Internet checksum, shared by the parts of the guest agent.
#pragma once

#include <stddef.h>
#include <stdint.h>

// Returns CLOCK_MONOTONIC of this guest in nanoseconds.
uint64_t monotonic_ns(void);

// One's complement sums (RFC 1071). checksum_add() continues an unfolded sum over an even number of
// bytes. internet_checksum() finishes a sum; the caller stores the result without conversion.
uint32_t checksum_add(uint32_t sum, const void* data, size_t size);
uint16_t internet_checksum(uint32_t sum, const void* data, size_t size);
