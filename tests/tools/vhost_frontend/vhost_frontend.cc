// SPDX-License-Identifier: Apache-2.0
//
// The lifecycle of a front-end: its socket, its connection and its data path. vhost_negotiation.cc
// has the messages on the connection.
#include "tests/tools/vhost_frontend/vhost_frontend.h"

#include <cerrno>
#include <cstring>
#include <ctime>
#include <utility>

#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

namespace godwit::vhost_frontend {
namespace {

constexpr int64_t kConnectRetryNs = 50'000'000;
constexpr size_t kMaxEvents = 256;

Status system_error(const std::string& what) {
  return Status::error(what + ": " + std::strerror(errno));
}

bool fill_address(const std::string& path, sockaddr_un* address) {
  *address = {};
  address->sun_family = AF_UNIX;
  if (path.empty() || path.size() >= sizeof(address->sun_path)) {
    return false;
  }
  std::memcpy(address->sun_path, path.data(), path.size());
  return true;
}

}  // namespace

int64_t monotonic_ns() {
  timespec now{};
  clock_gettime(CLOCK_MONOTONIC, &now);
  return int64_t{now.tv_sec} * 1'000'000'000 + now.tv_nsec;
}

const char* state_name(VhostFrontend::State state) {
  switch (state) {
    case VhostFrontend::State::kDown: return "down";
    case VhostFrontend::State::kNegotiating: return "negotiating";
    case VhostFrontend::State::kReady: return "ready";
    case VhostFrontend::State::kStarting: return "starting";
    case VhostFrontend::State::kRunning: return "running";
    case VhostFrontend::State::kStopping: return "stopping";
  }
  return "unknown";
}

std::unique_ptr<VhostFrontend> VhostFrontend::create(const FrontendOptions& options, Status* why) {
  std::unique_ptr<VhostFrontend> frontend(new VhostFrontend);
  frontend->options_ = options;
  if (!options.incoming) {
    frontend->guest_ = GuestNic::create(options.nic, why);
    if (frontend->guest_ == nullptr) {
      return nullptr;
    }
    frontend->wanted_.running = true;
  }
  frontend->epoll_.reset(epoll_create1(EPOLL_CLOEXEC));
  if (!frontend->epoll_.valid()) {
    *why = system_error("epoll");
    return nullptr;
  }
  if (frontend->guest_ != nullptr) {
    *why = frontend->make_events(frontend->guest_->ring_count());
  }
  if (why->ok()) {
    *why = frontend->listen_or_prepare();
  }
  return why->ok() ? std::move(frontend) : nullptr;
}

VhostFrontend::~VhostFrontend() {
  if (bound_) {
    unlink(options_.path.c_str());
  }
}

Status VhostFrontend::watch(int fd) {
  epoll_event event{};
  event.events = EPOLLIN | EPOLLRDHUP;
  event.data.fd = fd;
  return epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, fd, &event) == 0 ? Status() : system_error("epoll");
}

Status VhostFrontend::make_events(unsigned rings) {
  while (events_of_rings_.size() < rings) {
    RingEvents ring;
    ring.kick.reset(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
    ring.call.reset(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
    if (!ring.kick.valid() || !ring.call.valid()) {
      return system_error("eventfd");
    }
    Status status = watch(ring.call.get());
    if (!status.ok()) {
      return status;
    }
    events_of_rings_.push_back(std::move(ring));
  }
  return {};
}

Status VhostFrontend::listen_or_prepare() {
  sockaddr_un address;
  if (!fill_address(options_.path, &address)) {
    return Status::error("socket path '" + options_.path + "' is empty or too long");
  }
  if (!options_.server) {
    return {};
  }
  struct stat there {};
  if (lstat(options_.path.c_str(), &there) == 0 && S_ISSOCK(there.st_mode)) {
    unlink(options_.path.c_str());  // A process that ended left it.
  }
  listener_.reset(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!listener_.valid()) {
    return system_error("socket");
  }
  if (bind(listener_.get(), reinterpret_cast<const sockaddr*>(&address), sizeof(address)) != 0) {
    return system_error("bind " + options_.path);
  }
  bound_ = true;
  if (listen(listener_.get(), 1) != 0) {
    return system_error("listen " + options_.path);
  }
  return watch(listener_.get());
}

void VhostFrontend::accept_or_connect(int64_t now_ns) {
  if (options_.server) {
    UniqueFd fd(accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
    if (fd.valid()) {
      connected(std::move(fd));
    }
    return;
  }
  if (now_ns < next_connect_ns_) {
    return;
  }
  next_connect_ns_ = now_ns + kConnectRetryNs;
  sockaddr_un address;
  UniqueFd fd(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (fill_address(options_.path, &address) && fd.valid() &&
      ::connect(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof(address)) == 0) {
    connected(std::move(fd));
  }
}

void VhostFrontend::connected(UniqueFd fd) {
  note("connected");
  const Status status = watch(fd.get());
  if (!status.ok()) {
    fail(status.error());
    return;
  }
  if (options_.server) {
    epoll_ctl(epoll_.get(), EPOLL_CTL_DEL, listener_.get(),
              nullptr);  // The next connection stays in the backlog.
  }
  channel_.open(std::move(fd));
  state_ = State::kNegotiating;
  negotiate();
}

void VhostFrontend::disconnected(const std::string& why) {
  if (state_ != State::kStopping || wanted_.running) {
    fail(why);
  }
  const bool had_rings =
      state_ == State::kStarting || state_ == State::kRunning || state_ == State::kStopping;
  if (had_rings && guest_ != nullptr && guest_->initialised()) {
    guest_->bases_from_used_rings();
  }
  channel_.close();
  backend_requests_.close();
  backend_remote_.reset();
  negotiated_.protocol = 0;
  state_ = State::kDown;
  note("disconnected: " + why);
  if (options_.server) {
    const Status status = watch(listener_.get());
    if (!status.ok()) {
      fail(status.error());
    }
  }
}

void VhostFrontend::process(int64_t now_ns) {
  epoll_event ready[16];
  const int count = epoll_wait(epoll_.get(), ready, 16, 0);
  for (int i = 0; i < count; ++i) {
    for (const RingEvents& ring : events_of_rings_) {
      uint64_t value = 0;
      if (ready[i].data.fd == ring.call.get() &&
          read(ring.call.get(), &value, sizeof(value)) == sizeof(value)) {
        calls_ += value;
      }
    }
  }
  if (state_ == State::kDown) {
    accept_or_connect(now_ns);
  }
  if (state_ == State::kDown) {
    return;
  }
  if (backend_requests_.fd() >= 0 && !backend_requests_.pump()) {
    backend_requests_.close();
  }
  Status status = channel_.pump(now_ns);
  if (status.ok()) {
    advance();
    status = channel_.pump(now_ns);
  }
  if (!status.ok()) {
    disconnected(status.error());
  }
}

void VhostFrontend::advance() {
  if (!channel_.idle()) {
    return;
  }
  if (state_ == State::kRunning && (!wanted_.running || wanted_.reset)) {
    begin_stop();
    return;
  }
  if (state_ != State::kReady || guest_ == nullptr) {
    return;
  }
  if (wanted_.reset) {
    guest_->reset_driver();
    wanted_.reset = false;
    wanted_.running = true;
  }
  if (wanted_.running) {
    const Status status = begin_start();
    if (!status.ok()) {
      wanted_.running = false;
      fail(status.error());
    }
  }
}

bool VhostFrontend::wants_tick() const {
  switch (state_) {
    case State::kDown: return !options_.server;
    case State::kReady: return wanted_.running || wanted_.reset || !channel_.idle();
    case State::kRunning: return !wanted_.running || wanted_.reset || !channel_.idle();
    default: return true;
  }
}

void VhostFrontend::start() { wanted_.running = true; }

void VhostFrontend::stop() { wanted_.running = false; }

void VhostFrontend::reset_driver() {
  wanted_.reset = true;
  if (state_ == State::kDown && guest_ != nullptr) {
    guest_->reset_driver();
    wanted_.reset = false;
  }
}

std::unique_ptr<GuestNic> VhostFrontend::detach_guest() {
  if (!stopped()) {
    return nullptr;
  }
  log_.reset();
  log_on_ = false;
  return std::move(guest_);
}

Status VhostFrontend::attach_guest(std::unique_ptr<GuestNic> guest) {
  if (guest_ != nullptr || guest == nullptr || !stopped()) {
    return Status::error("the front-end already has a guest, or the new guest is null");
  }
  Status status = make_events(guest->ring_count());
  if (status.ok()) {
    guest_ = std::move(guest);
  }
  return status;
}

size_t VhostFrontend::send(std::span<const Frame> frames, uint16_t pair) {
  if (state_ != State::kRunning || paused_) {
    return 0;
  }
  const size_t sent = guest_->send(frames, pair);
  kick_where_wanted();
  return sent;
}

size_t VhostFrontend::receive(size_t max, const ReceiveFn& fn) {
  if (state_ != State::kRunning || paused_) {
    return 0;
  }
  const size_t frames = guest_->receive(max, fn);
  if (frames > 0) {
    kick_where_wanted();
  }
  return frames;
}

bool VhostFrontend::arm_receive() {
  if (state_ != State::kRunning || paused_) {
    return true;
  }
  for (unsigned i = 0; i < guest_->ring_count(); ++i) {
    uint64_t value = 0;
    if (read(events_of_rings_[i].call.get(), &value, sizeof(value)) == sizeof(value)) {
      calls_ += value;
    }
  }
  return guest_->arm_receive();
}

void VhostFrontend::disarm_receive() {
  if (guest_ != nullptr && guest_->initialised() && state_ == State::kRunning) {
    guest_->disarm_receive();
  }
}

void VhostFrontend::kick_where_wanted() {
  for (unsigned i = 0; i < guest_->ring_count(); ++i) {
    const uint64_t one = 1;
    if (guest_->ring(i).take_kick() &&
        write(events_of_rings_[i].kick.get(), &one, sizeof(one)) == sizeof(one)) {
      ++kicks_;
    }
  }
}

void VhostFrontend::note(std::string what) {
  if (events_.size() == kMaxEvents) {
    events_.pop_front();
  }
  events_.push_back({monotonic_ns(), std::move(what)});
}

void VhostFrontend::fail(const std::string& what) {
  error_ = what;
  note("error: " + what);
}

}  // namespace godwit::vhost_frontend
