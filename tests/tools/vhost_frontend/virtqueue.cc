// SPDX-License-Identifier: Apache-2.0
#include "tests/tools/vhost_frontend/virtqueue.h"

#include <algorithm>
#include <atomic>
#include <bit>
#include <cstring>
#include <utility>

namespace godwit::vhost_frontend {
namespace {

// Returns whether `event` is among the indices published from `before` to `now` (VIRTIO 2.7.7.2).
bool passes_event(uint16_t event, uint16_t now, uint16_t before) {
  return static_cast<uint16_t>(now - event - 1) < static_cast<uint16_t>(now - before);
}

}  // namespace

bool SplitRing::place(GuestMemory& memory, uint16_t size, uint32_t buffer_bytes, bool receive) {
  if (size == 0 || size > kMaxSize || !std::has_single_bit(size) || buffer_bytes < 64) {
    return false;
  }
  memory_ = &memory;
  size_ = size;
  buffer_bytes_ = buffer_bytes;
  const GuestMemory::Writer payload =
      receive ? GuestMemory::Writer::kDevice : GuestMemory::Writer::kGuest;
  const size_t avail_bytes = 4 + 2 * size_t{size} + 2;
  return memory.allocate(sizeof(virtio::Desc) * size, GuestMemory::Writer::kGuest, &desc_) &&
         memory.allocate(avail_bytes, GuestMemory::Writer::kGuest, &avail_) &&
         memory.allocate(used_bytes(), GuestMemory::Writer::kDevice, &used_) &&
         memory.allocate(size_t{buffer_bytes} * size, payload, &buffers_);
}

size_t SplitRing::bytes_needed(uint16_t size, uint32_t buffer_bytes) {
  // The descriptors, the two rings and the buffers are each rounded up to a page.
  return (sizeof(virtio::Desc) + 2 + sizeof(virtio::UsedElement) + buffer_bytes) * size_t{size} +
         5 * GuestMemory::kPage;
}

void SplitRing::initialise(uint64_t features) {
  std::memset(memory_->base() + desc_, 0, sizeof(virtio::Desc) * size_);
  std::memset(memory_->base() + avail_, 0, 4 + 2 * size_t{size_} + 2);
  std::memset(memory_->base() + used_, 0, used_bytes());
  avail_index_ = 0;
  published_index_ = 0;
  last_used_ = 0;
  event_idx_ = (features & virtio::kRingEventIdx) != 0;
  mergeable_ = (features & virtio::kNetMrgRxbuf) != 0;
  header_bytes_ = (features & (virtio::kVersion1 | virtio::kNetMrgRxbuf)) != 0 ? 12 : 10;
  kick_wanted_ = false;
  broken_.clear();
  set_interrupts(false);
}

uint16_t& SplitRing::word(size_t offset) const {
  return *reinterpret_cast<uint16_t*>(memory_->base() + offset);
}

virtio::Desc* SplitRing::descriptors() const {
  return reinterpret_cast<virtio::Desc*>(memory_->base() + desc_);
}

uint16_t SplitRing::device_used_index() const {
  return std::atomic_ref<uint16_t>(word(used_ + 2)).load(std::memory_order_acquire);
}

virtio::UsedElement SplitRing::used_element(uint16_t index) const {
  virtio::UsedElement element;
  const size_t at = used_ + 4 + sizeof(element) * (index & (size_ - 1u));
  std::memcpy(&element, memory_->base() + at, sizeof(element));
  return element;
}

void SplitRing::set_interrupts(bool on) {
  std::atomic_ref<uint16_t> flags(word(avail_));
  std::atomic_ref<uint16_t> used_event(word(avail_ + 4 + 2 * size_t{size_}));
  if (event_idx_) {
    // The event furthest in the past is the last one to be passed.
    used_event.store(on ? last_used_ : static_cast<uint16_t>(last_used_ - 1),
                     std::memory_order_relaxed);
  } else {
    flags.store(on ? uint16_t{0} : virtio::kAvailNoInterrupt, std::memory_order_relaxed);
  }
  if (on) {
    std::atomic_thread_fence(std::memory_order_seq_cst);
  }
}

void SplitRing::put_avail(uint16_t id) {
  word(avail_ + 4 + 2 * size_t{static_cast<uint16_t>(avail_index_ & (size_ - 1u))}) = id;
  ++avail_index_;
}

void SplitRing::publish() {
  if (published_index_ == avail_index_) {
    return;
  }
  std::atomic_ref<uint16_t>(word(avail_ + 2)).store(avail_index_, std::memory_order_release);
  std::atomic_thread_fence(std::memory_order_seq_cst);
  if (event_idx_) {
    const uint16_t event =
        std::atomic_ref<uint16_t>(word(used_ + 4 + sizeof(virtio::UsedElement) * size_))
            .load(std::memory_order_relaxed);
    kick_wanted_ |= passes_event(event, avail_index_, published_index_);
  } else {
    const uint16_t flags = std::atomic_ref<uint16_t>(word(used_)).load(std::memory_order_relaxed);
    kick_wanted_ |= (flags & virtio::kUsedNoNotify) == 0;
  }
  published_index_ = avail_index_;
}

bool SplitRing::take_kick() { return std::exchange(kick_wanted_, false); }

bool SplitRing::pending_count(uint16_t* count) {
  if (!broken_.empty()) {
    return false;
  }
  *count = static_cast<uint16_t>(device_used_index() - last_used_);
  if (*count > static_cast<uint16_t>(published_index_ - last_used_)) {
    break_ring("used index is ahead of the available index");
    return false;
  }
  return true;
}

void SplitRing::break_ring(std::string why) {
  if (broken_.empty()) {
    broken_ = std::move(why);
  }
}

void ReceiveRing::initialise(uint64_t features) {
  SplitRing::initialise(features);
  posted_.assign(size_, true);
  virtio::Desc* table = descriptors();
  for (uint16_t id = 0; id < size_; ++id) {
    table[id] = {buffer_address(id), buffer_bytes_, virtio::kDescWrite, 0};
    put_avail(id);
  }
  publish();
}

size_t ReceiveRing::poll(size_t max, uint16_t queue_pair, const ReceiveFn& fn) {
  uint16_t pending = 0;
  if (!pending_count(&pending) || pending == 0) {
    return 0;
  }
  size_t frames = 0;
  while (pending > 0 && frames < max) {
    const uint16_t buffers = take_frame(pending, queue_pair, fn);
    if (buffers == 0) {
      break;
    }
    pending = static_cast<uint16_t>(pending - buffers);
    last_used_ = static_cast<uint16_t>(last_used_ + buffers);
    ++frames;
    for (const uint16_t id : taken_) {
      posted_[id] = true;
      put_avail(id);
    }
  }
  publish();
  return frames;
}

bool ReceiveRing::take_buffer(uint16_t position, uint16_t* id, uint32_t* length) {
  const virtio::UsedElement element = used_element(position);
  if (element.id >= size_ || !posted_[element.id]) {
    break_ring("received into descriptor " + std::to_string(element.id) + ", which is not posted");
    return false;
  }
  if (element.length > buffer_bytes_) {
    break_ring("received " + std::to_string(element.length) + " bytes into a buffer of " +
               std::to_string(buffer_bytes_));
    return false;
  }
  *id = static_cast<uint16_t>(element.id);
  *length = element.length;
  posted_[*id] = false;
  taken_.push_back(*id);
  return true;
}

uint16_t ReceiveRing::take_frame(uint16_t pending, uint16_t queue_pair, const ReceiveFn& fn) {
  taken_.clear();
  uint16_t id = 0;
  uint32_t length = 0;
  if (!take_buffer(last_used_, &id, &length)) {
    return 0;
  }
  if (length < header_bytes_) {
    break_ring("received " + std::to_string(length) + " bytes, less than a header");
    return 0;
  }
  Frame frame;
  frame.queue_pair = queue_pair;
  std::memcpy(&frame.header, buffer(id), header_bytes_);
  const uint16_t buffers = mergeable_ ? frame.header.num_buffers : uint16_t{1};
  if (buffers == 0 || buffers > pending) {
    break_ring("a frame of " + std::to_string(buffers) + " buffers, of which only " +
               std::to_string(pending) + " were returned");
    return 0;
  }
  frame.data = {buffer(id) + header_bytes_, length - header_bytes_};
  if (buffers > 1) {
    gathered_.assign(frame.data.begin(), frame.data.end());
    for (uint16_t i = 1; i < buffers; ++i) {
      if (!take_buffer(static_cast<uint16_t>(last_used_ + i), &id, &length)) {
        return 0;
      }
      if (gathered_.size() + length > kMaxFrame) {
        break_ring("a frame longer than " + std::to_string(kMaxFrame) + " bytes");
        return 0;
      }
      gathered_.insert(gathered_.end(), buffer(id), buffer(id) + length);
    }
    frame.data = gathered_;
  }
  fn(frame);
  return buffers;
}

void TransmitRing::initialise(uint64_t features) {
  SplitRing::initialise(features);
  free_.clear();
  for (uint16_t id = size_; id > 0; --id) {
    free_.push_back(static_cast<uint16_t>(id - 1));
  }
  chain_next_.assign(size_, 0);
  chain_left_.assign(size_, 0);
  in_flight_ = 0;
}

size_t TransmitRing::reclaim() {
  uint16_t pending = 0;
  if (!pending_count(&pending)) {
    return 0;
  }
  for (; pending > 0; --pending, ++last_used_) {
    const uint32_t head = used_element(last_used_).id;
    if (head >= size_ || chain_left_[head] == 0) {
      break_ring("returned descriptor " + std::to_string(head) + ", which is not posted");
      return 0;
    }
    uint16_t id = static_cast<uint16_t>(head);
    for (uint16_t left = std::exchange(chain_left_[head], uint16_t{0}); left > 0; --left) {
      free_.push_back(id);
      id = chain_next_[id];
    }
    --in_flight_;
  }
  return free_.size();
}

bool TransmitRing::put(const Frame& frame) {
  const size_t total = header_bytes_ + frame.data.size();
  const size_t needed = (total + buffer_bytes_ - 1) / buffer_bytes_;
  if (frame.data.empty() || frame.data.size() > kMaxFrame || needed > free_.size()) {
    return false;
  }
  const uint16_t head = free_.back();
  size_t copied = 0;
  for (size_t i = 0; i < needed; ++i) {
    const uint16_t id = free_.back();
    free_.pop_back();
    size_t room = buffer_bytes_;
    uint8_t* to = buffer(id);
    if (i == 0) {
      std::memcpy(to, &frame.header, header_bytes_);
      to += header_bytes_;
      room -= header_bytes_;
    }
    const size_t part = std::min(room, frame.data.size() - copied);
    std::memcpy(to, frame.data.data() + copied, part);
    copied += part;
    const bool last = i + 1 == needed;
    chain_next_[id] = last ? uint16_t{0} : free_.back();
    const uint32_t length = static_cast<uint32_t>(part + (i == 0 ? header_bytes_ : 0));
    descriptors()[id] = {buffer_address(id), length, last ? uint16_t{0} : virtio::kDescNext,
                         chain_next_[id]};
  }
  chain_left_[head] = static_cast<uint16_t>(needed);
  put_avail(head);
  ++in_flight_;
  return true;
}

size_t TransmitRing::send(std::span<const Frame> frames) {
  if (!broken_.empty()) {
    return 0;
  }
  size_t sent = 0;
  while (sent < frames.size()) {
    if (!put(frames[sent])) {
      const size_t before = free_.size();
      if (reclaim() <= before || !put(frames[sent])) {
        break;
      }
    }
    ++sent;
  }
  publish();
  return sent;
}

}  // namespace godwit::vhost_frontend
