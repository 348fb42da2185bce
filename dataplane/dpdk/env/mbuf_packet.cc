// SPDX-License-Identifier: Apache-2.0
#include "dataplane/dpdk/env/mbuf_packet.h"

#include <rte_net.h>

#include <cstring>

#include "base/bytes.h"

namespace godwit::dataplane {
namespace {

constexpr uint16_t kTcpChecksumOffset = 16;
constexpr uint16_t kUdpChecksumOffset = 6;
constexpr uint8_t kTcp = 6;
constexpr uint8_t kUdp = 17;

be16 be16_at(const Packet& packet, uint32_t offset) {
  be16 value;
  std::memcpy(&value, packet.data + offset, sizeof value);
  return value;
}

// Returns the length of the Ethernet header with its tags, or 0 if it exceeds `limit`. Sets
// `ether_type` to the type behind the tags.
uint32_t l2_length(const Packet& packet, uint32_t limit, uint16_t& ether_type) {
  uint32_t length = 14;
  if (limit < length) return 0;
  ether_type = be16_at(packet, 12).host();
  for (int tags = 0; tags < 2 && (ether_type == 0x8100 || ether_type == 0x88a8); ++tags) {
    length += 4;
    if (limit < length) return 0;
    ether_type = be16_at(packet, length - 2).host();
  }
  return length;
}

}  // namespace

void find_partial_checksum(const rte_mbuf& mbuf, Packet& packet) {
  // librte_vhost has found a TCP or UDP header at the guest's offset, and has completed every other
  // checksum itself. It does not pass on the header lengths.
  rte_net_hdr_lens lengths{};
  const uint32_t type =
      rte_net_get_ptype(&mbuf, &lengths, RTE_PTYPE_L2_MASK | RTE_PTYPE_L3_MASK | RTE_PTYPE_L4_MASK);
  uint16_t offset = 0;
  switch (type & RTE_PTYPE_L4_MASK) {
    case RTE_PTYPE_L4_TCP: offset = kTcpChecksumOffset; break;
    case RTE_PTYPE_L4_UDP: offset = kUdpChecksumOffset; break;
    default: return;
  }
  packet.flags |= Packet::kPartialChecksum;
  packet.csum_start = static_cast<uint16_t>(lengths.l2_len + lengths.l3_len);
  packet.csum_offset = offset;
}

bool request_partial_checksum(const Packet& packet, rte_mbuf& mbuf) {
  uint16_t ether_type = 0;
  const uint32_t start = packet.csum_start;
  const uint32_t l2 = l2_length(packet, start, ether_type);
  if (l2 == 0 || start < l2 + 20) return false;
  const uint32_t l3 = start - l2;
  const uint8_t* header = packet.data + l2;
  uint64_t flags = 0;
  uint8_t protocol = 0;
  if (ether_type == 0x0800 && (header[0] >> 4) == 4 && (header[0] & 15u) * 4 == l3) {
    flags = RTE_MBUF_F_TX_IPV4;
    protocol = header[9];
  } else if (ether_type == 0x86dd && (header[0] >> 4) == 6 && l3 == 40) {
    flags = RTE_MBUF_F_TX_IPV6;
    protocol = header[6];
  } else {
    return false;
  }
  uint16_t l4 = 0;
  if (protocol == kTcp && packet.csum_offset == kTcpChecksumOffset) {
    flags |= RTE_MBUF_F_TX_TCP_CKSUM;
    l4 = 20;
  } else if (protocol == kUdp && packet.csum_offset == kUdpChecksumOffset) {
    flags |= RTE_MBUF_F_TX_UDP_CKSUM;
    l4 = 8;
  } else {
    return false;
  }
  if (start + l4 > packet.len) return false;
  mbuf.ol_flags |= flags;
  mbuf.tx_offload = rte_mbuf_tx_offload(l2, l3, l4, 0, 0, 0, 0);
  return true;
}

}  // namespace godwit::dataplane
