// SPDX-License-Identifier: Apache-2.0
//
// PacketGate: packets between the control thread and the workers. These are frames that workers
// redirect to a peer, frames that a peer redirected to this switch, and announcements in both
// directions. dpdk/ implements it with bounded rings; tests use fakes.
//
// Thread safety: only the control thread calls these functions. The implementation calls its `wake`
// function when take_redirected() or take_announcements() would return something.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "base/ids.h"
#include "dataplane/packet/drop.h"
#include "dataplane/packet/packet.h"

namespace godwit::dataplane {

inline constexpr size_t kMaxFrameBytes = 9216 + 18;

// A frame outside the workers: its bytes and the fields of its Packet.
struct Frame {
  EndpointId endpoint;  // the receiver; the sender for announcements
  std::vector<uint8_t> bytes;
  uint16_t csum_start = 0;
  uint16_t csum_offset = 0;
  uint8_t flags = 0;  // bits of Packet::flags
  uint32_t mark = 0;
};

// Totals of this switch's parks and windows since it started. A move reports the difference over
// its duration.
struct WindowTotals {
  uint64_t parked = 0;
  uint64_t park_overflow = 0;
  uint64_t redirect_duplicate = 0;
};

class PacketGate {
 public:
  virtual ~PacketGate() = default;
  // Appends up to `most` frames that workers redirected; the frames of one worker are in order.
  // Returns how many.
  virtual size_t take_redirected(std::vector<Frame>& out, size_t most) = 0;
  // Passes a frame to the worker that writes the endpoint's port (Pipeline::inject), in call order.
  // Returns false, and takes nothing, if the ring is full; the caller retries later.
  virtual bool inject(const Frame& frame) = 0;
  // Returns whether a worker has not yet taken all frames that inject() accepted.
  [[nodiscard]] virtual bool injecting() const = 0;
  // Counts the drop of a frame that was taken or was to be injected and has no destination any
  // more.
  virtual void drop(const Frame& frame, Drop reason) = 0;
  // Sends a frame of the switch itself to an endpoint's location (Pipeline::emit). Returns false if
  // the ring is full.
  virtual bool emit(const Frame& frame) = 0;
  // Appends the RARP frames (ethertype 0x8035) that arrived from uplinks since the last call, of
  // which at most 256 are kept. Returns how many.
  virtual size_t take_announcements(std::vector<Frame>& out) = 0;
  // Returns about how many frames all workers have parked for the endpoint. The result is zero only
  // if there are none.
  [[nodiscard]] virtual uint64_t parked(EndpointId endpoint) const = 0;
  [[nodiscard]] virtual WindowTotals totals() const = 0;
};

}  // namespace godwit::dataplane
