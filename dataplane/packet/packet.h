// SPDX-License-Identifier: Apache-2.0
//
// A frame as the pure dataplane sees it: bytes, room before them, and what a guest left undone.
//
// The owner of the memory (an mbuf in dpdk/, a buffer in a test) keeps one Packet beside each
// frame, so that a Packet* can be parked, copied and handed on without knowing what is behind it.
//
// Invariants: head_len <= len; all headers the parser reads lie in [data, data + head_len); pushing
// n bytes needs headroom >= n and moves data back by n. A Packet belongs to one worker at a time.
#pragma once

#include <cstdint>
#include <span>

namespace godwit::dataplane {

struct Packet {
  // Bits of `flags`.
  static constexpr uint8_t kPartialChecksum =
      1;  // bytes from csum_start on are not summed yet (virtio NEEDS_CSUM)
  static constexpr uint8_t kChecksumValid =
      2;  // the L4 checksum was verified by the sender's host (DATA_VALID)
  static constexpr uint8_t kRedirected = 4;  // came in by a peer's session; never redirected again
  static constexpr uint8_t kFlooded =
      8;  // copies of it left by the uplinks as well; says nothing outside this host

  uint8_t* data = nullptr;   // first byte of the Ethernet header
  uint32_t len = 0;          // whole frame, bytes
  uint32_t head_len = 0;     // contiguous bytes at data (the first segment)
  uint16_t headroom = 0;     // bytes that may be written before data
  uint16_t csum_start = 0;   // with kPartialChecksum: offset from data where summing starts
  uint16_t csum_offset = 0;  // with kPartialChecksum: offset from csum_start of the 16-bit field
  uint8_t flags = 0;
  uint32_t mark = 0;       // rte_flow MARK, 0 = none
  uint32_t flow_hash = 0;  // for spreading over the output's queues; same for a whole flow
  void* next = nullptr;    // link of the FIFO that holds the packet; owned by whoever holds it
  void* handle = nullptr;  // what owns the memory

  [[nodiscard]] std::span<uint8_t> head() { return {data, head_len}; }
  [[nodiscard]] std::span<const uint8_t> head() const { return {data, head_len}; }
};
static_assert(sizeof(Packet) <= 64, "kept in one cache line beside the frame");

}  // namespace godwit::dataplane
