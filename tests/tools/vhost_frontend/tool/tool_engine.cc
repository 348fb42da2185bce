// SPDX-License-Identifier: Apache-2.0
#include "tests/tools/vhost_frontend/tool/tool_engine.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

#include <sys/epoll.h>

namespace godwit::vhost_frontend {
namespace {

constexpr int64_t kTickNs = 1'000'000;
constexpr int64_t kIdleNs = 100'000'000;
constexpr uint64_t kSecond = 1'000'000'000;
// A stream that falls behind by more than this (a hundredth of a second, or a batch) restarts its
// clock.
constexpr uint64_t kBacklogDivisor = 100;

}  // namespace

Status Engine::open() {
  epoll_.reset(epoll_create1(EPOLL_CLOEXEC));
  return epoll_.valid() ? Status() : Status::error(std::string("epoll: ") + std::strerror(errno));
}

Status Engine::watch_input(int fd) {
  epoll_event event{};
  event.events = EPOLLIN;
  event.data.ptr = nullptr;
  input_ = fd;
  return epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, fd, &event) == 0
             ? Status()
             : Status::error(std::string("input: ") + std::strerror(errno));
}

Status Engine::add_device(const std::string& name, const FrontendOptions& options) {
  if (name.empty() || by_name_.contains(name) || devices_.size() >= kMaxDevices) {
    return Status::error("the name '" + name +
                         "' is taken or empty, or there are too many devices");
  }
  Status status;
  auto device = std::make_unique<Device>();
  device->name = name;
  device->side = std::make_unique<GuestSide>();
  device->frontend = VhostFrontend::create(options, &status);
  if (device->frontend == nullptr) {
    return status;
  }
  epoll_event event{};
  event.events = EPOLLIN;
  event.data.ptr = device.get();
  if (epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, device->frontend->event_fd(), &event) != 0) {
    return Status::error(std::string("epoll: ") + std::strerror(errno));
  }
  by_name_[name] = device.get();
  devices_.push_back(std::move(device));
  return {};
}

void Engine::remove_device(const std::string& name) {
  std::erase_if(streams_, [&](const Stream& stream) { return stream.from == name; });
  by_name_.erase(name);
  std::erase_if(devices_,
                [&](const std::unique_ptr<Device>& device) { return device->name == name; });
}

Device* Engine::find(const std::string& name) {
  const auto at = by_name_.find(name);
  return at == by_name_.end() ? nullptr : at->second;
}

Status Engine::move_guest(Device& from, Device& to, Move how) {
  if (&from == &to || !from.frontend->stopped() || from.frontend->guest() == nullptr) {
    return Status::error("the guest of '" + from.name + "' must be stopped");
  }
  if (!to.frontend->stopped() || to.frontend->guest() != nullptr) {
    return Status::error("'" + to.name + "' must have no guest (incoming=1, or moved away)");
  }
  Status status;
  std::unique_ptr<GuestNic> moved;
  if (how == Move::kCopy) {
    moved = from.frontend->guest()->clone(&status);
  } else if (how == Move::kDirty) {
    if (from.copy == nullptr || from.frontend->log() == nullptr) {
      return Status::error("no copy has begun; run: log " + from.name + " on");
    }
    to.copied = from.frontend->guest()->finish_copy(*from.copy, from.frontend->log()->read(true));
    moved = std::move(from.copy);
  }
  if (!status.ok()) {
    return status;
  }
  std::unique_ptr<GuestNic> original = from.frontend->detach_guest();
  status = to.frontend->attach_guest(moved != nullptr ? std::move(moved) : std::move(original));
  from.copy.reset();
  from.hot = false;
  to.side = std::exchange(from.side, std::make_unique<GuestSide>());
  for (Stream& stream : streams_) {
    if (stream.from == from.name) {
      stream.from = to.name;
    }
  }
  return status;
}

Status Engine::add_stream(Stream stream) {
  if (find_stream(stream.id) != nullptr || streams_.size() >= kMaxStreams) {
    return Status::error("stream " + std::to_string(stream.id) + " exists, or there are too many");
  }
  streams_.push_back(std::move(stream));
  return {};
}

Stream* Engine::find_stream(uint32_t id) {
  for (Stream& stream : streams_) {
    if (stream.id == id) {
      return &stream;
    }
  }
  return nullptr;
}

void Engine::remove_stream(uint32_t id) {
  std::erase_if(streams_, [id](const Stream& stream) { return stream.id == id; });
}

void Engine::answer_arp(Device& device, std::span<const uint8_t> frame) {
  static constexpr uint8_t kRequest[] = {0, 1, 8, 0, 6, 4, 0, 1};
  size_t at = 12;
  if (frame.size() >= 16 && frame[12] == 0x81 && frame[13] == 0) {
    at += 4;
  }
  if (frame.size() < at + 30 || frame[at] != 8 || frame[at + 1] != 6 ||
      std::memcmp(&frame[at + 2], kRequest, sizeof(kRequest)) != 0) {
    return;
  }
  const uint8_t* asked = &frame[at + 26];
  const uint32_t address =
      uint32_t{asked[0]} << 24 | uint32_t{asked[1]} << 16 | uint32_t{asked[2]} << 8 | asked[3];
  if (!device.side->arp_addresses.contains(address) || device.side->answers.size() >= kSendBatch) {
    return;
  }
  const std::array<uint8_t, 6>& mac = device.frontend->guest()->options().mac;
  std::vector<uint8_t> reply(frame.begin(), frame.begin() + static_cast<std::ptrdiff_t>(at) + 30);
  reply.resize(std::max<size_t>(reply.size(), 60), 0);
  std::memcpy(&reply[0], &frame[6], 6);
  std::memcpy(&reply[6], mac.data(), 6);
  reply[at + 9] = 2;
  std::memcpy(&reply[at + 10], mac.data(), 6);
  std::memcpy(&reply[at + 16], asked, 4);
  std::memcpy(&reply[at + 20], &frame[at + 10], 10);
  device.side->answers.push_back(std::move(reply));
}

void Engine::take_frame(Device& device, const Frame& frame, int64_t now_ns) {
  GuestSide& side = *device.side;
  ++side.rx_frames;
  side.rx_bytes += frame.data.size();
  side.first_rx_ns = side.first_rx_ns == 0 ? now_ns : side.first_rx_ns;
  if (side.sink) {
    NumberedPacket packet;
    if (parse_numbered(frame.data, &packet)) {
      if (side.accounts.size() < kMaxStreams || side.accounts.contains(packet.stream)) {
        side.accounts[packet.stream].add(packet, now_ns);
      }
      return;
    }
    ++side.other_frames;
  }
  if (!side.arp_addresses.empty()) {
    answer_arp(device, frame.data);
  }
  if (side.captured.size() >= GuestSide::kMaxCaptured ||
      side.captured_bytes + frame.data.size() > GuestSide::kMaxCapturedBytes) {
    ++side.capture_overflow;
    return;
  }
  side.captured_bytes += frame.data.size();
  side.captured.push_back(
      {{frame.data.begin(), frame.data.end()}, frame.header, frame.queue_pair, now_ns});
}

size_t Engine::receive_device(Device& device, int64_t now_ns) {
  const size_t frames = device.frontend->receive(
      kReceiveBatch, [&](const Frame& frame) { take_frame(device, frame, now_ns); });
  for (const std::vector<uint8_t>& answer : device.side->answers) {
    const Frame frame{.data = answer};
    const size_t sent = device.frontend->send({&frame, 1}, 0);
    device.side->arp_replies += sent;
    device.side->tx_frames += sent;
  }
  device.side->answers.clear();
  return frames;
}

size_t Engine::receive_all(int64_t now_ns) {
  size_t most = 0;
  for (const std::unique_ptr<Device>& device : devices_) {
    if (!device->hot) {
      continue;
    }
    const size_t frames = receive_device(*device, now_ns);
    most = std::max(most, frames);
    if (frames > 0) {
      device->busy_ns = now_ns;
    } else if (now_ns - device->busy_ns > kQuietNs && device->frontend->arm_receive()) {
      device->hot = false;
    }
  }
  return most;
}

bool Engine::send_stream(Stream& stream, int64_t now_ns) {
  Device* device = find(stream.from);
  if (device == nullptr || !device->frontend->running() || device->frontend->paused()) {
    stream.base_ns = now_ns;
    stream.base_sent = stream.sent;
    return false;
  }
  uint64_t due = static_cast<uint64_t>(now_ns - stream.base_ns) * stream.pps / kSecond -
                 (stream.sent - stream.base_sent);
  const uint64_t most = std::max<uint64_t>(stream.pps / kBacklogDivisor, kSendBatch);
  if (static_cast<int64_t>(due) > static_cast<int64_t>(most)) {
    stream.base_ns = now_ns;
    stream.base_sent = stream.sent;
    due = kSendBatch;
  }
  if (static_cast<int64_t>(due) <= 0) {
    return false;
  }
  due = std::min({due, stream.count - stream.sent, uint64_t{kSendBatch}});
  Frame frames[kSendBatch];
  batch_.resize(kSendBatch);
  for (size_t i = 0; i < due; ++i) {
    const std::span<const uint8_t> built = stream.builder->build(stream.sent + i, now_ns);
    batch_[i].assign(built.begin(), built.end());
    frames[i] = {.data = batch_[i]};
  }
  const size_t sent = device->frontend->send({frames, due}, stream.queue_pair);
  stream.sent += sent;
  stream.ring_full += sent < due ? 1 : 0;
  device->side->tx_frames += sent;
  device->side->tx_bytes += sent > 0 ? sent * batch_[0].size() : 0;
  return sent == kSendBatch;
}

bool Engine::send_streams(int64_t now_ns, int64_t* next_ns) {
  bool more = false;
  for (Stream& stream : streams_) {
    if (stream.done) {
      continue;
    }
    if (stream.sent == stream.count || (stream.end_ns != 0 && now_ns >= stream.end_ns)) {
      stream.done = true;
      continue;
    }
    more |= send_stream(stream, now_ns);
    const int64_t due_ns =
        stream.base_ns +
        static_cast<int64_t>((stream.sent - stream.base_sent + 1) * kSecond / stream.pps);
    *next_ns = std::min(*next_ns, std::max(due_ns, now_ns + kPollNs));
  }
  return more;
}

bool Engine::wait_for_events(int64_t timeout_ns) {
  epoll_event ready[64];
  const timespec timeout{timeout_ns / static_cast<int64_t>(kSecond),
                         timeout_ns % static_cast<int64_t>(kSecond)};
  const int count = epoll_pwait2(epoll_.get(), ready, 64, &timeout, nullptr);
  const int64_t now_ns = monotonic_ns();
  bool input = false;
  for (int i = 0; i < count; ++i) {
    Device* device = static_cast<Device*>(ready[i].data.ptr);
    if (device == nullptr) {
      input = true;
      continue;
    }
    device->frontend->process(now_ns);
    if (device->frontend->running() && !device->hot) {
      device->hot = true;
      device->busy_ns = now_ns;
      device->frontend->disarm_receive();
    }
  }
  return input;
}

bool Engine::turn(int64_t max_sleep_ns) {
  int64_t now_ns = monotonic_ns();
  bool tick = false;
  for (const std::unique_ptr<Device>& device : devices_) {
    if (device->frontend->wants_tick()) {
      device->frontend->process(now_ns);
      tick = true;
    }
    if (device->frontend->running() && !device->frontend->paused() && device->busy_ns == 0) {
      device->hot = true;
      device->busy_ns = now_ns;
    } else if (!device->frontend->running()) {
      device->busy_ns = 0;
      device->hot = false;
    }
  }
  const size_t most = receive_all(now_ns);
  now_ns = monotonic_ns();
  int64_t next_ns = now_ns + std::min(max_sleep_ns, tick ? kTickNs : kIdleNs);
  const bool more = send_streams(now_ns, &next_ns);
  const bool hot =
      std::any_of(devices_.begin(), devices_.end(), [](const auto& device) { return device->hot; });
  if (hot) {
    next_ns = std::min(next_ns, now_ns + kPollNs);
  }
  const bool behind = more || most >= kReceiveBatch / 4;
  return wait_for_events(behind ? 0 : std::max<int64_t>(next_ns - now_ns, 0));
}

bool Engine::run_until(int64_t deadline_ns, const std::function<bool()>& done) {
  // Standard input is level triggered. It would keep the loop from sleeping while a command runs.
  if (input_ >= 0) {
    epoll_ctl(epoll_.get(), EPOLL_CTL_DEL, input_, nullptr);
  }
  bool finished = done();
  for (int64_t now_ns = monotonic_ns(); !finished && now_ns < deadline_ns;
       now_ns = monotonic_ns()) {
    turn(deadline_ns - now_ns);
    finished = done();
  }
  if (input_ >= 0) {
    const Status status = watch_input(input_);
    finished = finished && status.ok();
  }
  return finished;
}

}  // namespace godwit::vhost_frontend
