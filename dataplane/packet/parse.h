// SPDX-License-Identifier: Apache-2.0
//
// Packet bytes -> FlowKey. Reads headers once, in place, never beyond head_len and never beyond
// what outer lengths allow (RFC 791, 8200, 9293, 768, 792, 4443, 826, 7348; 802.1Q with two tags,
// TPIDs 0x8100, 0x88a8).
//
// Trailing padding after the IP total length is not L4. IPv6 extension headers (hop-by-hop,
// routing, fragment, AH, destination options) are walked to a fixed depth; fragments other than the
// first have no L4 layer. A checksum of L4 is not verified here; IPv4's header checksum always is:
// virtio has no offload for it.
//
// A guest's checksum request (kPartialChecksum) is checked here too: the field it wants written
// must be its L4 checksum or lie behind everything that was read (a tunnel's inner checksum).
// Otherwise a guest could have the switch change an address after the rules have looked at it. Such
// a packet ends with bad_offload.
//
// Thread safety: pure functions.
#pragma once

#include <cstdint>
#include <optional>

#include "dataplane/packet/drop.h"
#include "dataplane/packet/flow_key.h"
#include "dataplane/packet/packet.h"

namespace godwit::dataplane {

// More extension headers than this: malformed_ipv6.
inline constexpr uint32_t kMaxIpv6ExtHeaders = 8;

struct Parsed {
  FlowKey key;
  uint16_t l3_offset =
      0;  // from Packet::data to the IPv4, IPv6 or ARP header; 0 = no L3 header known
  uint16_t l4_offset = 0;  // to what follows the IP headers, known protocol or not; 0 = none
  uint16_t l4_length = 0;  // L4 header and payload, bytes (by the IP length, not the frame's)
  uint8_t vlan_tags = 0;   // 0..2 parsed
  bool source_routed =
      false;  // an IPv6 routing header has segments left: ipv6_dst is not in L4's pseudo header
};

// On success nullopt, and `out` is filled (out.key.mark from packet.mark). Otherwise why the packet
// ends; `out` is then of no meaning.
[[nodiscard]] std::optional<Drop> parse(const Packet& packet, Parsed& out);

// The same by a walk over all headers, without the short cut for common frames.
[[nodiscard]] std::optional<Drop> parse_headers(const Packet& packet, Parsed& out);

// Hash over the flow's addresses, protocol and ports (symmetric use not needed), for spreading over
// queues. Fragments are hashed without protocol and ports, so that all of a datagram's go one way;
// frames without IP by their MACs.
[[nodiscard]] inline uint32_t flow_hash(const FlowKey& key) {
  // Folded product: each input bit reaches the whole result.
  const auto mix = [](uint64_t a, uint64_t b) {
    __extension__ using Product = unsigned __int128;
    const Product product =
        static_cast<Product>(a ^ 0x8f1bbcdc5a827999ULL) * (b ^ 0xca62c1d66ed9eba1ULL);
    return static_cast<uint64_t>(product) ^ static_cast<uint64_t>(product >> 64);
  };
  const uint16_t layers = key.layers.host();
  uint64_t ports = 0;
  if ((layers & kLayerFragment) == 0) {
    // The protocol neither, in a fragment: only an IPv6 datagram's first one tells what is behind
    // all its headers.
    ports = key.ip_proto | static_cast<uint64_t>(key.l4_src.raw()) << 16 |
            static_cast<uint64_t>(key.l4_dst.raw()) << 32;
  }
  uint64_t hash;
  if ((layers & kLayerIpv4) != 0) {
    hash = mix(key.word(5), ports);
  } else if ((layers & kLayerIpv6) != 0) {
    hash = mix(mix(key.word(6), key.word(7)) ^ ports, mix(key.word(8), key.word(9)));
  } else {
    hash = mix(key.eth_dst.to_u64(), key.eth_src.to_u64());
  }
  return static_cast<uint32_t>(hash ^ (hash >> 32));
}

}  // namespace godwit::dataplane
