// SPDX-License-Identifier: Apache-2.0
//
// What the parts of the guest agent share: the clock and the Internet checksum.
#pragma once

#include <stddef.h>
#include <stdint.h>

// CLOCK_MONOTONIC of this guest, in nanoseconds.
uint64_t monotonic_ns(void);

// One's complement sums (RFC 1071). checksum_add() goes on with an unfolded sum over an even number
// of bytes; internet_checksum() finishes one, ready to be stored as it is.
uint32_t checksum_add(uint32_t sum, const void* data, size_t size);
uint16_t internet_checksum(uint32_t sum, const void* data, size_t size);
