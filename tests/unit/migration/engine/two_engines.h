// SPDX-License-Identifier: Apache-2.0
//
// Two drivers over real loopback sockets, each with a policy store, fake ports and a fake gate:
// host-a, where vm7 is, and host-b, where it goes. Fixture of the drivers' tests.
#pragma once

#include <gtest/gtest.h>

#include <asio/io_context.hpp>
#include <asio/ip/tcp.hpp>
#include <chrono>
#include <memory>
#include <string>

#include "migration/engine/engine.h"
#include "migration/link/asio_network.h"
#include "tests/harness/fake_switch.h"

namespace godwit::migration {

class TwoEngines : public ::testing::Test {
 protected:
  TwoEngines() {
    const uint16_t base = free_port();
    a_engine_ = make("host-a", a_network_, a_, base, "host-b", free_port_b_ = free_port());
    b_engine_ = make("host-b", b_network_, b_, free_port_b_, "host-a", base);
    listening_ = b_engine_->listen().has_value() && a_engine_->listen().has_value();
    a_.vm("vm7/net0", "02:00:00:00:00:07");
    a_.vm("stay-a/net0", "02:00:00:00:00:0a");
    b_.vm("stay-b/net0", "02:00:00:00:00:0b");
    away(a_, "stay-b/net0");
    away(b_, "stay-a/net0");
    a_.rule("vm7/net0",
            "ingress priority 1 pattern eth / ipv4 / udp dst is 6666 / end actions drop / end");
    a_.rule("vm7/net0",
            "ingress priority 2 pattern eth / end actions represented_port ethdev_port_id "
            "stay-a/net0 / end");
    a_.rule("vm7/net0", "egress priority 2 pattern eth / end actions count / end");
    a_.rule("physnet1",
            "transfer pattern represented_port ethdev_port_id is vm7/net0 / eth / end actions "
            "represented_port ethdev_port_id stay-b/net0 / end");
    a_.rule("stay-a/net0",
            "ingress pattern eth / end actions represented_port ethdev_port_id vm7/net0 / end");
    a_.rule("physnet1",
            "ingress priority 7 pattern eth / end actions represented_port ethdev_port_id vm7/net0 "
            "/ end");
  }
  void away(testing::FakeSwitch& host, const std::string& name) {
    dataplane::Transaction t(host.store);
    dataplane::Profile profile;
    profile.name = name;
    ASSERT_TRUE(t.add_endpoint(profile, {dataplane::LocationKind::kUplink, {}, host.uplink}));
    t.commit();
  }
  uint16_t free_port() {
    asio::ip::tcp::acceptor probe(io_, {asio::ip::make_address("127.0.0.1"), 0});
    return probe.local_endpoint().port();
  }
  std::unique_ptr<Engine> make(const std::string& host, Network& network, testing::FakeSwitch& fake,
                               uint16_t port, const std::string& peer, uint16_t peer_port) {
    MigrationOptions options;
    options.host = host;
    options.listen = "127.0.0.1:" + std::to_string(port);
    options.peers[peer] = "127.0.0.1:" + std::to_string(peer_port);
    options.allow_pull = {peer};
    options.vhost_template = "/run/{vm}-{nic}.sock";
    options.prepare_timeout_ms = 1000;
    options.window_timeout_ms = 400;
    return std::make_unique<Engine>(network, options, fake.store, fake.ports, fake.gate, clock_,
                                    [this](const std::string& line) { log_ += line + "\n"; });
  }
  // Runs both until it holds, 5 s at most.
  template <typename Condition>
  bool until(Condition holds) {
    const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(5);
    while (!holds() && std::chrono::steady_clock::now() < end) {
      io_.restart();
      io_.run_for(std::chrono::milliseconds(2));
      a_.reclaimer.collect();
      b_.reclaimer.collect();
      a_engine_->on_gate_ready();
      b_engine_->on_gate_ready();
    }
    return holds();
  }
  void settle(int ms) {
    const auto end = std::chrono::steady_clock::now() + std::chrono::milliseconds(ms);
    until([&] { return std::chrono::steady_clock::now() >= end; });
  }
  std::string state(const std::unique_ptr<Engine>& engine) {
    const auto all = engine->status("vm7");
    return all.empty() ? "" : all.back().state;
  }
  std::string error(const std::unique_ptr<Engine>& engine) {
    const auto all = engine->status("vm7");
    return all.empty() ? "" : all.back().error;
  }
  void event(testing::FakeSwitch& host, const std::unique_ptr<Engine>& engine,
             dataplane::PortEventKind kind) {
    rings(host, engine, "vm7", kind);
  }
  void rings(testing::FakeSwitch& host, const std::unique_ptr<Engine>& engine,
             const std::string& vm, dataplane::PortEventKind kind) {
    const auto* endpoint = host.store.find(vm + "/net0");
    ASSERT_TRUE(endpoint->port.valid());
    host.ports.ports[endpoint->port.value].rings_running =
        kind == dataplane::PortEventKind::kRingsRunning;
    engine->on_port_event({kind, endpoint->port, clock_.now_ns()});
  }
  bool fence(testing::FakeSwitch& host) { return host.store.find("vm7/net0")->location.fence; }
  dataplane::LocationKind location(testing::FakeSwitch& host) {
    return host.store.find("vm7/net0")->location.kind;
  }
  dataplane::Frame frame(testing::FakeSwitch& host, uint8_t tag) {
    dataplane::Frame out;
    out.endpoint = host.store.find("vm7/net0")->id;
    out.bytes.assign(60, tag);
    return out;
  }
  std::string start() {
    auto id = a_engine_->start("vm7", "host-b");
    EXPECT_TRUE(id) << (id ? "" : id.error().message);
    return id ? *id : "";
  }
  // Starts the move, stops the VM when it is prepared, and has so many frames sent ahead.
  void hand_over(uint8_t frames) {
    start();
    ASSERT_TRUE(until([&] { return state(a_engine_) == "prepared"; })) << log_;
    event(a_, a_engine_, dataplane::PortEventKind::kRingsStopped);
    for (uint8_t i = 0; i < frames; ++i) a_.gate.redirected.push_back(frame(a_, i));
    ASSERT_TRUE(until([&] {
      return state(b_engine_) == "handed-over" && a_.gate.redirected.empty();
    })) << log_;
  }

  asio::io_context io_;
  AsioNetwork a_network_{io_}, b_network_{io_};
  SteadyClock clock_;
  testing::FakeSwitch a_, b_;
  uint16_t free_port_b_ = 0;
  bool listening_ = false;
  std::string log_;
  std::unique_ptr<Engine> a_engine_, b_engine_;
};

}  // namespace godwit::migration
