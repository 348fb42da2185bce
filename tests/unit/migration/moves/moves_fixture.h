// SPDX-License-Identifier: Apache-2.0
//
// Fixture for tests of the parts of a move: a switch without workers, a network whose time the test
// advances, and sessions that record what is sent.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "base/clock.h"
#include "migration/journal/memory_journal.h"
#include "migration/link/network.h"
#include "migration/moves/move_context.h"
#include "tests/harness/fake_switch.h"

namespace godwit::migration {

// A clock that stands still until advance_ns().
class ManualClock final : public Clock {
 public:
  [[nodiscard]] uint64_t now_ns() const override { return now_ns_; }
  void advance_ns(uint64_t ns) { now_ns_ += ns; }

 private:
  uint64_t now_ns_ = 0;
};

// Records what is sent. The test plays the peer.
class FakeSession final : public PeerSession {
 public:
  void start(OnMessage on_message, OnClosed on_closed) override {
    hand_over(std::move(on_message), std::move(on_closed));
  }
  void hand_over(OnMessage on_message, OnClosed on_closed) override {
    on_message_ = std::move(on_message);
    on_closed_ = std::move(on_closed);
  }
  void send(const wire::Envelope& message) override { sent.push_back(message); }
  void close(const std::string& reason) override {
    if (!std::exchange(closed, true) && on_closed_) std::exchange(on_closed_, nullptr)(reason);
  }
  void close_when_sent() override { close("closed"); }
  void pause_reading(bool pause) override { paused = pause; }
  [[nodiscard]] size_t queued_bytes() const override { return queued; }
  [[nodiscard]] const std::string& host() const override { return name; }

  // The peer sends this message.
  void receive(wire::Envelope message) {
    if (const auto on_message = on_message_) on_message(message);
  }
  void receive_hello(const std::string& from) {
    wire::Envelope hello;
    *hello.mutable_hello() = make_hello(from);
    receive(hello);
  }

  std::string name = "host-b";
  std::vector<wire::Envelope> sent;
  size_t queued = 0;
  bool closed = false, paused = false;

 private:
  OnMessage on_message_;
  OnClosed on_closed_;
};

// A network whose time stands still until advance_ms().
class FakeNetwork final : public Network {
 public:
  explicit FakeNetwork(ManualClock& clock) : clock_(clock) {}

  void connect(const std::string& address, OnConnected done) override {
    attempts.emplace_back(address, std::move(done));
  }
  Result<void> listen(const std::string&, OnAccepted) override { return {}; }
  void stop_listening() override {}
  std::unique_ptr<Timer> timer() override { return std::make_unique<FakeTimer>(*this); }
  void post(std::function<void()> action) override { plan(now_ms_, std::move(action)); }
  uint64_t random() override { return ++randoms_; }

  // Lets so much time pass, with all that is due in it.
  void advance_ms(uint64_t ms) {
    const uint64_t until = now_ms_ + ms;
    for (;;) {
      const auto next = std::ranges::min_element(due_, {}, &Due::at_ms);
      if (next == due_.end() || next->at_ms > until) break;
      const Due taken = *next;
      due_.erase(next);
      set_now(taken.at_ms);
      if (!taken.live || *taken.live == taken.number) taken.action();
    }
    set_now(until);
  }
  // The connection that was asked for last is made. Returns this host's end.
  std::shared_ptr<FakeSession> accept() {
    auto session = std::make_shared<FakeSession>();
    const OnConnected done = std::move(attempts.back().second);
    attempts.pop_back();
    done(std::shared_ptr<PeerSession>(session));
    return session;
  }
  void refuse(const std::string& why) {
    const OnConnected done = std::move(attempts.back().second);
    attempts.pop_back();
    done(fail(why));
  }

  std::vector<std::pair<std::string, OnConnected>> attempts;  // to connect, not answered yet

 private:
  struct Due {
    uint64_t at_ms;
    std::function<void()> action;
    std::shared_ptr<uint64_t> live;  // of a timer: which call of set() counts
    uint64_t number = 0;
  };
  class FakeTimer final : public Timer {
   public:
    explicit FakeTimer(FakeNetwork& network) : network_(network) {}
    ~FakeTimer() override { cancel(); }
    void set(uint64_t ms, std::function<void()> action) override {
      network_.due_.push_back({network_.now_ms_ + ms, std::move(action), live_, ++*live_});
    }
    void cancel() override { ++*live_; }

   private:
    FakeNetwork& network_;
    std::shared_ptr<uint64_t> live_ = std::make_shared<uint64_t>(0);
  };
  void plan(uint64_t at_ms, std::function<void()> action) {
    due_.push_back({at_ms, std::move(action), nullptr});
  }
  void set_now(uint64_t ms) {
    clock_.advance_ns((ms - now_ms_) * 1'000'000);
    now_ms_ = ms;
  }

  ManualClock& clock_;
  std::vector<Due> due_;
  uint64_t now_ms_ = 0;
  uint64_t randoms_ = 0;
};

class MovesTest : public ::testing::Test {
 protected:
  explicit MovesTest(MigrationOptions options = {})
      : context_{network_,
                 with_host(std::move(options)),
                 switch_.store,
                 switch_.ports,
                 switch_.gate,
                 clock_,
                 log_to(log_),
                 journal_,
                 {},
                 {},
                 1,
                 false,
                 [this] { ++pumped_; },
                 [this] { ++changed_; },
                 [](const std::string&) {},
                 {}} {
    vm_ = switch_.vm("vm7/net0", "02:00:00:00:00:07");
  }
  static MigrationOptions with_host(MigrationOptions options) {
    options.host = "host-a";
    options.peers["host-b"] = "10.0.0.2:7000";
    return options;
  }
  static MoveLog log_to(std::string& text) {
    return [&text](const std::string& line) { text += line + "\n"; };
  }
  dataplane::Frame frame(uint8_t tag) const {
    dataplane::Frame out;
    out.endpoint = vm_;
    out.bytes.assign(60, tag);
    return out;
  }
  Document document() const {
    Document out;
    out.vm = "vm7";
    out.profiles.push_back(switch_.store.endpoint(vm_)->profile);
    return out;
  }

  std::string log_;
  ManualClock clock_;
  testing::FakeSwitch switch_;
  FakeNetwork network_{clock_};
  MemoryJournal journal_;
  uint64_t pumped_ = 0, changed_ = 0;
  MoveContext context_;
  EndpointId vm_;
};

}  // namespace godwit::migration
