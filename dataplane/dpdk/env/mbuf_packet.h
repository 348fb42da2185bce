// SPDX-License-Identifier: Apache-2.0
//
// A Packet lives in its mbuf's private area, so one is found from the other by arithmetic.
//
// Invariants: frames inside the switch are one segment (head_len == len). Packet is what counts
// while the pipeline has the frame; the mbuf's own offsets are brought up to date by to_mbuf()
// before a device sees it.
//
// Thread safety: as Packet's.
#pragma once

#include <rte_mbuf.h>

#include <cstdint>

#include "base/ids.h"
#include "dataplane/packet/packet.h"

namespace godwit::dataplane {

// What a frame in a mailbox is for.
enum class MailKind : uint8_t { kInvalid = 0, kTransmit, kInject, kEmit };

struct MbufPriv {
  Packet packet;
  uint32_t target =
      0;  // in a mailbox: port (kTransmit) or endpoint (kInject, kEmit, and what goes to control)
  uint32_t serial = 0;  // in a mailbox, kTransmit: Port::serial, since port numbers are used again
  uint16_t origin = 0;  // on its way out: the port it came in by
  MailKind kind = MailKind::kInvalid;
  bool patient = false;  // on its way out: it was parked or redirected, so it waits where others
                         // would be dropped
};
inline constexpr uint16_t kMbufPrivBytes = 64;
static_assert(sizeof(MbufPriv) <= kMbufPrivBytes);
static_assert(kMbufPrivBytes % RTE_MBUF_PRIV_ALIGN == 0);

inline MbufPriv& priv_of(rte_mbuf* mbuf) { return *static_cast<MbufPriv*>(rte_mbuf_to_priv(mbuf)); }
inline Packet* packet_of(rte_mbuf* mbuf) { return &priv_of(mbuf).packet; }
inline rte_mbuf* mbuf_of(const Packet& packet) { return static_cast<rte_mbuf*>(packet.handle); }

// A frame may wait while a quarter of its pool's buffers is left for those that pass: where none is
// left, nobody receives. Buffers in the caches of threads are theirs and do not count.
inline bool leaves_buffers(const Packet& packet) {
  const rte_mempool* pool = mbuf_of(packet)->pool;
  return rte_mempool_get_ops(pool->ops_index)->get_count(pool) >= pool->size / 4;
}

// A fresh Packet for what a device has just filled in. One segment.
inline Packet* to_packet(rte_mbuf* mbuf) {
  Packet* packet = packet_of(mbuf);
  *packet = Packet{};
  packet->data = rte_pktmbuf_mtod(mbuf, uint8_t*);
  packet->len = mbuf->pkt_len;
  packet->head_len = mbuf->data_len;
  packet->headroom = mbuf->data_off;
  packet->handle = mbuf;
  return packet;
}

// The mbuf as the pipeline left the Packet; no offload asked for.
inline rte_mbuf* to_mbuf(const Packet& packet) {
  rte_mbuf* mbuf = mbuf_of(packet);
  mbuf->data_off = static_cast<uint16_t>(packet.data - static_cast<uint8_t*>(mbuf->buf_addr));
  mbuf->data_len = static_cast<uint16_t>(packet.len);
  mbuf->pkt_len = packet.len;
  mbuf->ol_flags &= RTE_MBUF_F_EXTERNAL | RTE_MBUF_F_INDIRECT;
  return mbuf;
}

// What virtio's NEEDS_CSUM came as (librte_vhost with compliant flags) -> Packet's partial
// checksum.
void find_partial_checksum(const rte_mbuf& mbuf, Packet& packet);
inline void note_partial_checksum(const rte_mbuf& mbuf, Packet& packet) {
  if ((mbuf.ol_flags & RTE_MBUF_F_RX_L4_CKSUM_MASK) == RTE_MBUF_F_RX_L4_CKSUM_NONE)
    find_partial_checksum(mbuf, packet);
}
// Packet's partial checksum -> what librte_vhost turns into NEEDS_CSUM. False: it cannot say this
// one (IPv6 extension headers, another protocol, offsets that fit no header); finish it in
// software.
bool request_partial_checksum(const Packet& packet, rte_mbuf& mbuf);

}  // namespace godwit::dataplane
