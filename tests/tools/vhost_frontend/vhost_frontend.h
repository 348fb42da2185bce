// SPDX-License-Identifier: Apache-2.0
//
// A vhost-user front-end for tests. To a switch it looks like QEMU with a guest's virtio-net
// driver, but it is one object and needs no guest. It connects to a back-end, or waits for one,
// negotiates, passes memory and rings, and sends and receives Ethernet frames.
//
// Rings can be stopped and started again, on the same switch or on another one with the state that
// they had. To a switch that is a live migration. The front-end follows QEMU's vhost-user
// specification and sends messages in the order of QEMU 7.2.
//
//   auto frontend = VhostFrontend::create({.path = "/tmp/vm1.sock"}, &status);
//   // It listens, and starts by itself. process() never blocks.
//   while (!frontend->running()) frontend->process(monotonic_ns());
//   frontend->send({{Frame{.data = bytes}}}, 0);
//   frontend->receive(64, [](const Frame& frame) { ... });
//
//   // Live migration. `destination` was created with .incoming = true and is connected to the
//   // destination switch.
//   frontend->stop();  // GET_VRING_BASE on each ring, until stopped()
//   // The memory, the driver's state and the ring indices move.
//   destination->attach_guest(frontend->detach_guest());
//   destination->start();  // SET_VRING_BASE with the indices, until running()
//
// States
//   down         No connection: listening, or about to connect. The loss of a back-end leads here;
//                the front-end then reconnects by itself.
//   negotiating  Exchanges features, protocol features and the owner.
//   ready        Negotiated, rings stopped. An incoming front-end stays here.
//   starting     Passes the memory table and the rings.
//   running      Rings run, acknowledged by the back-end.
//   stopping     GET_VRING_BASE is in progress.
//
// Invariants
// - The front-end touches the guest's rings only while it runs and is not paused. Otherwise it
//   sends and receives nothing.
// - After the loss of a back-end, SET_VRING_BASE carries the used index, as in QEMU. After a stop
//   it carries the value from GET_VRING_BASE.
// - No call blocks. A later process() handles the reply to a request. A request without a reply for
//   five seconds closes the connection.
//
// Not thread safe. One thread owns a front-end and may own hundreds of them. Times are
// CLOCK_MONOTONIC nanoseconds.
#pragma once

#include <cstdint>
#include <deque>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "tests/tools/vhost_frontend/backend_requests.h"
#include "tests/tools/vhost_frontend/dirty_log.h"
#include "tests/tools/vhost_frontend/guest_nic.h"
#include "tests/tools/vhost_frontend/message_channel.h"

namespace godwit::vhost_frontend {

int64_t monotonic_ns();

struct FrontendOptions {
  std::string path;
  bool server = true;     // Listens on `path` if true, connects to it if false.
  bool incoming = false;  // Starts without a guest and waits for attach_guest().
  NicOptions nic{.features = NicOptions::default_features()};
  uint64_t protocol_features = default_protocol_features();

  static uint64_t default_protocol_features();
};

class VhostFrontend {
 public:
  enum class State { kDown, kNegotiating, kReady, kStarting, kRunning, kStopping };

  struct Event {
    int64_t time_ns;
    std::string what;
  };

  // Returns null and sets `*why` if the socket or the memory cannot be created.
  static std::unique_ptr<VhostFrontend> create(const FrontendOptions& options, Status* why);
  ~VhostFrontend();
  VhostFrontend(const VhostFrontend&) = delete;
  VhostFrontend& operator=(const VhostFrontend&) = delete;

  // Returns an epoll descriptor. It is readable while process() has work or an armed receive ring
  // has frames.
  int event_fd() const { return epoll_.get(); }
  // Does all work that needs no waiting. Call it when event_fd() is readable and, while
  // wants_tick(), every few milliseconds.
  void process(int64_t now_ns);
  bool wants_tick() const;

  State state() const { return state_; }
  bool running() const { return state_ == State::kRunning; }
  // Returns whether the rings are stopped and stay stopped until start().
  bool stopped() const {
    return !wanted_.running && (state_ == State::kReady || state_ == State::kDown);
  }
  // Returns the last error, or an empty string.
  const std::string& error() const { return error_; }
  const std::deque<Event>& events() const { return events_; }

  // Requests that process() carries out. Starting needs a guest.
  void start();
  void stop();
  // Stops the rings, clears the driver's state and starts again, like a guest that reboots.
  void reset_driver();

  GuestNic* guest() { return guest_.get(); }
  const GuestNic* guest() const { return guest_.get(); }
  // Returns the guest with its memory and ring state, or null unless stopped().
  std::unique_ptr<GuestNic> detach_guest();
  Status attach_guest(std::unique_ptr<GuestNic> guest);

  // Switches dirty logging, before or while the rings run, with SET_LOG_BASE, VHOST_F_LOG_ALL and
  // the log flag of the rings.
  Status set_logging(bool on);
  bool logging() const { return log_ != nullptr && log_on_; }
  // Returns whether the back-end has acknowledged the last set_logging().
  bool logging_settled() const { return channel_.idle(); }
  DirtyLog* log() { return log_.get(); }
  // Sends SEND_RARP, QEMU's hint at the end of a migration for guests that do not announce
  // themselves.
  Status send_rarp();

  // Sends frames in order. Returns how many the ring took, zero unless running.
  size_t send(std::span<const Frame> frames, uint16_t pair);
  size_t receive(size_t max, const ReceiveFn& fn);
  // Makes event_fd() readable with the next frame. Returns false if a frame is already waiting.
  bool arm_receive();
  void disarm_receive();
  // Pauses the guest: its rings stay with the back-end, but the guest neither fills nor empties
  // them.
  void pause(bool on) { paused_ = on; }
  bool paused() const { return paused_; }

  uint64_t offered_features() const { return negotiated_.offered; }
  uint64_t protocol_features() const { return negotiated_.protocol; }
  uint64_t backend_requests() const { return backend_requests_.count(); }
  uint64_t kicks() const { return kicks_; }
  uint64_t calls() const { return calls_; }
  const FrontendOptions& options() const { return options_; }

 private:
  struct RingEvents {
    UniqueFd kick;
    UniqueFd call;
  };
  // The requested changes that process() has yet to make.
  struct Wishes {
    bool running = false;
    bool reset = false;
  };
  // The answers of the back-end.
  struct Negotiated {
    uint64_t offered = 0;
    uint64_t protocol = 0;
    uint64_t max_pairs = 1;
  };

  VhostFrontend() = default;
  Status listen_or_prepare();
  Status make_events(unsigned rings);
  Status watch(int fd);
  void accept_or_connect(int64_t now_ns);
  void connected(UniqueFd fd);
  void disconnected(const std::string& why);
  void advance();

  void negotiate();
  Status offer_received(std::span<const uint8_t> payload);
  Status protocol_offer_received(std::span<const uint8_t> payload);
  void finish_negotiation();
  Status begin_start();
  void give_ring(unsigned index);
  void give_ring_address(unsigned index);
  void give_log();
  void give_features();
  void give_status(uint8_t status);
  void finish_start();
  void begin_stop();
  Status ring_stopped(unsigned index, std::span<const uint8_t> payload);
  void kick_where_wanted();

  bool has_protocol(unsigned bit) const { return (negotiated_.protocol >> bit & 1) != 0; }
  void note(std::string what);
  void fail(const std::string& what);

  FrontendOptions options_;
  UniqueFd epoll_;
  UniqueFd listener_;
  bool bound_ = false;
  MessageChannel channel_;
  BackendRequests backend_requests_;
  UniqueFd backend_remote_;
  std::vector<RingEvents> events_of_rings_;
  std::unique_ptr<GuestNic> guest_;
  std::unique_ptr<DirtyLog> log_;
  bool log_on_ = false;
  State state_ = State::kDown;
  Wishes wanted_;
  bool paused_ = false;
  Negotiated negotiated_;
  int64_t next_connect_ns_ = 0;
  uint64_t kicks_ = 0;
  uint64_t calls_ = 0;
  std::string error_;
  std::deque<Event> events_;
};

const char* state_name(VhostFrontend::State state);

}  // namespace godwit::vhost_frontend
