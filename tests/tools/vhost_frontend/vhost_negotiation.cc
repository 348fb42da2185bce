// SPDX-License-Identifier: Apache-2.0
//
// The sequences of messages that negotiate, start, stop and log. The front-end queues a sequence as
// a whole and finishes it with the reply to its last message.
#include <algorithm>
#include <cstring>
#include <string>

#include "tests/tools/vhost_frontend/vhost_frontend.h"

namespace godwit::vhost_frontend {

using vhost_user::Request;

namespace {

template <typename T>
bool read_payload(std::span<const uint8_t> payload, T* value) {
  if (payload.size() != sizeof(T)) {
    return false;
  }
  std::memcpy(value, payload.data(), sizeof(T));
  return true;
}

std::string hex(uint64_t value) {
  char text[20];
  std::snprintf(text, sizeof(text), "0x%llx", static_cast<unsigned long long>(value));
  return text;
}

constexpr uint8_t kStatusDriverStarted =
    vhost_user::kStatusAcknowledge | vhost_user::kStatusDriver | vhost_user::kStatusFeaturesOk;

}  // namespace

uint64_t FrontendOptions::default_protocol_features() {
  return virtio::bit(vhost_user::kProtocolMq) | virtio::bit(vhost_user::kProtocolLogShmFd) |
         virtio::bit(vhost_user::kProtocolRarp) | virtio::bit(vhost_user::kProtocolReplyAck) |
         virtio::bit(vhost_user::kProtocolNetMtu) | virtio::bit(vhost_user::kProtocolBackendReq) |
         virtio::bit(vhost_user::kProtocolStatus);
}

void VhostFrontend::negotiate() {
  channel_.query(Request::kGetFeatures, {},
                 [this](std::span<const uint8_t> reply) { return offer_received(reply); });
}

Status VhostFrontend::offer_received(std::span<const uint8_t> payload) {
  if (!read_payload(payload, &negotiated_.offered)) {
    return Status::error("GET_FEATURES: reply of a wrong length");
  }
  negotiated_.protocol = 0;
  negotiated_.max_pairs = 1;
  if ((negotiated_.offered & virtio::kVhostProtocolFeatures) == 0) {
    finish_negotiation();
    return {};
  }
  channel_.query(Request::kGetProtocolFeatures, {},
                 [this](std::span<const uint8_t> reply) { return protocol_offer_received(reply); });
  return {};
}

Status VhostFrontend::protocol_offer_received(std::span<const uint8_t> payload) {
  uint64_t offered = 0;
  if (!read_payload(payload, &offered)) {
    return Status::error("GET_PROTOCOL_FEATURES: reply of a wrong length");
  }
  negotiated_.protocol = offered & options_.protocol_features;
  channel_.request(Request::kSetProtocolFeatures, bytes_of(negotiated_.protocol), {}, false);
  channel_.use_reply_ack(has_protocol(vhost_user::kProtocolReplyAck));
  if (has_protocol(vhost_user::kProtocolMq)) {
    channel_.query(Request::kGetQueueNum, {}, [this](std::span<const uint8_t> reply) {
      return read_payload(reply, &negotiated_.max_pairs)
                 ? Status()
                 : Status::error("GET_QUEUE_NUM: reply of a wrong length");
    });
  }
  if (has_protocol(vhost_user::kProtocolBackendReq)) {
    Status status = backend_requests_.open(&backend_remote_);
    if (status.ok()) {
      status = watch(backend_requests_.fd());
    }
    if (!status.ok()) {
      return status;
    }
    const int remote = backend_remote_.get();
    channel_.request(Request::kSetBackendReqFd, {}, {&remote, 1}, true, [this] {
      backend_remote_.reset();
      return Status();
    });
  }
  finish_negotiation();
  return {};
}

void VhostFrontend::finish_negotiation() {
  channel_.request(Request::kSetOwner, {}, {}, true, [this] {
    state_ = State::kReady;
    note("negotiated features " + hex(negotiated_.offered) + " protocol " +
         hex(negotiated_.protocol));
    return Status();
  });
}

void VhostFrontend::give_features() {
  const uint64_t features = guest_->features() |
                            (negotiated_.offered & virtio::kVhostProtocolFeatures) |
                            (log_on_ ? virtio::kVhostLogAll : 0);
  channel_.request(Request::kSetFeatures, bytes_of(features), {}, true);
}

void VhostFrontend::give_status(uint8_t status) {
  if (!has_protocol(vhost_user::kProtocolStatus)) {
    return;
  }
  const uint64_t payload = status;
  channel_.request(Request::kSetStatus, bytes_of(payload), {}, true);
}

Status VhostFrontend::begin_start() {
  GuestNic& guest = *guest_;
  if (guest.options().queue_pairs > negotiated_.max_pairs) {
    return Status::error("the back-end has " + std::to_string(negotiated_.max_pairs) +
                         " queue pairs, the guest needs " +
                         std::to_string(guest.options().queue_pairs));
  }
  if (!guest.initialised()) {
    const Status status = guest.initialise(guest.options().features & negotiated_.offered);
    if (!status.ok()) {
      return status;
    }
  } else if ((guest.features() & ~negotiated_.offered) != 0) {
    return Status::error("the back-end lacks features that the guest uses: " +
                         hex(guest.features() & ~negotiated_.offered));
  }
  state_ = State::kStarting;
  note("starting");
  if (has_protocol(vhost_user::kProtocolNetMtu) && (guest.features() & virtio::kNetMtu) != 0) {
    const uint64_t mtu = guest.options().mtu;
    channel_.request(Request::kNetSetMtu, bytes_of(mtu), {}, true);
  }
  if ((negotiated_.offered & virtio::kVhostProtocolFeatures) != 0) {
    for (unsigned i = 0; i < guest.ring_count(); ++i) {
      const vhost_user::VringState enable{i, 1};
      channel_.request(Request::kSetVringEnable, bytes_of(enable), {}, false);
    }
  }
  give_features();
  give_status(kStatusDriverStarted);
  const vhost_user::MemoryTable table = guest.memory().table();
  int fds[vhost_user::kMaxRegions];
  std::fill(fds, fds + table.count, guest.memory().fd());
  const size_t bytes =
      offsetof(vhost_user::MemoryTable, regions) + table.count * sizeof(vhost_user::MemoryRegion);
  channel_.request(Request::kSetMemTable, bytes_of(table).first(bytes), {fds, table.count}, true);
  for (unsigned i = 0; i < guest.ring_count(); ++i) {
    give_ring(i);
  }
  if (log_on_) {
    give_log();
  }
  give_status(kStatusDriverStarted | vhost_user::kStatusDriverOk);
  // This request always has a reply, which shows that the back-end handled all requests before it.
  channel_.query(Request::kGetFeatures, {}, [this](std::span<const uint8_t>) {
    finish_start();
    return Status();
  });
  return {};
}

void VhostFrontend::give_ring(unsigned index) {
  const vhost_user::VringState num{index, guest_->ring(index).size()};
  const vhost_user::VringState base{index, guest_->base(index)};
  channel_.request(Request::kSetVringNum, bytes_of(num), {}, false);
  channel_.request(Request::kSetVringBase, bytes_of(base), {}, false);
  give_ring_address(index);
  const uint64_t payload = index;
  const int kick = events_of_rings_[index].kick.get();
  const int call = events_of_rings_[index].call.get();
  channel_.request(Request::kSetVringKick, bytes_of(payload), {&kick, 1}, false);
  channel_.request(Request::kSetVringCall, bytes_of(payload), {&call, 1}, true);
}

void VhostFrontend::give_ring_address(unsigned index) {
  const SplitRing& ring = guest_->ring(index);
  const GuestMemory& memory = guest_->memory();
  const auto address = [&](size_t offset) {
    return reinterpret_cast<uint64_t>(memory.base() + offset);
  };
  const vhost_user::VringAddr payload{index,
                                      log_on_ ? vhost_user::kVringAddrLog : 0,
                                      address(ring.desc_offset()),
                                      address(ring.used_offset()),
                                      address(ring.avail_offset()),
                                      memory.guest_address(ring.used_offset())};
  channel_.request(Request::kSetVringAddr, bytes_of(payload), {}, true);
}

void VhostFrontend::give_log() {
  const vhost_user::LogDescription payload{log_->bytes(), 0};
  const int fd = log_->fd();
  if (has_protocol(vhost_user::kProtocolLogShmFd)) {
    channel_.query(Request::kSetLogBase, bytes_of(payload),
                   [](std::span<const uint8_t>) { return Status(); }, {&fd, 1});
  }
}

void VhostFrontend::finish_start() {
  state_ = State::kRunning;
  note("running");
  // Like a driver that starts, it kicks each ring once, so the device looks at waiting descriptors.
  for (unsigned i = 0; i < guest_->ring_count(); ++i) {
    const uint64_t one = 1;
    if (write(events_of_rings_[i].kick.get(), &one, sizeof(one)) == sizeof(one)) {
      ++kicks_;
    }
  }
}

void VhostFrontend::begin_stop() {
  state_ = State::kStopping;
  note("stopping");
  give_status(0);
  for (unsigned i = 0; i < guest_->ring_count(); ++i) {
    const vhost_user::VringState payload{i, 0};
    channel_.query(Request::kGetVringBase, bytes_of(payload),
                   [this, i](std::span<const uint8_t> reply) { return ring_stopped(i, reply); });
  }
}

Status VhostFrontend::ring_stopped(unsigned index, std::span<const uint8_t> payload) {
  vhost_user::VringState state{};
  if (!read_payload(payload, &state) || state.index != index || state.num > UINT16_MAX) {
    return Status::error("GET_VRING_BASE: not the reply for ring " + std::to_string(index));
  }
  guest_->set_base(index, static_cast<uint16_t>(state.num));
  if (index + 1 == guest_->ring_count()) {
    state_ = State::kReady;
    note("stopped");
  }
  return {};
}

Status VhostFrontend::set_logging(bool on) {
  if (guest_ == nullptr) {
    return Status::error("no guest");
  }
  if (state_ != State::kDown && !has_protocol(vhost_user::kProtocolLogShmFd)) {
    return Status::error("the back-end has no dirty log in shared memory");
  }
  if (on && log_ == nullptr) {
    Status status;
    log_ = DirtyLog::create(guest_->memory().guest_end(), &status);
    if (log_ == nullptr) {
      return status;
    }
  }
  log_on_ = on;
  if (state_ != State::kRunning) {
    return {};
  }
  if (on) {
    give_log();
  }
  give_features();
  for (unsigned i = 0; i < guest_->ring_count(); ++i) {
    give_ring_address(i);
  }
  note(on ? "logging on" : "logging off");
  return {};
}

Status VhostFrontend::send_rarp() {
  if (state_ == State::kDown || !has_protocol(vhost_user::kProtocolRarp)) {
    return Status::error("the back-end does not support SEND_RARP");
  }
  uint64_t payload = 0;
  const std::array<uint8_t, 6>& mac = guest_ != nullptr ? guest_->options().mac : options_.nic.mac;
  std::memcpy(&payload, mac.data(), mac.size());
  channel_.request(Request::kSendRarp, bytes_of(payload), {}, true);
  return {};
}

}  // namespace godwit::vhost_frontend
