// SPDX-License-Identifier: Apache-2.0
//
// Internet checksums (RFC 1071) and their incremental update (RFC 1624).
#pragma once

#include <cstdint>
#include <optional>
#include <span>

#include "dataplane/packet/drop.h"
#include "dataplane/packet/packet.h"

namespace godwit::dataplane {

// One's-complement sum of bytes as 16-bit big-endian words, folded to 16 bits, in host order. Odd
// lengths are padded with 0.
uint16_t ones_sum(std::span<const uint8_t> bytes, uint32_t initial = 0);

// A checksum field (host order) after `old_bytes` that it covers became `new_bytes` (same even
// length).
uint16_t checksum_update(uint16_t checksum, std::span<const uint8_t> old_bytes,
                         std::span<const uint8_t> new_bytes);

// Does what a guest left undone (kPartialChecksum): sums from csum_start to the end of the frame,
// writes the field, clears the flag. Needs head_len == len. UDP's zero becomes 0xffff. A request
// that points outside: bad_offload, packet unchanged.
std::optional<Drop> finish_partial_checksum(Packet& packet);

}  // namespace godwit::dataplane
