// SPDX-License-Identifier: Apache-2.0
#include "tests/tools/vhost_frontend/guest_nic.h"

#include <algorithm>
#include <cstring>

namespace godwit::vhost_frontend {
namespace {

constexpr uint32_t kDefaultBuffer = 2048;
constexpr uint64_t kLargeReceive =
    virtio::kNetGuestTso4 | virtio::kNetGuestTso6 | virtio::kNetGuestEcn | virtio::kNetGuestUfo;

uint32_t buffer_bytes(const NicOptions& options) {
  if (options.buffer_bytes != 0) {
    return options.buffer_bytes;
  }
  if ((options.features & virtio::kNetMrgRxbuf) != 0) {
    return kDefaultBuffer;
  }
  const uint32_t frame = options.mtu + 14u + 8u + static_cast<uint32_t>(sizeof(virtio::NetHeader));
  return std::max(kDefaultBuffer, (frame + 63u) / 64u * 64u);
}

}  // namespace

uint64_t NicOptions::default_features() {
  return virtio::kVersion1 | virtio::kRingEventIdx | virtio::kNetMrgRxbuf | virtio::kNetCsum |
         virtio::kNetGuestCsum | virtio::kNetHostTso4 | virtio::kNetHostTso6 |
         virtio::kNetGuestTso4 | virtio::kNetGuestTso6 | virtio::kNetMtu | virtio::kNetMac |
         virtio::kNetStatus | virtio::kNetCtrlVq | virtio::kNetGuestAnnounce | virtio::kNetMq;
}

std::unique_ptr<GuestNic> GuestNic::create(const NicOptions& options, Status* why) {
  if (options.queue_pairs == 0 || options.queue_pairs > NicOptions::kMaxPairs) {
    *why = Status::error("queue pairs must be 1 to " + std::to_string(NicOptions::kMaxPairs));
    return nullptr;
  }
  std::unique_ptr<GuestNic> nic(new GuestNic);
  nic->options_ = options;
  if ((options.features & virtio::kNetMrgRxbuf) == 0) {
    nic->options_.features &= ~kLargeReceive;  // A buffer could not hold such a frame.
  }
  if (options.queue_pairs == 1) {
    nic->options_.features &= ~virtio::kNetMq;
  }
  const uint32_t buffer = buffer_bytes(options);
  if (options.queue_size == 0 || options.queue_size > SplitRing::kMaxSize ||
      buffer > kMaxFrame + 64) {
    *why = Status::error("queue or buffer size out of bounds");
    return nullptr;
  }
  // Several regions get twice the need: an area that does not fit into the rest of a region goes
  // into the next one.
  const size_t needed = SplitRing::bytes_needed(options.queue_size, buffer) * options.queue_pairs *
                        2 * (options.regions > 1 ? 2 : 1);
  nic->memory_ =
      GuestMemory::create(std::max(needed, options.memory_mb << 20), options.regions, why);
  if (nic->memory_ == nullptr) {
    return nullptr;
  }
  nic->receive_.resize(options.queue_pairs);
  nic->transmit_.resize(options.queue_pairs);
  nic->bases_.assign(options.queue_pairs * 2u, 0);
  for (unsigned pair = 0; pair < options.queue_pairs; ++pair) {
    if (!nic->receive_[pair].place(*nic->memory_, options.queue_size, buffer) ||
        !nic->transmit_[pair].place(*nic->memory_, options.queue_size, buffer)) {
      *why = Status::error(
          "the rings do not fit into the guest's memory, or their size is not a power of two");
      return nullptr;
    }
  }
  return nic;
}

Status GuestNic::initialise(uint64_t features) {
  if ((features & ~options_.features & ~virtio::kVhostProtocolFeatures) != 0) {
    return Status::error("the features include some that the driver did not request");
  }
  features_ = features & ~virtio::kVhostProtocolFeatures;
  for (ReceiveRing& ring : receive_) {
    ring.initialise(features_);
  }
  for (TransmitRing& ring : transmit_) {
    ring.initialise(features_);
  }
  std::fill(bases_.begin(), bases_.end(), uint16_t{0});
  initialised_ = true;
  return {};
}

SplitRing& GuestNic::ring(unsigned index) {
  const unsigned pair = index / 2;
  return index % 2 == 0 ? static_cast<SplitRing&>(receive_[pair]) : transmit_[pair];
}

const SplitRing& GuestNic::ring(unsigned index) const {
  return const_cast<GuestNic*>(this)->ring(index);
}

void GuestNic::bases_from_used_rings() {
  for (unsigned i = 0; i < ring_count(); ++i) {
    bases_[i] = ring(i).device_used_index();
  }
}

size_t GuestNic::send(std::span<const Frame> frames, uint16_t pair) {
  return initialised_ && pair < transmit_.size() ? transmit_[pair].send(frames) : 0;
}

size_t GuestNic::receive(size_t max, const ReceiveFn& fn) {
  size_t frames = 0;
  if (!initialised_) {
    return 0;
  }
  for (uint16_t pair = 0; pair < receive_.size() && frames < max; ++pair) {
    frames += receive_[pair].poll(max - frames, pair, fn);
  }
  return frames;
}

size_t GuestNic::transmit_in_flight() const {
  size_t frames = 0;
  for (const TransmitRing& ring : transmit_) {
    frames += ring.in_flight();
  }
  return frames;
}

bool GuestNic::arm_receive() {
  bool idle = true;
  for (ReceiveRing& ring : receive_) {
    ring.set_interrupts(true);
    idle = idle && (!ring.broken().empty() || !ring.pending());
  }
  return idle;
}

void GuestNic::disarm_receive() {
  for (ReceiveRing& ring : receive_) {
    ring.set_interrupts(false);
  }
}

std::string GuestNic::broken() const {
  for (unsigned i = 0; i < ring_count(); ++i) {
    if (!ring(i).broken().empty()) {
      return "ring " + std::to_string(i) + ": " + ring(i).broken();
    }
  }
  return {};
}

void GuestNic::copy_driver_state(GuestNic& copy) const {
  copy.options_ = options_;
  copy.receive_ = receive_;
  copy.transmit_ = transmit_;
  copy.bases_ = bases_;
  copy.features_ = features_;
  copy.initialised_ = initialised_;
  for (unsigned i = 0; i < copy.ring_count(); ++i) {
    copy.ring(i).rebind(*copy.memory_);
  }
}

std::unique_ptr<GuestNic> GuestNic::clone(Status* why) const {
  std::unique_ptr<GuestNic> copy = begin_copy(why);
  if (copy != nullptr) {
    copy_driver_state(*copy);
  }
  return copy;
}

std::unique_ptr<GuestNic> GuestNic::begin_copy(Status* why) const {
  std::unique_ptr<GuestNic> copy(new GuestNic);
  copy->memory_ = memory_->clone(why);
  return copy->memory_ == nullptr ? nullptr : std::move(copy);
}

bool GuestNic::device_page_differs(const GuestNic& copy, size_t offset) const {
  uint8_t here[GuestMemory::kPage];
  uint8_t there[GuestMemory::kPage];
  std::memcpy(here, memory_->base() + offset, sizeof(here));
  std::memcpy(there, copy.memory_->base() + offset, sizeof(there));
  // Devices do not log the notification hints of a used ring. The next device writes its own.
  for (unsigned i = 0; i < ring_count(); ++i) {
    const size_t used = ring(i).used_offset();
    const size_t event = used + ring(i).used_bytes() - 2;
    for (const size_t hint : {used, event}) {
      if (hint >= offset && hint < offset + sizeof(here)) {
        std::memset(here + (hint - offset), 0, 2);
        std::memset(there + (hint - offset), 0, 2);
      }
    }
  }
  return std::memcmp(here, there, sizeof(here)) != 0;
}

GuestNic::CopyResult GuestNic::finish_copy(GuestNic& copy, std::span<const uint8_t> log) const {
  CopyResult result;
  const auto copy_page = [&](size_t offset) {
    std::memcpy(copy.memory_->base() + offset, memory_->base() + offset, GuestMemory::kPage);
    ++result.pages_copied;
  };
  for (size_t byte = 0; byte < log.size(); ++byte) {
    for (unsigned bit = 0; log[byte] != 0 && bit < 8; ++bit) {
      size_t offset = 0;
      if ((log[byte] >> bit & 1) == 0) {
        continue;
      }
      ++result.pages_logged;
      if (memory_->offset_of((byte * 8 + bit) * vhost_user::kLogPageSize, &offset)) {
        copy_page(offset);
      }
    }
  }
  for (const GuestMemory::Area& area : memory_->areas()) {
    for (size_t offset = area.offset; offset < area.offset + area.bytes;
         offset += GuestMemory::kPage) {
      if (area.writer == GuestMemory::Writer::kGuest) {
        copy_page(offset);
      } else if (device_page_differs(copy, offset)) {
        ++result.pages_missed;
      }
    }
  }
  copy_driver_state(copy);
  return result;
}

}  // namespace godwit::vhost_frontend
