// SPDX-License-Identifier: Apache-2.0
//
// FlowKey: the fields of a packet that rules can match, in a fixed block of 14 words. The parser
// fills it; the classifier masks and compares it.
//
// All fields are in network byte order, so a prefix is a run of leading mask bits. A field whose
// header is absent is zero. `layers` says which headers are present; a pattern that names an item
// matches on the item's bit. Fragments other than the first have no L4 layer. ARP shares the IPv4
// address fields (as OpenFlow's nw_src and nw_dst do); the layer bits distinguish them. Nothing is
// parsed behind a VXLAN header.
#pragma once

#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <type_traits>

#include "base/bytes.h"
#include "base/net.h"

namespace godwit::dataplane {

// Bits of FlowKey::layers (kept in network order there).
enum Layer : uint16_t {
  kLayerEth = 1 << 0,
  kLayerVlan = 1 << 1,   // outer tag
  kLayerVlan2 = 1 << 2,  // inner tag
  kLayerArp = 1 << 3,
  kLayerIpv4 = 1 << 4,
  kLayerIpv6 = 1 << 5,
  // Any fragment, including the first one. For IPv6: the packet has a fragment header.
  kLayerFragment = 1 << 6,
  kLayerTcp = 1 << 7,
  kLayerUdp = 1 << 8,
  kLayerIcmp = 1 << 9,
  kLayerIcmp6 = 1 << 10,
  kLayerVxlan = 1 << 11,
  kLayerSctp = 1 << 12,
  kLayerIpv6Ext = 1 << 13,  // any extension header
};

struct FlowKey {
  MacAddress eth_dst;  // word 0
  be16 eth_type;       // as on the wire: the TPID of a tagged frame
  MacAddress eth_src;  // word 1
  be16 vlan_tci;
  be16 vlan_inner_type;  // word 2
  be16 vlan2_tci;
  be16 vlan2_inner_type;
  be16 layers;
  be32 mark;  // word 3
  // The L4 protocol, behind IPv6 extension headers. Field `proto` of item `ipv6` is ipv6_next.
  uint8_t ip_proto = 0;
  uint8_t ip_ttl = 0;     // IPv4 TTL or IPv6 hop limit
  uint8_t ip_tos = 0;     // IPv4 TOS or IPv6 traffic class
  uint8_t ipv6_next = 0;  // next header of the IPv6 fixed header
  be16 ip_fragment;      // word 4: IPv4 flags and offset; IPv6: offset and M of the fragment header
  be16 ip_id_or_zero;    // spare, zero
  be32 ipv6_flow;        // flow label, 20 bits
  be32 ipv4_src;         // word 5; ARP: spa
  be32 ipv4_dst;         // ARP: tpa
  Ipv6Address ipv6_src;  // words 6-7
  Ipv6Address ipv6_dst;  // words 8-9
  be16 l4_src;           // word 10: TCP, UDP, SCTP
  be16 l4_dst;
  uint8_t tcp_flags = 0;
  uint8_t icmp_type = 0;  // ICMP and ICMPv6
  uint8_t icmp_code = 0;
  uint8_t spare0 = 0;
  be16 icmp_ident;  // word 11
  be16 icmp_seq;
  be32 vxlan_vni;      // VNI in the high 24 bits, low 8 zero
  MacAddress arp_sha;  // word 12
  be16 arp_opcode;
  MacAddress arp_tha;  // word 13
  be16 spare1;

  bool operator==(const FlowKey&) const = default;
  [[nodiscard]] uint64_t word(size_t i) const {
    uint64_t w;
    std::memcpy(&w, reinterpret_cast<const uint8_t*>(this) + i * 8, 8);
    return w;
  }
  void set_word(size_t i, uint64_t w) {
    std::memcpy(reinterpret_cast<uint8_t*>(this) + i * 8, &w, 8);
  }
  [[nodiscard]] const uint8_t* bytes() const { return reinterpret_cast<const uint8_t*>(this); }
  [[nodiscard]] uint8_t* bytes() { return reinterpret_cast<uint8_t*>(this); }
  [[nodiscard]] bool has(uint16_t layer_bits) const {
    return (layers.host() & layer_bits) == layer_bits;
  }
};
inline constexpr size_t kFlowKeyWords = 14;
inline constexpr size_t kFlowKeyBytes = kFlowKeyWords * 8;
static_assert(sizeof(FlowKey) == kFlowKeyBytes);
static_assert(std::is_trivially_copyable_v<FlowKey>);

}  // namespace godwit::dataplane
