// SPDX-License-Identifier: Apache-2.0
//
// Packet: a frame as the pure dataplane sees it: its bytes, the room before them, and a checksum
// that the guest may have left to the host.
//
// The owner of the memory (an mbuf in dpdk/, a buffer in a test) keeps one Packet beside each
// frame. So a Packet* can be parked, copied and passed on by code that does not know its memory.
//
// Invariants: head_len <= len. The parser reads only [data, data + head_len). Pushing n bytes needs
// headroom >= n and moves data back by n. A Packet belongs to one worker at a time.
#pragma once

#include <cstdint>
#include <span>

namespace godwit::dataplane {

struct Packet {
  // Bits of `flags`.
  // The bytes from csum_start on are not summed yet (virtio NEEDS_CSUM).
  static constexpr uint8_t kPartialChecksum = 1;
  // The sender's host verified the L4 checksum (virtio DATA_VALID).
  static constexpr uint8_t kChecksumValid = 2;
  // The packet came from a peer's session. It is never redirected again.
  static constexpr uint8_t kRedirected = 4;
  // Copies of the packet left by the uplinks as well. The flag has no meaning on other hosts.
  static constexpr uint8_t kFlooded = 8;

  uint8_t* data = nullptr;   // first byte of the Ethernet header
  uint32_t len = 0;          // whole frame, bytes
  uint32_t head_len = 0;     // contiguous bytes at data (the first segment)
  uint16_t headroom = 0;     // bytes that may be written before data
  uint16_t csum_start = 0;   // with kPartialChecksum: offset from data at which the sum starts
  uint16_t csum_offset = 0;  // with kPartialChecksum: offset from csum_start of the 16-bit field
  uint8_t flags = 0;
  uint32_t mark = 0;       // rte_flow MARK; zero if none
  uint32_t flow_hash = 0;  // selects an output queue; equal for all packets of a flow
  void* next = nullptr;    // link of the FIFO that holds the packet
  void* handle = nullptr;  // the owner of the memory

  [[nodiscard]] std::span<uint8_t> head() { return {data, head_len}; }
  [[nodiscard]] std::span<const uint8_t> head() const { return {data, head_len}; }
};
static_assert(sizeof(Packet) <= 64, "kept in one cache line beside the frame");

}  // namespace godwit::dataplane
