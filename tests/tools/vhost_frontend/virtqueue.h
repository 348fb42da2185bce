// SPDX-License-Identifier: Apache-2.0
//
// The driver's side of split virtqueues (VIRTIO 1.2, 2.7): a receive ring and a transmit ring, with
// a fixed buffer for each descriptor. A frame longer than a buffer is chained on transmit and, with
// mergeable buffers, gathered on receive.
//
// Invariants
// - A descriptor belongs either to the driver (free) or to the device (posted). The device may
//   return only posted descriptors.
// - The driver checks every id, length and count that it reads from the used ring. The first wrong
//   one breaks the ring for good, and broken() gives the reason.
// - The driver's own state is in this object, not in guest memory. A copy of the object and of the
//   memory is therefore a copy of the driver.
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

namespace godwit::vhost_frontend {

inline constexpr size_t kMaxFrame = 65550;  // 64 KB of IP and an Ethernet header with two tags.

struct Frame {
  std::span<const uint8_t> data;
  virtio::NetHeader header{};
  uint16_t queue_pair = 0;
};

using ReceiveFn = std::function<void(const Frame&)>;

class SplitRing {
 public:
  static constexpr uint16_t kMaxSize = 4096;

  // Places the ring and `size` buffers of `buffer_bytes` in `memory`. Returns false if they do not
  // fit.
  bool place(GuestMemory& memory, uint16_t size, uint32_t buffer_bytes, bool receive);
  static size_t bytes_needed(uint16_t size, uint32_t buffer_bytes);

  // Moves the ring to another memory with the same layout.
  void rebind(const GuestMemory& memory) { memory_ = &memory; }

  // Empties the ring, as a driver does when it starts. The features determine the length of the
  // header and the kind of notifications.
  void initialise(uint64_t features);

  uint16_t size() const { return size_; }
  size_t desc_offset() const { return desc_; }
  size_t avail_offset() const { return avail_; }
  size_t used_offset() const { return used_; }
  size_t used_bytes() const { return 4 + sizeof(virtio::UsedElement) * size_ + 2; }
  uint16_t device_used_index() const;
  uint16_t driver_avail_index() const { return avail_index_; }
  const std::string& broken() const { return broken_; }

  // Returns whether the device has returned descriptors that the driver has not yet processed.
  bool pending() const { return device_used_index() != last_used_; }
  // Enables or disables the interrupt for the next returned descriptor.
  void set_interrupts(bool on);
  // Returns true once after publishing if the device wants a notification.
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
  // Reads the used index. Returns false if the device returned more descriptors than were posted.
  bool pending_count(uint16_t* count);
  void break_ring(std::string why);

  const GuestMemory* memory_ = nullptr;
  size_t desc_ = 0;
  size_t avail_ = 0;
  size_t used_ = 0;
  size_t buffers_ = 0;
  uint32_t buffer_bytes_ = 0;
  uint16_t size_ = 0;
  uint16_t avail_index_ = 0;      // The next slot to fill.
  uint16_t published_index_ = 0;  // The index that the device sees.
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
  // Empties the ring, then posts every buffer.
  void initialise(uint64_t features);
  // Passes at most `max` frames to `fn`, then posts their buffers again. Returns the number of
  // frames.
  size_t poll(size_t max, uint16_t queue_pair, const ReceiveFn& fn);

 private:
  // Takes one frame from one or more of the `pending` returned buffers. Returns how many buffers it
  // used, or zero if the ring broke.
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
  // Sends as many frames as fit, in order, and returns how many. A frame longer than kMaxFrame ends
  // the batch.
  size_t send(std::span<const Frame> frames);
  // Reclaims the buffers that the device has sent. Returns how many descriptors are free.
  size_t reclaim();
  // Returns the number of frames that the device has not yet returned.
  size_t in_flight() const { return in_flight_; }

 private:
  bool put(const Frame& frame);

  std::vector<uint16_t> free_;
  std::vector<uint16_t> chain_next_;  // The next descriptor of each descriptor's chain.
  // The number of descriptors in the chain of each head. Zero if the head is not posted.
  std::vector<uint16_t> chain_left_;
  size_t in_flight_ = 0;
};

}  // namespace godwit::vhost_frontend
