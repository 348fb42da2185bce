// SPDX-License-Identifier: Apache-2.0
//
// Packet bytes -> FlowKey. Reads headers once, in place, never beyond head_len and never beyond what
// outer lengths allow (RFC 791, 8200, 9293, 768, 792, 4443, 826, 7348; 802.1Q with two tags, TPIDs 0x8100, 0x88a8).
//
// Trailing padding after the IP total length is not L4. IPv6 extension headers are walked to a fixed
// depth; fragments other than the first have no L4 layer. A checksum of L4 is not verified here; IPv4's header
// checksum is, except where the sender left it to offload.
#pragma once

#include <cstdint>
#include <optional>

#include "dataplane/drop.h"
#include "dataplane/flow_key.h"
#include "dataplane/packet.h"

namespace godwit::dataplane {

struct Parsed {
  FlowKey key;
  uint16_t l3_offset = 0;   // from Packet::data; 0 = no L3 header known
  uint16_t l4_offset = 0;   // 0 = none
  uint16_t l4_length = 0;   // L4 header and payload, bytes (by the IP length, not the frame's)
  uint8_t vlan_tags = 0;    // 0..2 parsed
};

// On success nullopt, and `out` is filled (out.key.mark from packet.mark). Otherwise why the packet ends.
std::optional<Drop> parse(const Packet& packet, Parsed& out);

// Hash over the flow's addresses, protocol and ports (symmetric use not needed), for spreading over queues.
uint32_t flow_hash(const FlowKey& key);

}  // namespace godwit::dataplane
