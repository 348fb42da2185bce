// SPDX-License-Identifier: Apache-2.0
//
// The Packet of an mbuf. It lives in the mbuf's private area, so that each is found from the other
// by arithmetic.
//
// Invariants: a frame inside the switch is one segment (head_len == len). While the pipeline has a
// frame, its Packet is authoritative. to_mbuf() brings the mbuf's own offsets up to date before a
// device sees it.
//
// Thread safety: as for Packet.
#pragma once

#include <rte_mbuf.h>

#include <cstdint>

#include "base/ids.h"
#include "dataplane/packet/packet.h"

namespace godwit::dataplane {

// The purpose of a frame in a mailbox.
enum class MailKind : uint8_t { kInvalid = 0, kTransmit, kInject, kEmit };

struct MbufPriv {
  Packet packet;
  // In a mailbox: the port (kTransmit) or the endpoint (kInject, kEmit, and frames for the control
  // thread).
  uint32_t target = 0;
  uint32_t serial = 0;  // in a mailbox with kTransmit: Port::serial, since port numbers are reused
  uint16_t origin = 0;  // on its way out: the port that it came in by
  MailKind kind = MailKind::kInvalid;
  // On its way out: the frame was parked or redirected, so it waits at a full ring instead of being
  // dropped.
  bool patient = false;
};
inline constexpr uint16_t kMbufPrivBytes = 64;
static_assert(sizeof(MbufPriv) <= kMbufPrivBytes);
static_assert(kMbufPrivBytes % RTE_MBUF_PRIV_ALIGN == 0);

inline MbufPriv& priv_of(rte_mbuf* mbuf) { return *static_cast<MbufPriv*>(rte_mbuf_to_priv(mbuf)); }
inline Packet* packet_of(rte_mbuf* mbuf) { return &priv_of(mbuf).packet; }
inline rte_mbuf* mbuf_of(const Packet& packet) { return static_cast<rte_mbuf*>(packet.handle); }

// Returns whether the frame may wait: a quarter of its pool's buffers is left for other frames. An
// empty pool would stop all receiving. Buffers in the caches of threads do not count as left.
inline bool leaves_buffers(const Packet& packet) {
  const rte_mempool* pool = mbuf_of(packet)->pool;
  return rte_mempool_get_ops(pool->ops_index)->get_count(pool) >= pool->size / 4;
}

// Resets the Packet of a frame that a device has just filled in. The frame has one segment.
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

// Updates the mbuf from its Packet, without any offload request, and returns it.
inline rte_mbuf* to_mbuf(const Packet& packet) {
  rte_mbuf* mbuf = mbuf_of(packet);
  mbuf->data_off = static_cast<uint16_t>(packet.data - static_cast<uint8_t*>(mbuf->buf_addr));
  mbuf->data_len = static_cast<uint16_t>(packet.len);
  mbuf->pkt_len = packet.len;
  mbuf->ol_flags &= RTE_MBUF_F_EXTERNAL | RTE_MBUF_F_INDIRECT;
  return mbuf;
}

// Finds the partial checksum of a frame that came with virtio's NEEDS_CSUM (librte_vhost with
// compliant flags), and enters it in the Packet.
void find_partial_checksum(const rte_mbuf& mbuf, Packet& packet);
inline void note_partial_checksum(const rte_mbuf& mbuf, Packet& packet) {
  if ((mbuf.ol_flags & RTE_MBUF_F_RX_L4_CKSUM_MASK) == RTE_MBUF_F_RX_L4_CKSUM_NONE)
    find_partial_checksum(mbuf, packet);
}
// Sets the mbuf flags that librte_vhost turns into NEEDS_CSUM. Returns false if they cannot express
// the partial checksum (IPv6 extension headers, another protocol, offsets that fit no header). It
// must then be completed in software.
bool request_partial_checksum(const Packet& packet, rte_mbuf& mbuf);

}  // namespace godwit::dataplane
