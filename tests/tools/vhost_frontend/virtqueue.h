// SPDX-License-Identifier: Apache-2.0
//
// The driver's side of split virtqueues (VIRTIO 1.2, 2.7): a receive ring and a transmit ring, with
// a fixed buffer for each descriptor. A frame longer than a buffer is chained on transmit and, with
// mergeable buffers, gathered on receive.
//
// Invariants
// - A descriptor is either the driver's (free) or the device's (posted); what the device returns
// must be posted.
// - Nothing read from the used ring is believed: ids, lengths and counts are checked, and the first
// that is wrong
//   breaks the ring for good (`broken()` says why).
// - The driver's own state is in this object, not in guest memory, so that a copy of the object and
// of the memory is
//   a copy of the driver.
//
// Not thread safe. The device is another process; indices are exchanged with acquire and release.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <vector>

#include "tests/tools/vhost_frontend/guest_memory.h"
#include "tests/tools/vhost_frontend/vhost_user_messages.h"

namespace godwit::support {

inline constexpr size_t kMaxFrame = 65550;  // 64 KB of IP and the Ethernet header with two tags

struct Frame {
  std::span<const uint8_t> data;
  virtio::NetHeader header{};
  uint16_t queue_pair = 0;
};

using ReceiveFn = std::function<void(const Frame&)>;

class SplitRing {
 public:
  static constexpr uint16_t kMaxSize = 4096;

  // Places the ring and `size` buffers of `buffer_bytes` in `memory`. False when it doesn't fit.
  bool place(GuestMemory& memory, uint16_t size, uint32_t buffer_bytes, bool receive);
  static size_t bytes_needed(uint16_t size, uint32_t buffer_bytes);

  // The same ring in another memory with the same layout.
  void rebind(const GuestMemory& memory) { memory_ = &memory; }

  // Empties the ring, as a driver does at its start. Features decide the header's length and the
  // notifications.
  void initialise(uint64_t features);

  uint16_t size() const { return size_; }
  size_t desc_offset() const { return desc_; }
  size_t avail_offset() const { return avail_; }
  size_t used_offset() const { return used_; }
  size_t used_bytes() const { return 4 + sizeof(virtio::UsedElement) * size_ + 2; }
  uint16_t device_used_index() const;
  uint16_t driver_avail_index() const { return avail_index_; }
  const std::string& broken() const { return broken_; }

  // Whether the device has returned something that the driver hasn't looked at.
  bool pending() const { return device_used_index() != last_used_; }
  // Asks for an interrupt at the next return, or for none.
  void set_interrupts(bool on);
  // True once after publishing, when the device wants to be told.
  bool take_kick();

 protected:
  virtio::Desc* descriptors() const;
  uint8_t* buffer(uint16_t id) const {
    return memory_->base() + buffers_ + size_t{id} * buffer_bytes_;
  }
  uint64_t buffer_address(uint16_t id) const {
    return memory_->guest_address(buffers_ + size_t{id} * buffer_bytes_);
  }
  uint16_t& word(size_t offset) const;
  virtio::UsedElement used_element(uint16_t index) const;
  void put_avail(uint16_t id);
  void publish();
  // Takes the used index; false when the device claims more than it was given.
  bool pending_count(uint16_t* count);
  void break_ring(std::string why);

  const GuestMemory* memory_ = nullptr;
  size_t desc_ = 0;
  size_t avail_ = 0;
  size_t used_ = 0;
  size_t buffers_ = 0;
  uint32_t buffer_bytes_ = 0;
  uint16_t size_ = 0;
  uint16_t avail_index_ = 0;      // next to fill
  uint16_t published_index_ = 0;  // what the device has been told
  uint16_t last_used_ = 0;
  uint32_t header_bytes_ = sizeof(virtio::NetHeader);
  bool event_idx_ = false;
  bool mergeable_ = false;
  bool kick_wanted_ = false;
  std::string broken_;
};

class ReceiveRing : public SplitRing {
 public:
  bool place(GuestMemory& memory, uint16_t size, uint32_t buffer_bytes) {
    return SplitRing::place(memory, size, buffer_bytes, true);
  }
  void initialise(uint64_t features);  // and posts every buffer
  // Hands at most `max` frames to `fn`, then gives their buffers back. Returns how many frames.
  size_t poll(size_t max, uint16_t queue_pair, const ReceiveFn& fn);

 private:
  // Takes one frame, of one or more of the `pending` returned buffers; zero when the ring broke,
  // else the buffers.
  uint16_t take_frame(uint16_t pending, uint16_t queue_pair, const ReceiveFn& fn);
  bool take_buffer(uint16_t position, uint16_t* id, uint32_t* length);

  std::vector<bool> posted_;
  std::vector<uint16_t> taken_;
  std::vector<uint8_t> gathered_;
};

class TransmitRing : public SplitRing {
 public:
  bool place(GuestMemory& memory, uint16_t size, uint32_t buffer_bytes) {
    return SplitRing::place(memory, size, buffer_bytes, false);
  }
  void initialise(uint64_t features);
  // Puts as many frames as fit, in order, and returns how many. A frame longer than kMaxFrame stops
  // the batch.
  size_t send(std::span<const Frame> frames);
  // Takes back what the device has sent. Returns how many descriptors are free.
  size_t reclaim();
  // Frames given to the device that it hasn't returned.
  size_t in_flight() const { return in_flight_; }

 private:
  bool put(const Frame& frame);

  std::vector<uint16_t> free_;
  std::vector<uint16_t> chain_next_;  // per descriptor, the next of its chain
  std::vector<uint16_t>
      chain_left_;  // per head, descriptors in its chain; 0 where it is no posted head
  size_t in_flight_ = 0;
};

}  // namespace godwit::support
