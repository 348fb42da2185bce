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

// The groups of fields. Each has alignment 1, so FlowKey has no padding.
struct EthernetFields {
  MacAddress dst;
  be16 type;  // as on the wire: the TPID of a tagged frame
  MacAddress src;
  be16 vlan_tci;
  be16 vlan_inner_type;
  be16 vlan2_tci;
  be16 vlan2_inner_type;
  bool operator==(const EthernetFields&) const = default;
};

struct IpFields {
  uint8_t proto = 0;      // the L4 protocol, behind IPv6 extension headers
  uint8_t ttl = 0;        // IPv4 TTL or IPv6 hop limit
  uint8_t tos = 0;        // IPv4 TOS or IPv6 traffic class
  uint8_t ipv6_next = 0;  // next header of the IPv6 fixed header: field `proto` of item `ipv6`
  be16 fragment;          // IPv4: flags and offset; IPv6: offset and M of the fragment header
  be16 unused;            // zero
  be32 ipv6_flow;         // flow label, 20 bits
  bool operator==(const IpFields&) const = default;
};

struct Ipv4Fields {
  be32 src;  // ARP: spa
  be32 dst;  // ARP: tpa
  bool operator==(const Ipv4Fields&) const = default;
};

struct Ipv6Fields {
  Ipv6Address src;
  Ipv6Address dst;
  bool operator==(const Ipv6Fields&) const = default;
};

struct L4Fields {
  be16 src;  // TCP, UDP, SCTP
  be16 dst;
  uint8_t tcp_flags = 0;
  uint8_t icmp_type = 0;  // ICMP and ICMPv6
  uint8_t icmp_code = 0;
  uint8_t unused = 0;
  be16 icmp_ident;
  be16 icmp_seq;
  be32 vxlan_vni;  // VNI in the high 24 bits, low 8 zero
  bool operator==(const L4Fields&) const = default;
};

struct ArpFields {
  MacAddress sha;
  be16 opcode;
  MacAddress tha;
  be16 unused;
  bool operator==(const ArpFields&) const = default;
};

struct FlowKey {
  EthernetFields eth;  // words 0 to 2, without the last two bytes
  be16 layers;
  be32 mark;        // word 3, first half
  IpFields ip;      // word 3, second half, and word 4
  Ipv4Fields ipv4;  // word 5
  Ipv6Fields ipv6;  // words 6 to 9
  L4Fields l4;      // words 10 and 11
  ArpFields arp;    // words 12 and 13

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
static_assert(sizeof(FlowKey) == kFlowKeyBytes && alignof(FlowKey) == 1);
static_assert(std::is_trivially_copyable_v<FlowKey>);

}  // namespace godwit::dataplane
