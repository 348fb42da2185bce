// SPDX-License-Identifier: Apache-2.0
//
// Packets between the control thread and the workers: what is redirected to a peer, what a peer
// redirected to us, announcements sent and seen. Implemented by dpdk/ with bounded rings; by fakes
// in tests.
//
// Thread safety: all calls from the control thread. `wake` of the implementation is called when a
// take_*() would return something.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "base/ids.h"
#include "dataplane/packet/drop.h"
#include "dataplane/packet/packet.h"

namespace godwit::dataplane {

inline constexpr size_t kMaxFrameBytes = 9216 + 18;

// A frame outside the workers: its bytes and what Packet says of them.
struct Frame {
  EndpointId endpoint;  // whom it is for (redirect, inject), or where it came from (announcements)
  std::vector<uint8_t> bytes;
  uint16_t csum_start = 0;
  uint16_t csum_offset = 0;
  uint8_t flags = 0;  // Packet's flags
  uint32_t mark = 0;
};

// What the parks and windows of this switch have seen, ever: a move shows the difference over its
// time.
struct WindowTotals {
  uint64_t parked = 0;
  uint64_t park_overflow = 0;
  uint64_t redirect_duplicate = 0;
};

class PacketGate {
 public:
  virtual ~PacketGate() = default;
  // Takes up to `most` frames that workers redirected, in each worker's order. Appends; returns how
  // many.
  virtual size_t take_redirected(std::vector<Frame>& out, size_t most) = 0;
  // Gives a frame to the worker that writes the endpoint's port (Pipeline::inject), in call order.
  // False: the ring is full, try again later; nothing was taken.
  virtual bool inject(const Frame& frame) = 0;
  // Has a worker yet to take what inject() was given?
  [[nodiscard]] virtual bool injecting() const = 0;
  // Counts a frame that was taken, or was to be injected, and can go nowhere any more.
  virtual void drop(const Frame& frame, Drop reason) = 0;
  // Sends a frame of the switch's own to an endpoint's location (Pipeline::emit). False: full.
  virtual bool emit(const Frame& frame) = 0;
  // RARP frames (ethertype 0x8035) that came in by an uplink since the last call; at most 256 are
  // kept.
  virtual size_t take_announcements(std::vector<Frame>& out) = 0;
  // Frames parked now, over all workers, for the endpoint: 0 when there are none, else about how
  // many.
  [[nodiscard]] virtual uint64_t parked(EndpointId endpoint) const = 0;
  [[nodiscard]] virtual WindowTotals totals() const = 0;
};

}  // namespace godwit::dataplane
