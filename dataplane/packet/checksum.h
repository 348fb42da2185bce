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

// Returns the one's-complement sum of the bytes as 16-bit big-endian words, folded to 16 bits, in
// host order. An odd length is padded with a zero byte.
uint16_t ones_sum(std::span<const uint8_t> bytes, uint32_t initial = 0);

// Returns the checksum (host order) after `old_bytes`, which it covers, became `new_bytes`. Both
// have the same even length.
uint16_t checksum_update(uint16_t checksum, std::span<const uint8_t> old_bytes,
                         std::span<const uint8_t> new_bytes);

// Completes a checksum that the guest left to the host (kPartialChecksum): sums from csum_start to
// the end of the frame, writes the field and clears the flag. A zero UDP checksum becomes 0xffff.
// Returns bad_offload, and leaves the packet unchanged, if the request points outside the frame or
// if the frame is not contiguous (head_len != len).
std::optional<Drop> finish_partial_checksum(Packet& packet);

}  // namespace godwit::dataplane
