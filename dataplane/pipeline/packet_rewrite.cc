// SPDX-License-Identifier: Apache-2.0
//
// Each function checks everything before it changes a byte, so that a refused packet is unchanged.
#include <cstring>
#include <utility>

#include "dataplane/packet/checksum.h"
#include "dataplane/packet/headers.h"
#include "dataplane/pipeline/packet_rewrite.h"

namespace godwit::dataplane {

namespace {

using Bytes = std::span<const uint8_t>;

// Returns the offset from the frame's start of an L4 checksum that covers the IP addresses, or 0 if
// the packet has none.
uint32_t pseudo_checksum_offset(const Packet& packet, const Parsed& parsed) {
  const uint16_t layers = parsed.key.layers.host();
  if ((layers & kLayerTcp) != 0) return parsed.l4_offset + headers::kTcpChecksum;
  if ((layers & kLayerUdp) != 0) return parsed.l4_offset + headers::kUdpChecksum;
  if ((layers & kLayerIcmp6) != 0) return parsed.l4_offset + headers::kIcmpChecksum;
  // The parser skips these, so their header may be cut short (RFC 3828, 4340).
  const uint8_t proto = parsed.key.ip.proto;
  const bool covered = proto == headers::kProtoUdpLite || proto == headers::kProtoDccp;
  const uint32_t end = parsed.l4_offset + headers::kUdpChecksum + 2;
  if (covered && parsed.l4_offset != 0 && parsed.l4_length >= headers::kUdpBytes &&
      end <= packet.head_len)
    return end - 2;
  return 0;
}

// Replaces `field` and updates the IPv4 header checksum and the L4 checksum, each if its pointer is
// not null.
void replace(uint8_t* field, Bytes bytes, uint8_t* header_checksum, uint8_t* l4_checksum,
             bool udp) {
  const Bytes old(field, bytes.size());
  if (header_checksum != nullptr) {
    headers::store16(header_checksum,
                     checksum_update(headers::load16(header_checksum), old, bytes));
  }
  if (l4_checksum != nullptr) {
    const uint16_t before = headers::load16(l4_checksum);
    if (!udp || before != 0) {
      uint16_t after = checksum_update(before, old, bytes);
      if (udp && after == 0) after = 0xffff;
      headers::store16(l4_checksum, after);
    }
  }
  std::memcpy(field, bytes.data(), bytes.size());
}

// Replaces bytes that the L4 checksum covers. A checksum that the guest left partial is completed
// first.
std::optional<Drop> replace_covered(Packet& packet, const Parsed& parsed, uint32_t offset,
                                    Bytes bytes, uint32_t header_checksum_offset) {
  const uint32_t l4_checksum_offset = pseudo_checksum_offset(packet, parsed);
  if (l4_checksum_offset != 0) {
    if (const auto drop = finish_partial_checksum(packet)) return drop;
  }
  uint8_t* header = header_checksum_offset != 0 ? packet.data + header_checksum_offset : nullptr;
  uint8_t* l4 = l4_checksum_offset != 0 ? packet.data + l4_checksum_offset : nullptr;
  replace(packet.data + offset, bytes, header, l4, parsed.key.has(kLayerUdp));
  return std::nullopt;
}

std::optional<Drop> push_vlan(uint32_t tpid, Packet& packet, const Parsed& parsed) {
  constexpr uint16_t kVidAndPcp = 0xefff;
  if (tpid > UINT16_MAX || !headers::is_vlan_tpid(static_cast<uint16_t>(tpid)))
    return Drop::k_rewrite_impossible;
  if (packet.headroom < headers::kVlanBytes) return Drop::k_rewrite_impossible;
  const bool partial = (packet.flags & Packet::kPartialChecksum) != 0;
  if (partial && packet.csum_start > UINT16_MAX - headers::kVlanBytes)
    return Drop::k_rewrite_impossible;

  // OpenFlow 1.3, 5.12: the new tag copies VID and PCP of the outer tag, or has zeros without one.
  const uint16_t tci = parsed.key.eth.vlan_tci.host() & kVidAndPcp;
  packet.data -= headers::kVlanBytes;
  std::memmove(packet.data, packet.data + headers::kVlanBytes, headers::kMacsBytes);
  headers::store16(packet.data + headers::kMacsBytes, static_cast<uint16_t>(tpid));
  headers::store16(packet.data + headers::kMacsBytes + 2, tci);
  packet.len += headers::kVlanBytes;
  packet.head_len += headers::kVlanBytes;
  packet.headroom = static_cast<uint16_t>(packet.headroom - headers::kVlanBytes);
  if (partial) packet.csum_start = static_cast<uint16_t>(packet.csum_start + headers::kVlanBytes);
  return std::nullopt;
}

std::optional<Drop> pop_vlan(Packet& packet, const Parsed& parsed) {
  if (parsed.vlan_tags == 0) return Drop::k_rewrite_impossible;
  std::memmove(packet.data + headers::kVlanBytes, packet.data, headers::kMacsBytes);
  packet.data += headers::kVlanBytes;
  packet.len -= headers::kVlanBytes;
  packet.head_len -= headers::kVlanBytes;
  packet.headroom = static_cast<uint16_t>(packet.headroom + headers::kVlanBytes);
  // parse() has checked that csum_start lies behind the tag.
  if ((packet.flags & Packet::kPartialChecksum) != 0) {
    packet.csum_start = static_cast<uint16_t>(packet.csum_start - headers::kVlanBytes);
  }
  return std::nullopt;
}

// Sets the bits of the outer tag that `mask` names.
std::optional<Drop> set_vlan_tci(uint16_t mask, uint32_t bits, Packet& packet,
                                 const Parsed& parsed) {
  if (parsed.vlan_tags == 0) return Drop::k_rewrite_impossible;
  uint8_t* tci = packet.data + headers::kEthBytes;
  const auto kept = static_cast<uint16_t>(headers::load16(tci) & ~mask);
  headers::store16(tci, static_cast<uint16_t>(kept | (bits & mask)));
  return std::nullopt;
}

std::optional<Drop> set_mac(uint32_t offset, const Op& op, Packet& packet) {
  std::memcpy(packet.data + offset, op.value.data(), 6);
  return std::nullopt;
}

std::optional<Drop> swap_macs(Packet& packet) {
  uint8_t macs[headers::kMacsBytes];
  std::memcpy(macs, packet.data, sizeof(macs));
  std::memcpy(packet.data, macs + 6, 6);
  std::memcpy(packet.data + 6, macs, 6);
  return std::nullopt;
}

std::optional<Drop> set_ipv4(uint32_t offset, const Op& op, Packet& packet, const Parsed& parsed) {
  if (!parsed.key.has(kLayerIpv4)) return Drop::k_rewrite_impossible;
  const uint32_t l3 = parsed.l3_offset;
  return replace_covered(packet, parsed, l3 + offset, Bytes(op.value).first(4),
                         l3 + headers::kIpv4Checksum);
}

std::optional<Drop> set_ipv6(uint32_t offset, const Op& op, Packet& packet, const Parsed& parsed) {
  constexpr uint32_t kDestination = 24;
  if (!parsed.key.has(kLayerIpv6)) return Drop::k_rewrite_impossible;
  const uint32_t at = parsed.l3_offset + offset;
  if (offset == kDestination && parsed.source_routed) {
    // The pseudo header holds the address of the last hop (RFC 8200, 8.1), which is unchanged.
    replace(packet.data + at, Bytes(op.value), nullptr, nullptr, false);
    return std::nullopt;
  }
  return replace_covered(packet, parsed, at, Bytes(op.value), 0);
}

std::optional<Drop> set_port(uint32_t offset, const Op& op, Packet& packet, const Parsed& parsed) {
  if ((parsed.key.layers.host() & (kLayerTcp | kLayerUdp)) == 0) return Drop::k_rewrite_impossible;
  uint8_t port[2];
  headers::store16(port, static_cast<uint16_t>(op.number));
  return replace_covered(packet, parsed, parsed.l4_offset + offset, port, 0);
}

std::optional<Drop> write_ttl(uint8_t ttl, Packet& packet, const Parsed& parsed) {
  constexpr uint32_t kHopLimit = 7;
  constexpr uint32_t kTtlAndProtocol = 8;
  uint8_t* l3 = packet.data + parsed.l3_offset;
  if (parsed.key.has(kLayerIpv6)) {
    l3[kHopLimit] = ttl;
    return std::nullopt;
  }
  const uint8_t word[2] = {ttl, l3[kTtlAndProtocol + 1]};
  replace(l3 + kTtlAndProtocol, word, l3 + headers::kIpv4Checksum, nullptr, false);
  return std::nullopt;
}

bool has_ttl(const Parsed& parsed) {
  return (parsed.key.layers.host() & (kLayerIpv4 | kLayerIpv6)) != 0;
}

std::optional<Drop> set_ttl(const Op& op, Packet& packet, const Parsed& parsed) {
  if (!has_ttl(parsed)) return Drop::k_rewrite_impossible;
  return write_ttl(static_cast<uint8_t>(op.number), packet, parsed);
}

std::optional<Drop> decrement_ttl(Packet& packet, const Parsed& parsed) {
  if (!has_ttl(parsed)) return Drop::k_rewrite_impossible;
  if (parsed.key.ip.ttl <= 1) return Drop::k_ttl_exceeded;
  return write_ttl(static_cast<uint8_t>(parsed.key.ip.ttl - 1), packet, parsed);
}

}  // namespace

std::optional<Drop> apply_rewrite(const Op& op, Packet& packet, const Parsed& parsed) {
  switch (op.code) {
    case OpCode::kPushVlan: return push_vlan(op.number, packet, parsed);
    case OpCode::kPopVlan: return pop_vlan(packet, parsed);
    case OpCode::kSetVlanVid: return set_vlan_tci(0x0fff, op.number, packet, parsed);
    case OpCode::kSetVlanPcp: return set_vlan_tci(0xe000, op.number << 13, packet, parsed);
    case OpCode::kSetMacDst: return set_mac(0, op, packet);
    case OpCode::kSetMacSrc: return set_mac(6, op, packet);
    case OpCode::kMacSwap: return swap_macs(packet);
    case OpCode::kSetIpv4Src: return set_ipv4(12, op, packet, parsed);
    case OpCode::kSetIpv4Dst: return set_ipv4(16, op, packet, parsed);
    case OpCode::kSetIpv6Src: return set_ipv6(8, op, packet, parsed);
    case OpCode::kSetIpv6Dst: return set_ipv6(24, op, packet, parsed);
    case OpCode::kSetTpSrc: return set_port(0, op, packet, parsed);
    case OpCode::kSetTpDst: return set_port(2, op, packet, parsed);
    case OpCode::kSetTtl: return set_ttl(op, packet, parsed);
    case OpCode::kDecTtl: return decrement_ttl(packet, parsed);
    default: return Drop::k_rewrite_impossible;  // not a rewriting op
  }
}

}  // namespace godwit::dataplane
