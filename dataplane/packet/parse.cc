// SPDX-License-Identifier: Apache-2.0
#include "dataplane/packet/parse.h"

#include <bit>
#include <cstring>

#include "dataplane/packet/headers.h"

namespace godwit::dataplane {

namespace {

using headers::copy_field;
using headers::load16;
using headers::load32;

// The position of the parser. Offsets are from the first byte of the frame.
struct Cursor {
  const uint8_t* data;
  uint32_t head;         // readable bytes
  uint32_t frame;        // bytes of the whole frame
  uint32_t offset = 0;   // first byte that is not read yet
  uint32_t payload = 0;  // first byte behind the last layer below L4
  uint16_t layers = 0;

  [[nodiscard]] const uint8_t* at() const { return data + offset; }
  [[nodiscard]] bool readable(uint32_t bytes) const { return head - offset >= bytes; }
};

void add_layer(Cursor& c, Layer layer) { c.layers = static_cast<uint16_t>(c.layers | layer); }

std::optional<Drop> parse_arp(Cursor& c, Parsed& out) {
  constexpr uint16_t kHardwareEthernet = 1;
  if (!c.readable(headers::kArpFixedBytes)) return Drop::k_malformed_arp;
  const uint8_t* p = c.at();
  const uint32_t hardware_bytes = p[4];
  const uint32_t protocol_bytes = p[5];
  if (load16(p) != kHardwareEthernet || load16(p + 2) != headers::kEtherTypeIpv4) {
    const uint32_t bytes = headers::kArpFixedBytes + 2 * (hardware_bytes + protocol_bytes);
    if (c.frame - c.offset < bytes) return Drop::k_malformed_arp;
    return std::nullopt;
  }
  if (hardware_bytes != 6 || protocol_bytes != 4 || !c.readable(headers::kArpEthIpv4Bytes))
    return Drop::k_malformed_arp;
  out.l3_offset = static_cast<uint16_t>(c.offset);
  copy_field(out.key.arp.opcode, p + 6);
  copy_field(out.key.arp.sha, p + 8);
  copy_field(out.key.ipv4.src, p + 14);
  copy_field(out.key.arp.tha, p + 18);
  copy_field(out.key.ipv4.dst, p + 24);
  add_layer(c, kLayerArp);
  c.offset += headers::kArpEthIpv4Bytes;
  c.payload = c.offset;
  return std::nullopt;
}

std::optional<Drop> parse_tcp(Cursor& c, Parsed& out, uint32_t available) {
  if (available < headers::kTcpMinBytes || !c.readable(headers::kTcpMinBytes))
    return Drop::k_malformed_l4;
  const uint8_t* p = c.at();
  const uint32_t header_bytes = static_cast<uint32_t>(p[12] >> 4) * 4;
  if (header_bytes < headers::kTcpMinBytes || header_bytes > available ||
      !c.readable(header_bytes)) {
    return Drop::k_malformed_l4;
  }
  copy_field(out.key.l4.src, p);
  copy_field(out.key.l4.dst, p + 2);
  out.key.l4.tcp_flags = p[13];
  add_layer(c, kLayerTcp);
  c.offset += header_bytes;
  return std::nullopt;
}

// `whole` says that the packet is not a fragment, so the UDP length must fit into the IP length.
std::optional<Drop> parse_udp(Cursor& c, Parsed& out, uint32_t available, bool whole) {
  if (available < headers::kUdpBytes || !c.readable(headers::kUdpBytes))
    return Drop::k_malformed_l4;
  const uint8_t* p = c.at();
  const uint32_t length = load16(p + 4);
  if (length < headers::kUdpBytes || (whole && length > available)) return Drop::k_malformed_l4;
  copy_field(out.key.l4.src, p);
  copy_field(out.key.l4.dst, p + 2);
  add_layer(c, kLayerUdp);
  c.offset += headers::kUdpBytes;
  if (load16(p + 2) != headers::kVxlanPort) return std::nullopt;

  constexpr uint32_t kBoth = headers::kUdpBytes + headers::kVxlanBytes;
  if (length < kBoth || available < kBoth || !c.readable(headers::kVxlanBytes))
    return Drop::k_malformed_l4;
  const uint8_t* vxlan = p + headers::kUdpBytes;
  c.offset +=
      headers::kVxlanBytes;  // read, also where flag I is clear: no checksum may be written over it
  if ((vxlan[0] & headers::kVxlanFlagVni) == 0) return std::nullopt;
  out.key.l4.vxlan_vni = to_be32(load32(vxlan + 4) & 0xffffff00);
  add_layer(c, kLayerVxlan);
  return std::nullopt;
}

// Queries and their replies, which carry an identifier and a sequence number (RFC 792, 950).
constexpr bool icmp_has_ident(uint8_t type) {
  constexpr uint8_t kEchoReply = 0;
  constexpr uint8_t kEchoRequest = 8;
  constexpr uint8_t kTimestamp =
      13;  // then its reply, information and address mask request and reply
  constexpr uint8_t kAddressMaskReply = 18;
  return type == kEchoReply || type == kEchoRequest ||
         (type >= kTimestamp && type <= kAddressMaskReply);
}

std::optional<Drop> parse_icmp(Cursor& c, Parsed& out, uint32_t available) {
  if (available < headers::kIcmpBytes || !c.readable(headers::kIcmpBytes))
    return Drop::k_malformed_l4;
  const uint8_t* p = c.at();
  out.key.l4.icmp_type = p[0];
  out.key.l4.icmp_code = p[1];
  if (icmp_has_ident(p[0])) {
    copy_field(out.key.l4.icmp_ident, p + 4);
    copy_field(out.key.l4.icmp_seq, p + 6);
  }
  add_layer(c, kLayerIcmp);
  c.offset += headers::kIcmpBytes;
  return std::nullopt;
}

std::optional<Drop> parse_icmp6(Cursor& c, Parsed& out, uint32_t available) {
  constexpr uint8_t kEchoRequest = 128;
  constexpr uint8_t kEchoReply = 129;
  if (available < headers::kIcmp6MinBytes || !c.readable(headers::kIcmp6MinBytes))
    return Drop::k_malformed_l4;
  const uint8_t* p = c.at();
  const bool echo = p[0] == kEchoRequest || p[0] == kEchoReply;
  uint32_t header_bytes = headers::kIcmp6MinBytes;
  if (echo) {
    header_bytes = headers::kIcmpBytes;
    if (available < header_bytes || !c.readable(header_bytes)) return Drop::k_malformed_l4;
    copy_field(out.key.l4.icmp_ident, p + 4);
    copy_field(out.key.l4.icmp_seq, p + 6);
  }
  out.key.l4.icmp_type = p[0];
  out.key.l4.icmp_code = p[1];
  add_layer(c, kLayerIcmp6);
  c.offset += header_bytes;
  return std::nullopt;
}

std::optional<Drop> parse_sctp(Cursor& c, Parsed& out, uint32_t available) {
  if (available < headers::kSctpBytes || !c.readable(headers::kSctpBytes))
    return Drop::k_malformed_l4;
  copy_field(out.key.l4.src, c.at());
  copy_field(out.key.l4.dst, c.at() + 2);
  add_layer(c, kLayerSctp);
  c.offset += headers::kSctpBytes;
  return std::nullopt;
}

// `available` is the number of bytes behind the IP headers, by the IP length. Nothing is read
// beyond them.
std::optional<Drop> parse_l4(Cursor& c, Parsed& out, uint32_t available, bool whole) {
  out.l4_offset = static_cast<uint16_t>(c.offset);
  out.l4_length = static_cast<uint16_t>(available);
  const bool ipv4 = (c.layers & kLayerIpv4) != 0;
  switch (out.key.ip.proto) {
    case headers::kProtoTcp: return parse_tcp(c, out, available);
    case headers::kProtoUdp: return parse_udp(c, out, available, whole);
    case headers::kProtoIcmp: return ipv4 ? parse_icmp(c, out, available) : std::nullopt;
    case headers::kProtoIcmp6: return ipv4 ? std::nullopt : parse_icmp6(c, out, available);
    case headers::kProtoSctp: return parse_sctp(c, out, available);
    default: return std::nullopt;
  }
}

// Returns whether the sum of `words` 32-bit words is all ones, which does not depend on the byte
// order.
bool header_checksum_is_right(const uint8_t* p, uint32_t words) {
  const auto word = [p](uint32_t i) {
    uint32_t w;
    std::memcpy(&w, p + i * 4, sizeof(w));
    return uint64_t{w};
  };
  uint64_t sum = word(0) + word(1) + word(2) + word(3) + word(4);
  for (uint32_t i = 5; i < words; ++i) sum += word(i);
  sum = (sum & 0xffffffff) + (sum >> 32);
  sum = (sum & 0xffff) + (sum >> 16);
  sum = (sum & 0xffff) + (sum >> 16);
  sum = (sum & 0xffff) + (sum >> 16);
  return sum == 0xffff;
}

std::optional<Drop> parse_ipv4(Cursor& c, Parsed& out) {
  if (!c.readable(headers::kIpv4MinBytes)) return Drop::k_malformed_ipv4;
  const uint8_t* p = c.at();
  const uint32_t header_words = p[0] & 0x0f;
  const uint32_t header_bytes = header_words * 4;
  const uint32_t total_bytes = load16(p + 2);
  if ((p[0] >> 4) != 4 || header_bytes < headers::kIpv4MinBytes || !c.readable(header_bytes) ||
      total_bytes < header_bytes || total_bytes > c.frame - c.offset) {
    return Drop::k_malformed_ipv4;
  }
  if (!header_checksum_is_right(p, header_words)) return Drop::k_malformed_ipv4;

  FlowKey& key = out.key;
  out.l3_offset = static_cast<uint16_t>(c.offset);
  key.ip.tos = p[1];
  key.ip.ttl = p[8];
  key.ip.proto = p[9];
  copy_field(key.ip.fragment, p + 6);
  copy_field(key.ipv4.src, p + 12);
  copy_field(key.ipv4.dst, p + 16);
  add_layer(c, kLayerIpv4);
  c.offset += header_bytes;
  c.payload = c.offset;

  const uint16_t fragment = load16(p + 6) & (headers::kFragmentMore4 | headers::kFragmentOffset4);
  if (fragment != 0) {
    add_layer(c, kLayerFragment);
    if ((fragment & headers::kFragmentOffset4) != 0) return std::nullopt;
  }
  return parse_l4(c, out, total_bytes - header_bytes, fragment == 0);
}

// The state of the walk over IPv6 extension headers.
struct ExtWalk {
  uint32_t available;  // bytes left by the payload length
  uint16_t fragment = 0;
  bool fragmented = false;
  bool at_l4 = true;  // false behind the fragment header of a later fragment
};

constexpr bool is_ext_header(uint8_t proto) {
  return proto == headers::kProtoHopByHop || proto == headers::kProtoRouting ||
         proto == headers::kProtoFragment || proto == headers::kProtoDestOptions ||
         proto == headers::kProtoAuth;
}

std::optional<Drop> walk_ext_headers(Cursor& c, Parsed& out, ExtWalk& walk) {
  constexpr uint32_t kExtMinBytes = 8;
  FlowKey& key = out.key;
  for (uint32_t depth = 0; is_ext_header(key.ip.proto); ++depth) {
    if (depth == kMaxIpv6ExtHeaders || walk.available < kExtMinBytes || !c.readable(kExtMinBytes)) {
      return Drop::k_malformed_ipv6;
    }
    const uint8_t* p = c.at();
    uint32_t bytes = (static_cast<uint32_t>(p[1]) + 1) * 8;
    switch (key.ip.proto) {
      case headers::kProtoFragment:
        // A second fragment header could hide the transport header of a first fragment.
        if (walk.fragmented) return Drop::k_malformed_ipv6;
        bytes = kExtMinBytes;
        copy_field(key.ip.fragment, p + 2);
        walk.fragment = load16(p + 2);
        walk.fragmented = true;
        break;
      case headers::kProtoAuth: bytes = (static_cast<uint32_t>(p[1]) + 2) * 4; break;
      case headers::kProtoRouting: out.source_routed = out.source_routed || p[3] != 0; break;
      default: break;
    }
    if (bytes < kExtMinBytes || bytes > walk.available || !c.readable(bytes))
      return Drop::k_malformed_ipv6;
    key.ip.proto = p[0];
    add_layer(c, kLayerIpv6Ext);
    c.offset += bytes;
    walk.available -= bytes;
    if ((walk.fragment & headers::kFragmentOffset6) != 0) {
      walk.at_l4 = false;
      return std::nullopt;
    }
  }
  return std::nullopt;
}

std::optional<Drop> parse_ipv6(Cursor& c, Parsed& out) {
  if (!c.readable(headers::kIpv6Bytes)) return Drop::k_malformed_ipv6;
  const uint8_t* p = c.at();
  const uint32_t first = load32(p);
  ExtWalk walk{.available = load16(p + 4)};
  if ((first >> 28) != 6 || walk.available > c.frame - c.offset - headers::kIpv6Bytes)
    return Drop::k_malformed_ipv6;

  FlowKey& key = out.key;
  out.l3_offset = static_cast<uint16_t>(c.offset);
  key.ip.tos = static_cast<uint8_t>(first >> 20);
  key.ip.ipv6_flow = to_be32(first & 0x000fffff);
  key.ip.ipv6_next = p[6];
  key.ip.proto = p[6];
  key.ip.ttl = p[7];
  copy_field(key.ipv6.src, p + 8);
  copy_field(key.ipv6.dst, p + 24);
  add_layer(c, kLayerIpv6);
  c.offset += headers::kIpv6Bytes;

  // A jumbogram has payload length zero and a hop-by-hop header. The walk refuses it, because the
  // header does not fit into the length.
  if (const auto drop = walk_ext_headers(c, out, walk)) return drop;
  c.payload = c.offset;
  if (walk.fragmented) add_layer(c, kLayerFragment);
  if (!walk.at_l4) return std::nullopt;
  return parse_l4(c, out, walk.available, (walk.fragment & headers::kFragmentMore6) == 0);
}

std::optional<Drop> parse_l3(Cursor& c, Parsed& out, uint16_t type) {
  switch (type) {
    case headers::kEtherTypeIpv4: return parse_ipv4(c, out);
    case headers::kEtherTypeIpv6: return parse_ipv6(c, out);
    case headers::kEtherTypeArp: return parse_arp(c, out);
    default: return std::nullopt;
  }
}

// Returns whether rules cannot have matched the field that the guest wants written.
bool partial_checksum_is_harmless(const Packet& packet, const Cursor& c, const Parsed& out) {
  const uint32_t start = packet.csum_start;
  const uint32_t field = start + packet.csum_offset;
  if (start < c.payload || field + 2 > packet.len) return false;
  if (field >= c.offset) return true;
  if (start != out.l4_offset) return false;
  if ((c.layers & kLayerTcp) != 0) return packet.csum_offset == headers::kTcpChecksum;
  if ((c.layers & kLayerUdp) != 0) return packet.csum_offset == headers::kUdpChecksum;
  if ((c.layers & (kLayerIcmp | kLayerIcmp6)) != 0)
    return packet.csum_offset == headers::kIcmpChecksum;
  return false;
}

// The fast path for most frames: untagged IPv4 without options, unfragmented, with TCP or UDP.
// Fills `out` as parse_headers() does and returns true. Returns false for all other frames.
bool parse_common(const Packet& packet, Parsed& out) {
  static_assert(std::endian::native == std::endian::little,
                "the words below are assembled in little-endian order");
  constexpr uint32_t kL3 = headers::kEthBytes;
  constexpr uint32_t kL4 = kL3 + headers::kIpv4MinBytes;
  constexpr uint64_t kMacMask = 0x0000ffffffffffff;
  const uint8_t* p = packet.data;
  const uint8_t* ip = p + kL3;
  const uint8_t* l4 = p + kL4;
  if (packet.head_len < kL4 + headers::kTcpMinBytes ||
      (packet.flags & Packet::kPartialChecksum) != 0)
    return false;
  const uint32_t total = load16(ip + 2);
  const bool plain =
      load16(p + headers::kMacsBytes) == headers::kEtherTypeIpv4 && ip[0] == 0x45 &&
      (load16(ip + 6) & (headers::kFragmentMore4 | headers::kFragmentOffset4)) == 0 &&
      total <= packet.len - kL3 && header_checksum_is_right(ip, 5);
  if (!plain) return false;
  const uint32_t available = total - headers::kIpv4MinBytes;  // wraps to a large number if total is
                                                              // less; the checks below refuse that
  uint16_t layers = kLayerEth | kLayerIpv4;
  uint64_t tcp_flags = 0;
  if (ip[9] == headers::kProtoUdp) {
    const uint32_t length = load16(l4 + 4);
    if (total < headers::kIpv4MinBytes + headers::kUdpBytes || length < headers::kUdpBytes ||
        length > available)
      return false;
    if (load16(l4 + 2) == headers::kVxlanPort) return false;
    layers |= kLayerUdp;
  } else if (ip[9] == headers::kProtoTcp) {
    const uint32_t header_bytes = static_cast<uint32_t>(l4[12] >> 4) * 4;
    if (total < kL4 - kL3 + headers::kTcpMinBytes || header_bytes < headers::kTcpMinBytes ||
        header_bytes > available || header_bytes > packet.head_len - kL4) {
      return false;
    }
    tcp_flags = l4[13];
    layers |= kLayerTcp;
  } else {
    return false;
  }
  const auto word = [](const uint8_t* at) {
    uint64_t w;
    std::memcpy(&w, at, sizeof w);
    return w;
  };
  FlowKey& key = out.key;
  key.set_word(0, (word(p) & kMacMask) |
                      static_cast<uint64_t>(to_be16(headers::kEtherTypeIpv4).raw()) << 48);
  key.set_word(1, word(p + 6) & kMacMask);
  key.set_word(2, static_cast<uint64_t>(to_be16(layers).raw()) << 48);
  key.set_word(3, to_be32(packet.mark).raw() | static_cast<uint64_t>(ip[9]) << 32 |
                      static_cast<uint64_t>(ip[8]) << 40 | static_cast<uint64_t>(ip[1]) << 48);
  key.set_word(4, word(ip + 6) & 0xffff);
  key.set_word(5, word(ip + 12));
  for (size_t w = 6; w < 10; ++w) key.set_word(w, 0);
  key.set_word(10, (word(l4) & 0xffffffff) | tcp_flags << 32);
  for (size_t w = 11; w < kFlowKeyWords; ++w) key.set_word(w, 0);
  out.l3_offset = kL3;
  out.l4_offset = kL4;
  out.l4_length = static_cast<uint16_t>(available);
  out.vlan_tags = 0;
  out.source_routed = false;
  return true;
}

}  // namespace

std::optional<Drop> parse(const Packet& packet, Parsed& out) {
  if (parse_common(packet, out)) return std::nullopt;
  return parse_headers(packet, out);
}

std::optional<Drop> parse_headers(const Packet& packet, Parsed& out) {
  out = Parsed{};
  Cursor c{.data = packet.data, .head = packet.head_len, .frame = packet.len};
  if (!c.readable(headers::kEthBytes)) return Drop::k_malformed_eth;

  FlowKey& key = out.key;
  const uint8_t* p = packet.data;
  copy_field(key.eth.dst, p);
  copy_field(key.eth.src, p + 6);
  copy_field(key.eth.type, p + headers::kMacsBytes);
  key.mark = to_be32(packet.mark);
  c.layers = kLayerEth;
  c.offset = headers::kEthBytes;

  uint16_t type = key.eth.type.host();
  if (headers::is_vlan_tpid(type)) {
    if (!c.readable(headers::kVlanBytes)) return Drop::k_malformed_eth;
    copy_field(key.eth.vlan_tci, c.at());
    copy_field(key.eth.vlan_inner_type, c.at() + 2);
    type = key.eth.vlan_inner_type.host();
    add_layer(c, kLayerVlan);
    c.offset += headers::kVlanBytes;
    out.vlan_tags = 1;
    if (headers::is_vlan_tpid(type)) {
      if (!c.readable(headers::kVlanBytes)) return Drop::k_malformed_eth;
      copy_field(key.eth.vlan2_tci, c.at());
      copy_field(key.eth.vlan2_inner_type, c.at() + 2);
      type = key.eth.vlan2_inner_type.host();
      add_layer(c, kLayerVlan2);
      c.offset += headers::kVlanBytes;
      out.vlan_tags = 2;
    }
  }
  c.payload = c.offset;

  if (const auto drop = parse_l3(c, out, type)) return drop;
  key.layers = to_be16(c.layers);
  if ((packet.flags & Packet::kPartialChecksum) != 0 &&
      !partial_checksum_is_harmless(packet, c, out)) {
    return Drop::k_bad_offload;
  }
  return std::nullopt;
}

}  // namespace godwit::dataplane
