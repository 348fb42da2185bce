// SPDX-License-Identifier: Apache-2.0
//
// A vhost-user front-end for tests: what QEMU and a guest's virtio-net driver are to a switch, in
// one object and without a guest. It connects to a back-end (or waits for it), negotiates, shows it
// memory and rings, and sends and receives Ethernet frames. Rings can be stopped and started again
// here, or on another switch with the state they had, which is what a live migration is to a
// switch. QEMU's vhost-user specification is what it follows; orders of messages are those of
// QEMU 7.2.
//
//   auto frontend = VhostFrontend::create({.path = "/tmp/vm1.sock"}, &status);     // listens;
//   start() is implied while (!frontend->running()) { frontend->process(monotonic_ns()); } // never
//   blocks frontend->send({{Frame{.data = bytes}}}, 0); frontend->receive(64, [](const Frame&
//   frame) { ... });
//
//   // live migration: a second front-end, created with .incoming = true, is connected to the
//   destination switch frontend->stop();                       // GET_VRING_BASE on each ring;
//   until stopped() destination->attach_guest(frontend->detach_guest());   // memory, driver and
//   ring indices go over destination->start();                   // SET_VRING_BASE with them; until
//   running()
//
// States
//   down         no connection: listening, or about to connect. A lost back-end leads here, and
//   back up by itself. negotiating  features, protocol features, owner ready        negotiated,
//   rings stopped; what an incoming front-end stays in starting     memory table and rings are
//   being given running      rings run, by the back-end's acknowledgement stopping GET_VRING_BASE
//   is under way
//
// Invariants
// - The guest's rings are touched only while running and not paused; nothing is sent or received
// otherwise.
// - After a back-end was lost, SET_VRING_BASE is the used index, as in QEMU. After a stop it is
// what GET_VRING_BASE gave.
// - Nothing waits: a request is answered in a later process(). No answer for five seconds closes
// the connection.
//
// Thread safety: none; one thread owns a front-end, and may own hundreds. Times are CLOCK_MONOTONIC
// nanoseconds.
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

namespace godwit::support {

int64_t monotonic_ns();

struct FrontendOptions {
  std::string path;
  bool server = true;     // listen on `path` (the back-end is the client); false: connect to it
  bool incoming = false;  // no guest of its own: waits for attach_guest()
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

  // Null with `*why` set when the socket or the memory can't be had.
  static std::unique_ptr<VhostFrontend> create(const FrontendOptions& options, Status* why);
  ~VhostFrontend();
  VhostFrontend(const VhostFrontend&) = delete;
  VhostFrontend& operator=(const VhostFrontend&) = delete;

  // An epoll descriptor: readable when process() has something to do or an armed receive ring has
  // frames.
  int event_fd() const { return epoll_.get(); }
  // Does what can be done without waiting. To be called when event_fd() is readable and, while
  // wants_tick(), each few milliseconds.
  void process(int64_t now_ns);
  bool wants_tick() const;

  State state() const { return state_; }
  bool running() const { return state_ == State::kRunning; }
  // Rings are stopped and stay so until start().
  bool stopped() const {
    return !wanted_running_ && (state_ == State::kReady || state_ == State::kDown);
  }
  // The last thing that went wrong, or empty.
  const std::string& error() const { return error_; }
  const std::deque<Event>& events() const { return events_; }

  // Wishes; process() fulfils them. Starting needs a guest.
  void start();
  void stop();
  // Stops the rings, forgets the driver's state, and starts anew, as a guest that reboots does.
  void reset_driver();

  GuestNic* guest() { return guest_.get(); }
  const GuestNic* guest() const { return guest_.get(); }
  // The guest with its memory and ring state; null unless stopped().
  std::unique_ptr<GuestNic> detach_guest();
  Status attach_guest(std::unique_ptr<GuestNic> guest);

  // Dirty logging, before or while rings run: SET_LOG_BASE, VHOST_F_LOG_ALL and the rings' log
  // flag.
  Status set_logging(bool on);
  bool logging() const { return log_ != nullptr && log_on_; }
  // The logging that was asked for is in force at the back-end.
  bool logging_settled() const { return channel_.idle(); }
  DirtyLog* log() { return log_.get(); }
  // SEND_RARP, the hint that QEMU gives at a migration's end for guests that don't announce
  // themselves.
  Status send_rarp();

  // Frames put, in order; 0 while not running or where the ring is full.
  size_t send(std::span<const Frame> frames, uint16_t pair);
  size_t receive(size_t max, const ReceiveFn& fn);
  // Asks for event_fd() to become readable with the next frame; false when there is one already.
  bool arm_receive();
  void disarm_receive();
  // A paused guest's rings stay with the back-end, but nobody fills or empties them.
  void pause(bool on) { paused_ = on; }
  bool paused() const { return paused_; }

  uint64_t offered_features() const { return offered_; }
  uint64_t protocol_features() const { return protocol_; }
  uint64_t backend_requests() const { return backend_requests_.count(); }
  uint64_t kicks() const { return kicks_; }
  uint64_t calls() const { return calls_; }
  const FrontendOptions& options() const { return options_; }

 private:
  struct RingEvents {
    UniqueFd kick;
    UniqueFd call;
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

  bool has_protocol(unsigned bit) const { return (protocol_ >> bit & 1) != 0; }
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
  bool wanted_running_ = false;
  bool reset_wanted_ = false;
  bool paused_ = false;
  uint64_t offered_ = 0;
  uint64_t protocol_ = 0;
  uint64_t max_pairs_ = 1;
  int64_t next_connect_ns_ = 0;
  uint64_t kicks_ = 0;
  uint64_t calls_ = 0;
  std::string error_;
  std::deque<Event> events_;
};

const char* state_name(VhostFrontend::State state);

}  // namespace godwit::support
