// SPDX-License-Identifier: Apache-2.0
//
// Parses the bytes of a packet into a FlowKey. The parser reads headers once, in place. It reads
// neither beyond head_len nor beyond the lengths in outer headers (RFC 791, 8200, 9293, 768, 792,
// 4443, 826, 7348; 802.1Q with up to two tags, TPIDs 0x8100 and 0x88a8).
//
// Padding behind the IP total length is not part of L4. The parser walks IPv6 extension headers
// (hop-by-hop, routing, fragment, AH, destination options) to a fixed depth. Fragments other than
// the first have no L4 layer. The IPv4 header checksum is always verified, because virtio has no
// offload for it; L4 checksums are not.
//
// The parser also checks a guest's checksum request (kPartialChecksum). The requested field must be
// the L4 checksum or lie behind everything that was read (the inner checksum of a tunnel).
// Otherwise a guest could make the switch change an address after the rules have matched it. Such a
// packet is dropped with bad_offload.
//
// Thread safety: pure functions.
#pragma once

#include <cstdint>
#include <optional>

#include "dataplane/packet/drop.h"
#include "dataplane/packet/flow_key.h"
#include "dataplane/packet/packet.h"

namespace godwit::dataplane {

// A packet with more extension headers is dropped with malformed_ipv6.
inline constexpr uint32_t kMaxIpv6ExtHeaders = 8;

struct Parsed {
  FlowKey key;
  // Offset from Packet::data of the IPv4, IPv6 or ARP header; zero if there is none.
  uint16_t l3_offset = 0;
  // Offset of the bytes behind the IP headers, whatever the protocol; zero if there are none.
  uint16_t l4_offset = 0;
  uint16_t l4_length = 0;  // bytes of L4 header and payload, by the IP length
  uint8_t vlan_tags = 0;   // tags parsed, 0..2
  // An IPv6 routing header has segments left, so ipv6.dst is not in the pseudo header of L4.
  bool source_routed = false;
};

// Fills `out` and returns nullopt; out.key.mark is packet.mark. If the packet is malformed, returns
// the reason for its drop, and `out` has no meaning.
[[nodiscard]] std::optional<Drop> parse(const Packet& packet, Parsed& out);

// Does the same without the fast path for common frames.
[[nodiscard]] std::optional<Drop> parse_headers(const Packet& packet, Parsed& out);

// Returns a hash of the flow's addresses, protocol and ports, which spreads flows over queues. The
// two directions of a connection have different hashes. For fragments the hash leaves out protocol
// and ports, so that all fragments of a datagram take the same queue. For frames without IP it uses
// the MAC addresses.
[[nodiscard]] inline uint32_t flow_hash(const FlowKey& key) {
  // A folded product: each input bit affects the whole result.
  const auto mix = [](uint64_t a, uint64_t b) {
    __extension__ using Product = unsigned __int128;
    const Product product =
        static_cast<Product>(a ^ 0x8f1bbcdc5a827999ULL) * (b ^ 0xca62c1d66ed9eba1ULL);
    return static_cast<uint64_t>(product) ^ static_cast<uint64_t>(product >> 64);
  };
  const uint16_t layers = key.layers.host();
  uint64_t ports = 0;
  if ((layers & kLayerFragment) == 0) {
    // Fragments leave out the protocol too: only the first fragment of an IPv6 datagram shows the
    // protocol behind all its headers.
    ports = key.ip.proto | static_cast<uint64_t>(key.l4.src.raw()) << 16 |
            static_cast<uint64_t>(key.l4.dst.raw()) << 32;
  }
  uint64_t hash;
  if ((layers & kLayerIpv4) != 0) {
    hash = mix(key.word(5), ports);
  } else if ((layers & kLayerIpv6) != 0) {
    hash = mix(mix(key.word(6), key.word(7)) ^ ports, mix(key.word(8), key.word(9)));
  } else {
    hash = mix(key.eth.dst.to_u64(), key.eth.src.to_u64());
  }
  return static_cast<uint32_t>(hash ^ (hash >> 32));
}

}  // namespace godwit::dataplane
