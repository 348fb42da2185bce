// SPDX-License-Identifier: Apache-2.0
//
// Two hosts whose switches are killed in the middle of a move and started again from their
// journals. Each test kills one of them in another step and expects one owner: the VM's rules by
// digest at one host, and nothing but the VM's location at the other.
#pragma once

#include <gtest/gtest.h>

#include <asio/io_context.hpp>
#include <asio/ip/tcp.hpp>
#include <chrono>
#include <memory>

#include "migration/engine/engine.h"
#include "migration/journal/memory_journal.h"
#include "migration/journal/policy_record.h"
#include "migration/link/asio_network.h"
#include "tests/harness/fake_switch.h"

namespace godwit::migration {

using dataplane::LocationKind;
using dataplane::PortEventKind;

// A network whose host can be killed. It sends nothing from then on.
class MortalNetwork final : public Network {
 public:
  explicit MortalNetwork(asio::io_context& io) : inner_(io) {}
  void kill() { *dead_ = true; }

  void connect(const std::string& address, OnConnected done) override {
    inner_.connect(address, [dead = dead_,
                             done = std::move(done)](Result<std::shared_ptr<PeerSession>> session) {
      if (*dead) return;
      if (!session) return done(fail(session.error()));
      done(std::shared_ptr<PeerSession>(std::make_shared<Mortal>(*session, dead)));
    });
  }
  Result<void> listen(const std::string& address, OnAccepted accepted) override {
    return inner_.listen(address, [dead = dead_, accepted = std::move(accepted)](
                                      std::shared_ptr<PeerSession> session) {
      if (!*dead) accepted(std::make_shared<Mortal>(std::move(session), dead));
    });
  }
  void stop_listening() override { inner_.stop_listening(); }
  std::unique_ptr<Timer> timer() override { return inner_.timer(); }
  void post(std::function<void()> action) override { inner_.post(std::move(action)); }
  uint64_t random() override { return inner_.random(); }

 private:
  class Mortal final : public PeerSession {
   public:
    Mortal(std::shared_ptr<PeerSession> inner, std::shared_ptr<bool> dead)
        : inner_(std::move(inner)), dead_(std::move(dead)) {}
    ~Mortal() override { inner_->close("gone"); }
    void start(OnMessage on_message, OnClosed on_closed) override {
      inner_->start(std::move(on_message), std::move(on_closed));
    }
    void hand_over(OnMessage on_message, OnClosed on_closed) override {
      inner_->hand_over(std::move(on_message), std::move(on_closed));
    }
    void send(const wire::Envelope& message) override {
      if (!*dead_) inner_->send(message);
    }
    void close(const std::string& reason) override { inner_->close(reason); }
    void close_when_sent() override { inner_->close_when_sent(); }
    void pause_reading(bool pause) override { inner_->pause_reading(pause); }
    size_t queued_bytes() const override { return inner_->queued_bytes(); }
    const std::string& host() const override { return inner_->host(); }
    const LinkInfo& link() const override { return inner_->link(); }

   private:
    std::shared_ptr<PeerSession> inner_;
    std::shared_ptr<bool> dead_;
  };
  AsioNetwork inner_;
  std::shared_ptr<bool> dead_ = std::make_shared<bool>(false);
};

// A switch that can be killed. Its disk and the guests' rings outlive it.
struct Host {
  std::string name;
  std::shared_ptr<MemoryDisk> disk = std::make_shared<MemoryDisk>();
  bool full = false;
  std::unique_ptr<testing::FakeSwitch> sw;
  std::unique_ptr<MemoryJournal> journal;
  std::unique_ptr<MortalNetwork> network;
  std::unique_ptr<Engine> engine;
  [[nodiscard]] bool alive() const { return engine != nullptr; }
};

class RecoveryTest : public ::testing::Test {
 protected:
  RecoveryTest() {
    a_.name = "host-a";
    b_.name = "host-b";
    ports_ = {{"host-a", free_port()}, {"host-b", free_port()}};
    start_switch(a_);
    start_switch(b_);
    a_.sw->vm("vm7/net0", "02:00:00:00:00:07");
    a_.sw->vm("stay-a/net0", "02:00:00:00:00:0a");
    a_.sw->rule("vm7/net0",
                "ingress priority 1 pattern eth / ipv4 / udp dst is 6666 / end actions drop / end");
    a_.sw->rule("vm7/net0", "egress priority 2 pattern eth / end actions count / end");
    a_.sw->rule("stay-a/net0",
                "ingress pattern eth / end actions represented_port ethdev_port_id vm7/net0 / end");
    a_.sw->rule("physnet1",
                "ingress priority 7 pattern eth / end actions represented_port ethdev_port_id "
                "vm7/net0 / end");
    keep_policy(a_);
    keep_policy(b_);
    digest_ = a_.engine->export_vm("vm7")->digest;
  }
  uint16_t free_port() {
    asio::ip::tcp::acceptor probe(io_, {asio::ip::make_address("127.0.0.1"), 0});
    return probe.local_endpoint().port();
  }
  // Stores the policy, as the control plane does when a switch has been set up.
  static void keep_policy(Host& host) {
    JournalBatch batch;
    batch.forget_policy = true;
    for (const auto* endpoint : host.sw->store.endpoints()) {
      batch.endpoints.push_back(stored_endpoint(host.sw->store, host.sw->ports, *endpoint));
      for (const auto& [id, rule] : endpoint->rules)
        batch.created.push_back(stored_rule(host.sw->store, *rule));
    }
    ASSERT_TRUE(host.journal->write(batch));
  }
  void start_switch(Host& host) {
    host.sw = std::make_unique<testing::FakeSwitch>();
    host.journal = std::make_unique<MemoryJournal>(host.disk);
    host.journal->gatekeeper = [&host](const JournalBatch&) -> Result<void> {
      if (host.full) return fail("database or disk is full");
      return {};
    };
    host.network = std::make_unique<MortalNetwork>(io_);
    MigrationOptions options;
    options.host = host.name;
    options.listen = "127.0.0.1:" + std::to_string(ports_[host.name]);
    for (const auto& [name, port] : ports_) {
      if (name != host.name) options.peers[name] = "127.0.0.1:" + std::to_string(port);
    }
    options.vhost_template = "/run/{vm}-{nic}.sock";
    options.prepare_timeout_ms = 1000;
    options.window_timeout_ms = 200;
    host.engine = std::make_unique<Engine>(
        *host.network, options, host.sw->store, host.sw->ports, host.sw->gate, clock_,
        [this, &host](const std::string& line) { log_ += host.name + ": " + line + "\n"; },
        host.journal.get());
    auto policy = host.journal->policy();
    ASSERT_TRUE(policy);
    auto restored = restore_policy(host.sw->store, host.sw->uplink, *policy);
    ASSERT_TRUE(restored) << restored.error().message;
    const auto moves = host.journal->moves();
    for (const StoredEndpoint& endpoint : policy->endpoints) {
      if (endpoint.socket.empty()) continue;
      const auto port = host.sw->ports.add_vhost(
          {endpoint.profile.name, endpoint.socket, endpoint.server, 1, 1500});
      const bool held = std::ranges::any_of(*moves, [&](const MoveRecord& m) {
        return m.vm == dataplane::vm_of(endpoint.profile.name);
      });
      ASSERT_TRUE(bind_restored(host.sw->store, endpoint.profile.name, *port, held));
    }
    host.engine->recover();
    ASSERT_TRUE(host.engine->listen());
    if (where_ == &host) rings(host, PortEventKind::kRingsRunning);  // QEMU connects again
  }
  // As kill -9 does: nothing is sent and nothing is undone.
  void kill(Host& host) {
    log_ += host.name + " is killed\n";
    host.journal->gatekeeper = [](const JournalBatch&) -> Result<void> {
      return fail("the process is gone");
    };
    host.network->kill();
    host.engine.reset();
    host.network.reset();
    host.journal.reset();
    host.sw.reset();
  }
  void restart(Host& host) {
    log_ += host.name + " starts again\n";
    start_switch(host);
  }
  void rings(Host& host, PortEventKind kind) {
    const auto* endpoint = host.sw->store.find("vm7/net0");
    if (endpoint == nullptr || !endpoint->port.valid()) return;
    host.sw->ports.ports[endpoint->port.value].rings_running = kind == PortEventKind::kRingsRunning;
    host.engine->on_port_event({kind, endpoint->port, clock_.now_ns()});
  }
  // QEMU runs the VM at this host, or pauses it if `host` is null.
  void run_at(Host* host) {
    Host* before = std::exchange(where_, host);
    if (before != nullptr && before->alive()) rings(*before, PortEventKind::kRingsStopped);
    if (host != nullptr && host->alive()) rings(*host, PortEventKind::kRingsRunning);
  }
  template <typename Condition>
  bool until(Condition holds, int ms = 6000) {
    const auto end = std::chrono::steady_clock::now() + std::chrono::milliseconds(ms);
    while (!holds() && std::chrono::steady_clock::now() < end) {
      io_.restart();
      io_.run_for(std::chrono::milliseconds(2));
      for (Host* host : {&a_, &b_}) {
        if (!host->alive()) continue;
        host->sw->reclaimer.collect();
        host->engine->on_gate_ready();
        EXPECT_LE(accepting(), 1) << "two hosts accept the VM's transmissions\n" << log_;
        // QEMU connects to a port that was made again.
        const auto* vm = host->sw->store.find("vm7/net0");
        const bool late = where_ == host && vm != nullptr && vm->port.valid() &&
                          !host->sw->ports.ports[vm->port.value].rings_running;
        if (late) rings(*host, PortEventKind::kRingsRunning);
      }
    }
    return holds();
  }
  void wait(int ms) {
    until([] { return false; }, ms);
  }
  // Returns the number of hosts that poll the VM's port while its rings run.
  int accepting() {
    int count = 0;
    for (Host* host : {&a_, &b_}) {
      const auto* vm = host->alive() ? host->sw->store.find("vm7/net0") : nullptr;
      count += vm != nullptr && vm->active && vm->port.valid() &&
               host->sw->ports.ports[vm->port.value].rings_running;
    }
    return count;
  }
  static std::string state(Host& host) {
    if (!host.alive()) return "dead";
    const auto all = host.engine->status("vm7");
    return all.empty() ? "" : all.back().state;
  }
  static bool over(Host& host) {
    const std::string now = state(host);
    return now.empty() || now == "done" || now == "aborted";
  }
  void begin() {
    auto id = a_.engine->start("vm7", "host-b");
    ASSERT_TRUE(id) << id.error().message;
    id_ = *id;
  }
  // Moves the VM until it runs at the destination, with the window open.
  void run_there() {
    begin();
    ASSERT_TRUE(until([&] { return state(a_) == "prepared"; }));
    run_at(nullptr);
    ASSERT_TRUE(until([&] { return state(b_) == "handed-over"; })) << log_;
    run_at(&b_);
    ASSERT_TRUE(until([&] { return state(b_) == "active" || state(b_) == "open"; })) << log_;
  }
  // Expects the VM, its rules and its receive rules at `host` and nowhere else.
  void expect_owner(Host& host) {
    Host& other = &host == &a_ ? b_ : a_;
    const auto* vm = host.sw->store.find("vm7/net0");
    ASSERT_NE(vm, nullptr) << log_;
    EXPECT_EQ(vm->location.kind, LocationKind::kPort) << host.name << "\n" << log_;
    EXPECT_TRUE(vm->active) << log_;
    EXPECT_TRUE(vm->guarded_by.empty()) << vm->guarded_by;
    EXPECT_EQ(host.engine->export_vm("vm7")->digest, digest_) << log_;
    if (const auto* left = other.sw->store.find("vm7/net0")) {
      EXPECT_EQ(left->location.kind, LocationKind::kUplink) << other.name << "\n" << log_;
      EXPECT_FALSE(left->active || left->port.valid()) << other.name << "\n" << log_;
      EXPECT_TRUE(left->inside.empty()) << other.name << "\n" << log_;
    }
    EXPECT_TRUE(host.disk->moves.empty() && other.disk->moves.empty()) << log_;
  }
  // Also expects this after both hosts were killed once more, at rest.
  void expect_owner_for_good(Host& host) {
    expect_owner(host);
    for (Host* one : {&a_, &b_}) {
      kill(*one);
      restart(*one);
    }
    wait(20);
    expect_owner(host);
  }

  asio::io_context io_;
  SteadyClock clock_;
  std::string log_, id_, digest_;
  std::map<std::string, uint16_t> ports_;
  Host a_, b_;
  Host* where_ = &a_;
};

}  // namespace godwit::migration
