// SPDX-License-Identifier: Apache-2.0
//
// Two drivers over real loopback sockets, each with a policy store, fake ports and a fake gate: the whole move,
// by hand and between peers, and every way in which it must leave both sides as they were.
#include "migration/driver.h"

#include <gtest/gtest.h>

#include <asio/connect.hpp>
#include <asio/io_context.hpp>
#include <asio/ip/tcp.hpp>
#include <asio/write.hpp>
#include <chrono>
#include <cstring>
#include <random>

#include "migration/announce.h"
#include "migration/asio_network.h"
#include "migration/rewrite.h"
#include "tests/support/fake_switch.h"

namespace godwit::migration {
namespace {

using dataplane::LocationKind;
using dataplane::PortEventKind;

class DriverTest : public ::testing::Test {
 protected:
  DriverTest() {
    const uint16_t base = free_port();
    a_driver_ = make("host-a", a_network_, a_, base, "host-b", free_port_b_ = free_port());
    b_driver_ = make("host-b", b_network_, b_, free_port_b_, "host-a", base);
    listening_ = b_driver_->listen().has_value() && a_driver_->listen().has_value();
    a_.vm("vm7/net0", "02:00:00:00:00:07");
    a_.vm("stay-a/net0", "02:00:00:00:00:0a");
    b_.vm("stay-b/net0", "02:00:00:00:00:0b");
    away(a_, "stay-b/net0");
    away(b_, "stay-a/net0");
    a_.rule("vm7/net0", "ingress priority 1 pattern eth / ipv4 / udp dst is 6666 / end actions drop / end");
    a_.rule("vm7/net0", "ingress priority 2 pattern eth / end actions represented_port ethdev_port_id stay-a/net0 / end");
    a_.rule("vm7/net0", "egress priority 2 pattern eth / end actions count / end");
    a_.rule("physnet1", "transfer pattern represented_port ethdev_port_id is vm7/net0 / eth / end actions represented_port ethdev_port_id stay-b/net0 / end");
    a_.rule("stay-a/net0", "ingress pattern eth / end actions represented_port ethdev_port_id vm7/net0 / end");
    a_.rule("physnet1", "ingress priority 7 pattern eth / end actions represented_port ethdev_port_id vm7/net0 / end");
  }
  void away(support::FakeSwitch& host, const std::string& name) {
    dataplane::Transaction t(host.store);
    dataplane::Profile profile;
    profile.name = name;
    ASSERT_TRUE(t.add_endpoint(profile, {LocationKind::kUplink, {}, host.uplink}));
    t.commit();
  }
  uint16_t free_port() {
    asio::ip::tcp::acceptor probe(io_, {asio::ip::make_address("127.0.0.1"), 0});
    return probe.local_endpoint().port();
  }
  std::unique_ptr<Driver> make(const std::string& host, Network& network, support::FakeSwitch& fake, uint16_t port, const std::string& peer,
                               uint16_t peer_port) {
    DriverOptions options;
    options.host = host;
    options.listen = "127.0.0.1:" + std::to_string(port);
    options.peers[peer] = "127.0.0.1:" + std::to_string(peer_port);
    options.vhost_template = "/run/{vm}-{nic}.sock";
    options.prepare_timeout_ms = 1000;
    options.window_timeout_ms = 200;
    return std::make_unique<Driver>(network, options, fake.store, fake.ports, fake.gate, clock_, [this](const std::string& line) { log_ += line + "\n"; });
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
      a_driver_->on_gate_ready();
      b_driver_->on_gate_ready();
    }
    return holds();
  }
  void settle(int ms) {
    const auto end = std::chrono::steady_clock::now() + std::chrono::milliseconds(ms);
    until([&] { return std::chrono::steady_clock::now() >= end; });
  }
  std::string state(const std::unique_ptr<Driver>& driver) {
    const auto all = driver->status("vm7");
    return all.empty() ? "" : all.back().state;
  }
  std::string error(const std::unique_ptr<Driver>& driver) {
    const auto all = driver->status("vm7");
    return all.empty() ? "" : all.back().error;
  }
  void event(support::FakeSwitch& host, const std::unique_ptr<Driver>& driver, PortEventKind kind) {
    const auto* endpoint = host.store.find("vm7/net0");
    ASSERT_TRUE(endpoint->port.valid());
    host.ports.ports[endpoint->port.value].rings_running = kind == PortEventKind::kRingsRunning;
    driver->on_port_event({kind, endpoint->port, clock_.now_ns()});
  }
  bool fence(support::FakeSwitch& host) { return host.store.find("vm7/net0")->location.fence; }
  LocationKind location(support::FakeSwitch& host) { return host.store.find("vm7/net0")->location.kind; }
  dataplane::Frame frame(support::FakeSwitch& host, uint8_t tag) {
    dataplane::Frame out;
    out.endpoint = host.store.find("vm7/net0")->id;
    out.bytes.assign(60, tag);
    return out;
  }
  std::string start() {
    auto id = a_driver_->start("vm7", "host-b");
    EXPECT_TRUE(id) << (id ? "" : id.error().message);
    return id ? *id : "";
  }

  asio::io_context io_;
  AsioNetwork a_network_{io_}, b_network_{io_};
  SteadyClock clock_;
  support::FakeSwitch a_, b_;
  uint16_t free_port_b_ = 0;
  bool listening_ = false;
  std::string log_;
  std::unique_ptr<Driver> a_driver_, b_driver_;
};

TEST_F(DriverTest, ByHandTheDigestSurvivesRewriteAndImport) {
  auto document = a_driver_->export_vm("vm7");
  ASSERT_TRUE(document);
  EXPECT_EQ(document->rules.size(), 4u);
  EXPECT_EQ(document->uplink_rules.size(), 1u);
  auto rewritten = a_driver_->rewrite_vm("vm7");
  ASSERT_TRUE(rewritten) << rewritten.error().message;
  EXPECT_EQ(rewritten->transmit_rules_removed, 4u);
  EXPECT_EQ(rewritten->receive_rules_rewritten, 2u);
  EXPECT_EQ(location(a_), LocationKind::kUplink);
  auto imported = b_driver_->import_vm(*document, {});
  ASSERT_TRUE(imported) << imported.error().message;
  EXPECT_EQ(location(b_), LocationKind::kPort);
  auto again = b_driver_->export_vm("vm7");
  ASSERT_TRUE(again);
  EXPECT_EQ(again->digest, document->digest);
  EXPECT_EQ(again->epoch.counter, document->epoch.counter + 1);
  EXPECT_FALSE(b_driver_->import_vm(*document, {})) << "it is local there already";
  ASSERT_TRUE(b_driver_->rewrite_vm("vm7"));
  auto stale = b_driver_->import_vm(*document, {});
  ASSERT_FALSE(stale);
  EXPECT_NE(stale.error().message.find("epoch"), std::string::npos);
}

TEST_F(DriverTest, AMoveEndsWithTheSameDigestThereAndOnlyTheLocationLeftHere) {
  ASSERT_TRUE(listening_);
  const std::string digest = a_driver_->export_vm("vm7")->digest;
  start();
  ASSERT_TRUE(until([&] { return state(a_driver_) == "prepared"; })) << log_;
  EXPECT_EQ(location(b_), LocationKind::kUplink) << "nothing is published before the VM runs there";
  EXPECT_FALSE(b_.store.find("vm7/net0")->active);
  event(a_, a_driver_, PortEventKind::kRingsStopped);
  EXPECT_EQ(location(a_), LocationKind::kRedirect) << "what is for it goes ahead";
  ASSERT_TRUE(until([&] { return state(b_driver_) == "handed-over"; })) << log_;
  EXPECT_FALSE(b_.store.find("vm7/net0")->active);
  event(b_, b_driver_, PortEventKind::kRingsRunning);
  EXPECT_EQ(location(b_), LocationKind::kParked) << "direct arrivals wait for the backlog";
  EXPECT_TRUE(b_.store.find("vm7/net0")->active);
  EXPECT_FALSE(b_.gate.emitted.empty()) << "announced";
  for (uint8_t i = 0; i < 100; ++i) a_.gate.redirected.push_back(frame(a_, i));
  ASSERT_TRUE(until([&] { return b_.gate.injected.size() == 100 && location(b_) == LocationKind::kPort; })) << log_;
  for (uint8_t i = 0; i < 100; ++i) EXPECT_EQ(b_.gate.injected[i].bytes[0], i);
  EXPECT_EQ(location(a_), LocationKind::kRedirect);
  a_.gate.announcements.push_back(b_.gate.emitted.front());  // the fabric brings it to the source's uplink
  ASSERT_TRUE(until([&] { return state(a_driver_) == "done" && state(b_driver_) == "done"; })) << log_;
  EXPECT_EQ(b_driver_->export_vm("vm7")->digest, digest);
  EXPECT_EQ(location(a_), LocationKind::kUplink);
  EXPECT_FALSE(a_.store.find("vm7/net0")->port.valid());
  EXPECT_TRUE(a_.store.rules_inside(a_.store.find("vm7/net0")->id).empty());
  EXPECT_EQ(a_.store.receive_rules(a_.store.find("vm7/net0")->id).size(), 1u) << "the uplink's own is gone, stay-a's stays";
  EXPECT_EQ(b_.store.receive_rules(b_.store.find("vm7/net0")->id).size(), 1u) << "the uplink rule travelled";
}

TEST_F(DriverTest, WhatIsForTheVmInItsPauseIsThereWhenItRunsAndComesOnce) {
  start();
  ASSERT_TRUE(until([&] { return state(a_driver_) == "prepared"; }));
  event(a_, a_driver_, PortEventKind::kRingsStopped);
  for (uint8_t i = 0; i < 50; ++i) a_.gate.redirected.push_back(frame(a_, i));
  ASSERT_TRUE(until([&] { return state(b_driver_) == "handed-over"; }));
  settle(30);
  EXPECT_TRUE(b_.gate.injected.empty()) << "it does not run there yet";
  event(b_, b_driver_, PortEventKind::kRingsRunning);
  EXPECT_EQ(b_.gate.injected.size(), 50u) << "delivered in the same turn, with no round trip";
  for (uint8_t i = 50; i < 60; ++i) a_.gate.redirected.push_back(frame(a_, i));
  ASSERT_TRUE(until([&] { return state(a_driver_) == "done" && state(b_driver_) == "done"; })) << log_;
  ASSERT_EQ(b_.gate.injected.size(), 60u);
  for (uint8_t i = 0; i < 60; ++i) EXPECT_EQ(b_.gate.injected[i].bytes[0], i);
  EXPECT_TRUE(a_.gate.injected.empty());
  EXPECT_EQ(a_driver_->status("vm7").back().redirected, 60u);
  EXPECT_EQ(b_driver_->status("vm7").back().redirected, 60u);
}

TEST_F(DriverTest, WhatWasSentAheadComesBackInOrderWhenTheVmGoesOnAtTheSource) {
  start();
  ASSERT_TRUE(until([&] { return state(a_driver_) == "prepared"; }));
  event(a_, a_driver_, PortEventKind::kRingsStopped);
  for (uint8_t i = 0; i < 50; ++i) a_.gate.redirected.push_back(frame(a_, i));
  ASSERT_TRUE(until([&] { return state(b_driver_) == "handed-over" && a_.gate.redirected.empty(); }));
  a_.gate.inject_room = 20;  // the worker's ring is short: the rest follows, and what comes waits for it
  event(a_, a_driver_, PortEventKind::kRingsRunning);
  a_.gate.redirected.push_back(frame(a_, 50));  // a worker had not seen the new location yet
  ASSERT_TRUE(until([&] { return a_.gate.injected.size() == 20; })) << log_;
  settle(20);
  EXPECT_EQ(location(a_), LocationKind::kParked) << "newer frames wait for the older";
  EXPECT_TRUE(a_.store.find("vm7/net0")->active);
  a_.gate.inject_room = SIZE_MAX;
  ASSERT_TRUE(until([&] { return location(a_) == LocationKind::kPort; })) << log_;
  ASSERT_EQ(a_.gate.injected.size(), 51u);
  for (uint8_t i = 0; i <= 50; ++i) EXPECT_EQ(a_.gate.injected[i].bytes[0], i);
  // It stops again, and this time it moves: nothing of the first attempt is delivered there.
  event(a_, a_driver_, PortEventKind::kRingsStopped);
  a_.gate.redirected.push_back(frame(a_, 77));
  ASSERT_TRUE(until([&] { return state(b_driver_) == "handed-over" && a_.gate.redirected.empty(); }));
  settle(20);
  event(b_, b_driver_, PortEventKind::kRingsRunning);
  ASSERT_TRUE(until([&] { return state(a_driver_) == "done"; })) << log_;
  ASSERT_EQ(b_.gate.injected.size(), 1u);
  EXPECT_EQ(b_.gate.injected[0].bytes[0], 77);
}

TEST_F(DriverTest, CancelledInThePauseTheLastFramesOfTheWorkersComeBackToo) {
  start();
  ASSERT_TRUE(until([&] { return state(a_driver_) == "prepared"; }));
  event(a_, a_driver_, PortEventKind::kRingsStopped);
  for (uint8_t i = 0; i < 10; ++i) a_.gate.redirected.push_back(frame(a_, i));
  ASSERT_TRUE(until([&] { return state(b_driver_) == "handed-over" && a_.gate.redirected.empty(); }));
  ASSERT_TRUE(a_driver_->cancel("vm7"));
  for (int turns = 0; turns < 1000 && state(a_driver_) != "aborted"; ++turns) {
    io_.restart();
    io_.run_for(std::chrono::milliseconds(2));
  }
  ASSERT_EQ(state(a_driver_), "aborted") << log_;
  a_.gate.redirected.push_back(frame(a_, 10));  // by the old location: the grace period is not over
  ASSERT_TRUE(until([&] { return location(a_) == LocationKind::kPort; })) << log_;
  ASSERT_EQ(a_.gate.injected.size(), 11u);
  for (size_t i = 0; i <= 10; ++i) EXPECT_EQ(a_.gate.injected[i].bytes[0], i);
}

TEST_F(DriverTest, AMoveThatIsStartedWhileTheLastOnesFramesGoBackWaitsAndHoldsNobodyBack) {
  for (const bool pulled : {false, true}) {
    SCOPED_TRACE(pulled ? "pulled" : "started");
    start();
    ASSERT_TRUE(until([&] { return state(a_driver_) == "prepared"; })) << log_;
    event(a_, a_driver_, PortEventKind::kRingsStopped);
    for (uint8_t i = 0; i < 10; ++i) a_.gate.redirected.push_back(frame(a_, i));
    ASSERT_TRUE(until([&] { return state(b_driver_) == "handed-over" && a_.gate.redirected.empty(); })) << log_;
    event(a_, a_driver_, PortEventKind::kRingsRunning);
    a_.gate.inject_room = 0;
    ASSERT_TRUE(a_driver_->cancel("vm7"));
    ASSERT_TRUE(until([&] { return state(a_driver_) == "aborted" && state(b_driver_) == "aborted"; })) << log_;
    EXPECT_TRUE(a_driver_->moving("vm7")) << "what was kept goes back";
    EXPECT_FALSE(a_driver_->rewrite_vm("vm7"));
    if (pulled) {
      ASSERT_TRUE(b_driver_->pull("vm7", "host-a"));
      ASSERT_TRUE(until([&] { return state(a_driver_) == "queued"; })) << log_;
    } else {
      start();
      EXPECT_EQ(state(a_driver_), "queued");
    }
    EXPECT_FALSE(a_driver_->start("vm7", "host-b")) << "one is enough";
    ASSERT_TRUE(a_driver_->start("stay-a", "host-b"));
    ASSERT_TRUE(until([&] { return a_driver_->status("stay-a").back().state == "prepared"; })) << log_;
    EXPECT_EQ(state(a_driver_), "queued");
    ASSERT_TRUE(a_driver_->cancel("stay-a"));
    a_.gate.inject_room = SIZE_MAX;
    // By itself, also when no worker and no port says anything.
    for (int turns = 0; turns < 1000 && state(a_driver_) != "prepared"; ++turns) {
      io_.restart();
      io_.run_for(std::chrono::milliseconds(2));
    }
    ASSERT_EQ(state(a_driver_), "prepared") << log_;
    EXPECT_EQ(location(a_), LocationKind::kPort);
    ASSERT_EQ(a_.gate.injected.size(), 10u);
    a_.gate.injected.clear();
    ASSERT_TRUE(a_driver_->cancel("vm7"));
    ASSERT_TRUE(until([&] { return state(b_driver_) == "aborted" && !a_driver_->moving("vm7"); })) << log_;
  }
}

TEST_F(DriverTest, AMoveThatWaitsForFramesToGoBackMayBeGivenUpOrBePartOfAnEvacuation) {
  start();
  ASSERT_TRUE(until([&] { return state(a_driver_) == "prepared"; })) << log_;
  event(a_, a_driver_, PortEventKind::kRingsStopped);
  a_.gate.redirected.push_back(frame(a_, 1));
  ASSERT_TRUE(until([&] { return state(b_driver_) == "handed-over" && a_.gate.redirected.empty(); })) << log_;
  event(a_, a_driver_, PortEventKind::kRingsRunning);
  a_.gate.inject_room = 0;
  ASSERT_TRUE(a_driver_->cancel("vm7"));
  ASSERT_TRUE(until([&] { return state(a_driver_) == "aborted"; })) << log_;
  const std::string id = start();
  ASSERT_TRUE(a_driver_->cancel("vm7"));
  EXPECT_EQ(a_driver_->show(id)->state, "aborted");
  auto all = a_driver_->start_all("host-b");
  ASSERT_TRUE(all) << all.error().message;
  EXPECT_EQ(all->started.size(), 2u) << "vm7 and stay-a";
  EXPECT_EQ(a_driver_->evacuations().back().queued, 1u);
  a_.gate.inject_room = SIZE_MAX;
  ASSERT_TRUE(until([&] { return a_driver_->evacuations().back().prepared == 2; })) << log_;
  EXPECT_EQ(a_.gate.injected.size(), 1u);
}

class FloodTest : public DriverTest, public ::testing::WithParamInterface<int> {};

// The VM runs there at once, while frames are on their way, or after a while.
TEST_P(FloodTest, InThePauseIsKeptUpToALimitAndComesOnceAndInOrder) {
  start();
  ASSERT_TRUE(until([&] { return state(a_driver_) == "prepared"; }));
  event(a_, a_driver_, PortEventKind::kRingsStopped);
  constexpr size_t kFrames = 5000;
  for (size_t i = 0; i < kFrames; ++i) {
    a_.gate.redirected.push_back(frame(a_, 0));
    std::memcpy(a_.gate.redirected.back().bytes.data(), &i, sizeof i);
  }
  ASSERT_TRUE(until([&] { return state(b_driver_) == "handed-over"; }));
  if (GetParam() > 0) {
    settle(GetParam());
    EXPECT_EQ(location(a_), LocationKind::kParked) << "more waits in the workers' parks";
  }
  event(b_, b_driver_, PortEventKind::kRingsRunning);
  ASSERT_TRUE(until([&] { return state(a_driver_) == "done"; })) << log_;
  ASSERT_EQ(b_.gate.injected.size(), kFrames);
  for (size_t i = 0; i < kFrames; ++i) EXPECT_EQ(std::memcmp(b_.gate.injected[i].bytes.data(), &i, sizeof i), 0) << i;
}
INSTANTIATE_TEST_SUITE_P(TheVmRunsAfterMs, FloodTest, ::testing::Values(0, 500));

TEST_F(DriverTest, WithoutProofNothingWaitsBehindTheFenceForLong) {
  start();
  ASSERT_TRUE(until([&] { return state(a_driver_) == "prepared"; }));
  event(a_, a_driver_, PortEventKind::kRingsStopped);
  ASSERT_TRUE(until([&] { return state(b_driver_) == "handed-over"; }));
  event(b_, b_driver_, PortEventKind::kRingsRunning);
  ASSERT_TRUE(until([&] { return location(b_) == LocationKind::kPort; }));
  settle(20);
  EXPECT_TRUE(fence(b_)) << "nothing waits";
  b_.gate.waiting = 1;
  const uint64_t since = clock_.now_ns();
  ASSERT_TRUE(until([&] { return !fence(b_); }));
  EXPECT_GE(clock_.now_ns() - since, 40'000'000u);
}

TEST_F(DriverTest, WithoutProofTheWindowEndsByTime) {
  start();
  ASSERT_TRUE(until([&] { return state(a_driver_) == "prepared"; }));
  event(a_, a_driver_, PortEventKind::kRingsStopped);
  ASSERT_TRUE(until([&] { return state(b_driver_) == "handed-over"; }));
  event(b_, b_driver_, PortEventKind::kRingsRunning);
  EXPECT_TRUE(until([&] { return state(a_driver_) == "done" && state(b_driver_) == "done"; })) << log_;
}

TEST_F(DriverTest, TheProofIsThatAProbeOfOurUplinkHasReachedTheVmsNewPlace) {
  start();
  ASSERT_TRUE(until([&] { return state(a_driver_) == "prepared"; }));
  event(a_, a_driver_, PortEventKind::kRingsStopped);
  ASSERT_TRUE(until([&] { return state(b_driver_) == "handed-over"; }));
  EXPECT_TRUE(a_.gate.emitted.empty());
  event(b_, b_driver_, PortEventKind::kRingsRunning);
  const dataplane::Frame announcement = b_.gate.emitted.front();
  a_.gate.announcements.push_back(announcement);  // sooner than `active`
  ASSERT_TRUE(until([&] { return a_.gate.emitted.size() >= 3; })) << "asks again and again";
  ASSERT_TRUE(until([&] { return location(b_) == LocationKind::kPort; }));
  EXPECT_TRUE(fence(b_)) << "the fabric may not have learned yet, and then older frames are on their way from the source";
  EXPECT_EQ(state(a_driver_), "redirecting") << "a broadcast came through, but whether the fabric has learned is not known";
  const dataplane::Frame probe = a_.gate.emitted.back();
  const auto asked = read_fabric_message(probe.bytes);
  ASSERT_TRUE(asked && asked->kind == FabricMessage::Kind::kProbe);
  EXPECT_EQ(probe.endpoint, a_.uplink);
  const size_t before = b_.gate.emitted.size();
  dataplane::Frame of_another = probe;
  of_another.bytes[50] ^= 1;  // the nonce
  b_.gate.announcements.push_back(of_another);
  b_driver_->on_gate_ready();
  EXPECT_EQ(b_.gate.emitted.size(), before) << "a probe of another move";
  b_.gate.announcements.push_back(probe);
  b_driver_->on_gate_ready();
  ASSERT_EQ(b_.gate.emitted.size(), before + 1);
  const dataplane::Frame echo = b_.gate.emitted.back();
  a_.gate.announcements.push_back(echo);
  a_driver_->on_gate_ready();
  EXPECT_EQ(state(a_driver_), "holding");
  const size_t asked_until_then = a_.gate.emitted.size();
  ASSERT_TRUE(until([&] { return state(a_driver_) == "window"; })) << log_;
  EXPECT_FALSE(fence(b_));
  EXPECT_EQ(a_driver_->status("vm7").back().steps.end()[-3].on, "proof");
  settle(50);
  EXPECT_EQ(a_.gate.emitted.size(), asked_until_then) << "no probes after the proof";
}

TEST_F(DriverTest, CancelledBeforeTheHandoverBothSidesAreAsBefore) {
  const std::string a = a_.picture(), b = b_.picture();
  start();
  ASSERT_TRUE(until([&] { return state(a_driver_) == "prepared"; }));
  EXPECT_NE(b_.picture(), b);
  ASSERT_TRUE(a_driver_->cancel("vm7"));
  ASSERT_TRUE(until([&] { return state(b_driver_) == "aborted"; })) << log_;
  EXPECT_EQ(a_.picture(), a);
  EXPECT_EQ(b_.picture(), b);
}

TEST_F(DriverTest, CancelledAfterTheHandoverTheSourceAsksForItBack) {
  const std::string a = a_.picture(), b = b_.picture();
  start();
  ASSERT_TRUE(until([&] { return state(a_driver_) == "prepared"; }));
  event(a_, a_driver_, PortEventKind::kRingsStopped);
  ASSERT_TRUE(until([&] { return state(b_driver_) == "handed-over"; }));
  ASSERT_TRUE(a_driver_->cancel("vm7"));
  ASSERT_TRUE(until([&] { return state(a_driver_) == "aborted" && state(b_driver_) == "aborted"; })) << log_;
  EXPECT_EQ(a_.picture(), a);
  EXPECT_EQ(b_.picture(), b);
}

TEST_F(DriverTest, AVmThatGoesOnAtTheSourceIsThawedAndMayStillMove) {
  start();
  ASSERT_TRUE(until([&] { return state(a_driver_) == "prepared"; }));
  event(a_, a_driver_, PortEventKind::kRingsStopped);
  ASSERT_TRUE(until([&] { return state(b_driver_) == "handed-over"; }));
  event(a_, a_driver_, PortEventKind::kRingsRunning);
  ASSERT_TRUE(until([&] { return state(a_driver_) == "prepared" && state(b_driver_) == "prepared"; })) << log_;
  EXPECT_EQ(location(a_), LocationKind::kPort);
  EXPECT_TRUE(a_.store.find("vm7/net0")->active);
  event(a_, a_driver_, PortEventKind::kRingsStopped);
  ASSERT_TRUE(until([&] { return state(b_driver_) == "handed-over"; }));
  event(b_, b_driver_, PortEventKind::kRingsRunning);
  EXPECT_TRUE(until([&] { return state(a_driver_) == "done"; })) << log_;
}

TEST_F(DriverTest, ALostConnectionBeforeTheHandoverAbortsBothSides) {
  const std::string a = a_.picture(), b = b_.picture();
  start();
  ASSERT_TRUE(until([&] { return state(a_driver_) == "prepared"; }));
  b_driver_->stop();
  ASSERT_TRUE(until([&] { return state(a_driver_) == "aborted"; })) << log_;
  EXPECT_EQ(a_.picture(), a);
  EXPECT_EQ(b_.picture(), b);
}

TEST_F(DriverTest, RefusalsGiveEveryReasonAtOnceAndChangeNothing) {
  b_.vm("vm7/net0", "02:00:00:00:00:77");
  b_.rule("vm7/net0", "ingress pattern eth / end actions drop / end");
  dataplane::Profile second;
  second.name = "physnet2";
  second.kind = dataplane::EndpointKind::kUplink;
  a_.endpoint(second, PortId{99});
  a_.rule("vm7/net0", "ingress pattern eth / end actions represented_port ethdev_port_id physnet2 / end");
  const std::string b = b_.picture();
  auto two_uplinks = a_driver_->start("vm7", "host-b");
  ASSERT_FALSE(two_uplinks) << "which uplink leads there is not configured";
  auto document = a_driver_->export_vm("vm7");
  auto refused = b_driver_->import_vm(*document, {});
  ASSERT_FALSE(refused);
  EXPECT_NE(refused.error().message.find("local here already"), std::string::npos);
  EXPECT_NE(refused.error().message.find("has rules of its own"), std::string::npos);
  EXPECT_NE(refused.error().message.find("physnet2"), std::string::npos);
  EXPECT_EQ(b_.picture(), b);
}

TEST_F(DriverTest, VirtioFeaturesThatTheOtherSwitchDoesNotOfferAreRefusedBeforeAnythingMoves) {
  a_.ports.ports[a_.store.find("vm7/net0")->port.value].features = 0x1'0000'8000 | 1u << 26;  // and QEMU copies
  b_.ports.offered_features = 0x1'0000'0000;
  const std::string a = a_.picture(), b = b_.picture();
  start();
  ASSERT_TRUE(until([&] { return state(a_driver_) == "aborted"; })) << log_;
  EXPECT_NE(error(a_driver_).find("0x8000 of 0x100008000"), std::string::npos) << error(a_driver_);
  EXPECT_EQ(a_.picture(), a);
  EXPECT_EQ(b_.picture(), b);
  b_.ports.offered_features = 0x1'0000'8000;
  start();
  EXPECT_TRUE(until([&] { return state(a_driver_) == "prepared"; })) << log_;
}

TEST_F(DriverTest, ARefusedOfferLeavesTheSourceAsItWas) {
  b_.vm("vm7/net0", "02:00:00:00:00:77");
  const std::string a = a_.picture(), b = b_.picture();
  start();
  ASSERT_TRUE(until([&] { return state(a_driver_) == "aborted"; })) << log_;
  EXPECT_NE(error(a_driver_).find("local here already"), std::string::npos) << error(a_driver_);
  EXPECT_EQ(a_.picture(), a);
  EXPECT_EQ(b_.picture(), b);
}

TEST_F(DriverTest, RuleChangesBeforeTheHandoverTravelAndLaterOnesAreRefused) {
  start();
  ASSERT_TRUE(until([&] { return state(a_driver_) == "prepared"; }));
  const RuleId added = a_.rule("vm7/net0", "ingress priority 1 pattern eth / ipv4 / tcp / end actions drop / end");
  {
    dataplane::Transaction t(a_.store);
    ASSERT_TRUE(t.destroy_rule(a_.store.find("vm7/net0")->id, RuleId{0}));
    t.commit();
  }
  settle(30);
  const std::string digest = a_driver_->export_vm("vm7")->digest;
  event(a_, a_driver_, PortEventKind::kRingsStopped);
  {
    dataplane::Transaction t(a_.store);
    auto refused = t.create_rule(a_.store.find("vm7/net0")->id, *dataplane::parse_rule("ingress pattern eth / end actions drop / end"));
    ASSERT_FALSE(refused);
    EXPECT_NE(refused.error().message.find("host-b"), std::string::npos);
  }
  ASSERT_TRUE(until([&] { return state(b_driver_) == "handed-over"; })) << log_;
  event(b_, b_driver_, PortEventKind::kRingsRunning);
  ASSERT_TRUE(until([&] { return state(a_driver_) == "done"; })) << log_;
  EXPECT_EQ(b_driver_->export_vm("vm7")->digest, digest);
  EXPECT_NE(b_.store.rule(b_.store.find("vm7/net0")->id, added), nullptr);
}

TEST_F(DriverTest, WhatIsForAVmThatHasMovedOnIsCountedWhenItsSessionIsGone) {
  start();
  ASSERT_TRUE(until([&] { return state(a_driver_) == "prepared"; }));
  event(a_, a_driver_, PortEventKind::kRingsStopped);
  ASSERT_TRUE(until([&] { return state(b_driver_) == "handed-over"; })) << log_;
  event(b_, b_driver_, PortEventKind::kRingsRunning);
  ASSERT_TRUE(until([&] { return state(a_driver_) == "redirecting"; })) << log_;
  b_driver_->stop();
  ASSERT_TRUE(until([&] { return state(a_driver_) == "done"; })) << log_;
  for (uint8_t i = 0; i < 3; ++i) a_.gate.redirected.push_back(frame(a_, i));  // on their way here when it ended
  ASSERT_TRUE(until([&] { return a_.gate.redirected.empty(); }));
  EXPECT_EQ(a_.gate.drops, (std::map<dataplane::Drop, uint64_t>{{dataplane::Drop::k_redirect_closed, 3}}));
}

std::string to_vm7(int priority) {
  return "ingress priority " + std::to_string(priority) + " pattern eth / end actions represented_port ethdev_port_id vm7/net0 / end";
}

TEST_F(DriverTest, UplinkRulesThatLeadToTheVmTravelAlsoWhenTheyAreMadeOrGoWhileItMoves) {
  const auto destroy = [&](RuleId id) {
    dataplane::Transaction t(a_.store);
    auto gone = t.destroy_rule(a_.uplink, id);
    t.commit();
    return gone;
  };
  away(b_, "vm7/net0");
  b_.rule("physnet1", to_vm7(20));  // that host's own already, and so are they later
  b_.rule("physnet1", to_vm7(21));
  b_.rule("physnet1", to_vm7(22));
  const RuleId first = a_.store.uplink_rules_to({&a_.store.find("vm7/net0")->id, 1}).front()->id;
  start();
  const RuleId early = a_.rule("physnet1", to_vm7(8));  // before the offer
  a_.rule("physnet1", to_vm7(9));
  a_.rule("physnet1", to_vm7(20));
  ASSERT_TRUE(until([&] { return state(a_driver_) == "prepared"; })) << log_;
  ASSERT_TRUE(destroy(first));
  ASSERT_TRUE(destroy(early));
  a_.rule("physnet1", to_vm7(10));
  const RuleId twice = a_.rule("physnet1", to_vm7(11));
  a_.rule("physnet1", to_vm7(11));
  a_.rule("physnet1", to_vm7(21));
  ASSERT_TRUE(destroy(a_.rule("physnet1", to_vm7(22))));
  ASSERT_TRUE(destroy(a_.rule("physnet1", to_vm7(12))));
  ASSERT_TRUE(destroy(twice));
  const RuleId both = a_.rule("physnet1", "ingress priority 13 pattern eth / end actions represented_port ethdev_port_id vm7/net0 / represented_port ethdev_port_id stay-a/net0 / end");
  a_.rule("stay-a/net0", "transfer priority 14 pattern represented_port ethdev_port_id is physnet1 / eth / end actions represented_port ethdev_port_id vm7/net0 / end");
  settle(30);
  event(a_, a_driver_, PortEventKind::kRingsStopped);
  const RuleId guarded = a_.store.uplink_rules_to({&a_.store.find("vm7/net0")->id, 1}).front()->id;
  {
    dataplane::Transaction t(a_.store);
    auto refused = t.create_rule(a_.uplink, *dataplane::parse_rule(to_vm7(15)));
    ASSERT_FALSE(refused);
    EXPECT_NE(refused.error().message.find("host-b"), std::string::npos) << refused.error().message;
    EXPECT_FALSE(t.destroy_rule(a_.uplink, guarded));
  }
  ASSERT_TRUE(until([&] { return state(b_driver_) == "handed-over"; })) << log_;
  event(b_, b_driver_, PortEventKind::kRingsRunning);
  ASSERT_TRUE(until([&] { return state(a_driver_) == "done"; })) << log_;
  std::vector<uint32_t> there;
  for (const auto* rule : b_.store.uplink_rules_to({&b_.store.find("vm7/net0")->id, 1})) there.push_back(rule->rule.attributes.priority);
  std::ranges::sort(there);
  EXPECT_EQ(there, (std::vector<uint32_t>{9, 10, 11, 14, 20, 21, 22}));
  EXPECT_TRUE(a_.store.uplink_rules_to({&a_.store.find("vm7/net0")->id, 1}).empty());
  EXPECT_NE(a_.store.rule(a_.uplink, both), nullptr) << "leads to a VM that stays";
  a_.rule("physnet1", to_vm7(16));  // the move is over
}

TEST_F(DriverTest, AnUplinkRuleThatTheDestinationCannotFollowCancelsTheMove) {
  const std::string b = b_.picture();
  start();
  ASSERT_TRUE(until([&] { return state(a_driver_) == "prepared"; }));
  dataplane::Profile second;
  second.name = "physnet2";
  second.kind = dataplane::EndpointKind::kUplink;
  a_.endpoint(second, PortId{99});
  a_.rule("physnet2", to_vm7(1));
  ASSERT_TRUE(until([&] { return state(a_driver_) == "aborted" && state(b_driver_) == "aborted"; })) << log_;
  EXPECT_NE(error(a_driver_).find("of physnet2: it is not in the table of an uplink that is here"), std::string::npos) << error(a_driver_);
  EXPECT_EQ(b_.picture(), b);
}

TEST_F(DriverTest, UplinkRulesOfAPeerReachNoOthersTables) {
  const auto document = a_driver_->export_vm("vm7");
  const std::string b = b_.picture();
  const size_t slots = b_.counters.in_use();
  const StagedImport::Bindings bindings{{"vm7/net0", {"/run/x.sock", PortId{}}}};
  const std::pair<DocumentRule, const char*> bad[] = {
      {{"stay-b/net0", 90, to_vm7(1)}, "not in the table of an uplink"},
      {{"physnet2", 91, to_vm7(1)}, "not in the table of an uplink"},
      {{"physnet1", 92, "transfer pattern eth / end actions represented_port ethdev_port_id vm7/net0 / end"}, "not in the table of an uplink"},
      {{"physnet1", 93, "transfer pattern represented_port ethdev_port_id is stay-b/net0 / eth / end actions represented_port ethdev_port_id vm7/net0 / end"},
       "not in the table of an uplink"},
      {{"physnet1", 94, "ingress pattern eth / end actions drop / end"}, "does not lead to vm7"},
      {{"physnet1", 95, "ingress pattern eth / end actions represented_port ethdev_port_id vm7/net0 / represented_port ethdev_port_id stay-b/net0 / end"},
       "leads to stay-b/net0"},
      {{"physnet1", 96, "ingress pattern eth / end actions represented_port ethdev_port_id unheard-of/net0 / end"}, "leads to unheard-of/net0"},
      {{"physnet1", 97, "ingress pattern eth / end actions"}, ""},
  };
  for (const auto& [rule, why] : bad) {
    Document offered = *document;
    offered.uplink_rules.push_back(rule);
    auto refused = StagedImport::stage(b_.store, b_.ports, b_.uplink, offered, bindings);
    ASSERT_FALSE(refused) << rule.text;
    EXPECT_NE(refused.error().message.find(why), std::string::npos) << refused.error().message;
    b_.reclaimer.collect();
    EXPECT_EQ(b_.picture(), b) << rule.text;
  }
  auto staged = StagedImport::stage(b_.store, b_.ports, b_.uplink, *document, bindings);
  ASSERT_TRUE(staged) << staged.error().message;
  const std::string with = b_.picture(), digest = (*staged)->uplinks_digest();
  for (const auto& [rule, why] : bad) {
    auto refused = (*staged)->add_uplink_rule(rule);
    ASSERT_FALSE(refused) << rule.text;
    EXPECT_NE(refused.error().message.find(why), std::string::npos) << refused.error().message;
    EXPECT_FALSE((*staged)->remove_uplink_rule(rule.owner, rule.id));
    EXPECT_EQ(b_.picture(), with) << rule.text;
  }
  const DocumentRule good{"physnet1", 98, to_vm7(1)};
  ASSERT_TRUE((*staged)->add_uplink_rule(good));
  EXPECT_NE((*staged)->uplinks_digest(), digest);
  EXPECT_FALSE((*staged)->add_uplink_rule(good)) << "once";
  ASSERT_TRUE((*staged)->remove_uplink_rule("physnet1", 98));
  EXPECT_EQ((*staged)->uplinks_digest(), digest);
  ASSERT_TRUE((*staged)->add_uplink_rule(good));
  staged->reset();
  b_.reclaimer.collect();
  EXPECT_EQ(b_.picture(), b);
  EXPECT_EQ(b_.counters.in_use(), slots);
}

TEST_F(DriverTest, RubbishFromStrangersIsClosedAndChangesNothing) {
  const std::string b = b_.picture();
  const uint64_t seed = std::random_device{}();
  SCOPED_TRACE("seed " + std::to_string(seed));
  std::mt19937_64 rng(seed);
  for (int i = 0; i < 60; ++i) {
    asio::ip::tcp::socket socket(io_);
    std::error_code ignored;
    socket.connect({asio::ip::make_address("127.0.0.1"), free_port_b_}, ignored);
    std::string bytes(1 + rng() % 300, 0);
    for (char& c : bytes) c = static_cast<char>(rng());
    if (i % 3 == 0) bytes[0] = bytes[1] = 0;              // a plausible length
    if (i % 3 == 1) bytes = std::string("\xff\xff\xff\xff", 4) + bytes;  // an enormous one
    asio::write(socket, asio::buffer(bytes), ignored);
    settle(2);
  }
  EXPECT_EQ(b_.picture(), b);
  EXPECT_TRUE(b_driver_->status().empty());
  start();
  EXPECT_TRUE(until([&] { return state(a_driver_) == "prepared"; })) << log_;
}

TEST_F(DriverTest, AVmThatIsPulledMovesWithTheIdThatWasAskedFor) {
  const std::string digest = a_driver_->export_vm("vm7")->digest;
  auto id = b_driver_->pull("vm7", "host-a");
  ASSERT_TRUE(id) << id.error().message;
  EXPECT_EQ(state(b_driver_), "asking");
  EXPECT_FALSE(b_driver_->pull("vm7", "host-a")) << "asked already";
  ASSERT_TRUE(until([&] { return state(a_driver_) == "prepared" && state(b_driver_) == "prepared"; })) << log_;
  EXPECT_EQ(a_driver_->status("vm7").back().id, *id);
  event(a_, a_driver_, PortEventKind::kRingsStopped);
  ASSERT_TRUE(until([&] { return state(b_driver_) == "handed-over"; })) << log_;
  event(b_, b_driver_, PortEventKind::kRingsRunning);
  ASSERT_TRUE(until([&] { return state(a_driver_) == "done" && state(b_driver_) == "done"; })) << log_;
  EXPECT_EQ(b_driver_->export_vm("vm7")->digest, digest);
  EXPECT_EQ(b_driver_->status("vm7").size(), 1u) << "the request itself is forgotten";
}

TEST_F(DriverTest, APullThatCannotBeDoneSaysWhyAndChangesNothing) {
  const std::string a = a_.picture(), b = b_.picture();
  EXPECT_FALSE(b_driver_->pull("stay-b", "host-a")) << "local here";
  EXPECT_FALSE(b_driver_->pull("vm7", "host-x"));
  EXPECT_FALSE(b_driver_->pull("../x", "host-a"));
  ASSERT_TRUE(b_driver_->pull("nobody", "host-a"));
  ASSERT_TRUE(until([&] { return !b_driver_->status("nobody").empty() && b_driver_->status("nobody").back().state == "aborted"; })) << log_;
  EXPECT_NE(b_driver_->status("nobody").back().error.find("no endpoint of that VM"), std::string::npos);
  start();  // the source is at it already
  ASSERT_TRUE(until([&] { return state(a_driver_) == "prepared"; }));
  EXPECT_FALSE(b_driver_->pull("vm7", "host-a"));
  ASSERT_TRUE(a_driver_->cancel("vm7"));
  ASSERT_TRUE(until([&] { return state(b_driver_) == "aborted"; }));
  a_driver_->stop();
  ASSERT_TRUE(b_driver_->pull("vm7", "host-a"));
  ASSERT_TRUE(until([&] { return b_driver_->status("vm7").size() == 2 && state(b_driver_) == "aborted"; })) << log_;
  EXPECT_NE(error(b_driver_).find("cannot connect"), std::string::npos) << error(b_driver_);
  EXPECT_EQ(a_.picture(), a);
  EXPECT_EQ(b_.picture(), b);
}

TEST_F(DriverTest, AllVmsAreEvacuatedAFewAtATimeAndAllAreThere) {
  constexpr int kVms = 40;
  std::map<std::string, std::string> digests;
  for (int i = 0; i < kVms; ++i) {
    const std::string name = "ev" + std::to_string(i);
    char mac[18];
    std::snprintf(mac, sizeof mac, "02:00:00:00:01:%02x", static_cast<unsigned>(i));
    a_.vm(name + "/net0", mac, false);
    a_.rule(name + "/net0", "ingress pattern eth / ipv4 dst is 10.0.0." + std::to_string(i) + " / end actions drop / end");
    digests[name] = a_driver_->export_vm(name)->digest;
  }
  b_.vm("ev3/net0", "02:00:00:00:02:03");  // taken there
  start();                                 // on its way already
  auto report = a_driver_->start_all("host-b");
  ASSERT_TRUE(report) << report.error().message;
  EXPECT_EQ(report->started.size(), kVms + 1u) << "and stay-a";
  ASSERT_EQ(report->refused.size(), 1u);
  EXPECT_EQ(report->refused[0].first, "vm7");
  auto evacuation = a_driver_->evacuations().at(0);
  EXPECT_EQ(evacuation.total, kVms + 1u);
  EXPECT_EQ(evacuation.preparing + evacuation.queued, kVms + 1u);
  EXPECT_EQ(evacuation.preparing, 7u) << "vm7 is the eighth";
  ASSERT_TRUE(a_driver_->cancel("ev39")) << "one that waits may be given up";
  ASSERT_TRUE(until([&] { return a_driver_->evacuations().at(0).prepared == 1 && a_driver_->evacuations().at(0).moving == kVms - 2; })) << log_;
  for (const auto& [name, digest] : digests) {
    if (name == "ev3" || name == "ev39") continue;
    const PortId port = b_.store.find(name + "/net0")->port;
    b_driver_->on_port_event({PortEventKind::kRingsRunning, port, clock_.now_ns()});
  }
  ASSERT_TRUE(until([&] { return a_driver_->evacuations().at(0).done == kVms - 2; })) << log_;
  evacuation = a_driver_->evacuations().at(0);
  EXPECT_EQ(evacuation.failed, 2u);
  EXPECT_EQ(evacuation.rules, kVms - 2u);
  EXPECT_GT(evacuation.per_second(clock_.now_ns()), 0);
  EXPECT_GT(evacuation.seconds_left(clock_.now_ns()), 0) << "stay-a still runs here";
  EXPECT_FALSE(evacuation.over());
  for (const auto& [name, digest] : digests) {
    if (name == "ev3" || name == "ev39") continue;
    EXPECT_EQ(b_driver_->export_vm(name)->digest, digest) << name;
  }
  ASSERT_TRUE(a_driver_->cancel("stay-a"));
  EXPECT_TRUE(a_driver_->evacuations().at(0).over());
  EXPECT_NE(a_driver_->evacuations().at(0).ended_ns, 0u);
}

TEST_F(DriverTest, MovesInBothDirectionsAtOnceDoNotDisturbEachOther) {
  const std::string digest_a = a_driver_->export_vm("vm7")->digest, digest_b = b_driver_->export_vm("stay-b")->digest;
  start();
  ASSERT_TRUE(b_driver_->start("stay-b", "host-a"));
  const auto both = [&](const char* state) {
    return this->state(a_driver_) == state && b_driver_->status("stay-b").back().state == state;
  };
  ASSERT_TRUE(until([&] { return both("prepared"); })) << log_;
  const auto ring = [&](support::FakeSwitch& host, const std::unique_ptr<Driver>& driver, const char* vm, PortEventKind kind) {
    driver->on_port_event({kind, host.store.find(vm)->port, clock_.now_ns()});
  };
  ring(a_, a_driver_, "vm7/net0", PortEventKind::kRingsStopped);
  ring(b_, b_driver_, "stay-b/net0", PortEventKind::kRingsStopped);
  ASSERT_TRUE(until([&] { return state(b_driver_) == "handed-over" && a_driver_->status("stay-b").back().state == "handed-over"; })) << log_;
  ring(a_, a_driver_, "stay-b/net0", PortEventKind::kRingsRunning);
  ring(b_, b_driver_, "vm7/net0", PortEventKind::kRingsRunning);
  ASSERT_TRUE(until([&] { return both("done") && state(b_driver_) == "done" && a_driver_->status("stay-b").back().state == "done"; })) << log_;
  EXPECT_EQ(b_driver_->export_vm("vm7")->digest, digest_a);
  EXPECT_EQ(a_driver_->export_vm("stay-b")->digest, digest_b);
  // stay-a's rules lead to the uplink, as vm7 is away; vm7's to stay-b lead to the uplink too.
  EXPECT_EQ(a_.store.find("vm7/net0")->location.kind, LocationKind::kUplink);
  EXPECT_EQ(b_.store.find("stay-b/net0")->location.kind, LocationKind::kUplink);
}

TEST_F(DriverTest, AVmWithTwoNicsIsHandedOverWhenBothHaveStoppedAndRunsWithBoth) {
  a_.vm("vm7/net1", "02:00:00:00:00:17");
  a_.rule("vm7/net1", "ingress pattern eth / end actions count / end");
  const std::string digest = a_driver_->export_vm("vm7")->digest;
  start();
  ASSERT_TRUE(until([&] { return state(a_driver_) == "prepared"; })) << log_;
  const PortId second = a_.store.find("vm7/net1")->port;
  event(a_, a_driver_, PortEventKind::kRingsStopped);
  settle(20);
  EXPECT_EQ(state(a_driver_), "prepared") << "one NIC's stop is not the VM's";
  EXPECT_EQ(location(a_), LocationKind::kParked);
  EXPECT_EQ(a_.store.find("vm7/net1")->location.kind, LocationKind::kPort);
  a_driver_->on_port_event({PortEventKind::kRingsStopped, second, clock_.now_ns()});
  ASSERT_TRUE(until([&] { return state(b_driver_) == "handed-over"; })) << log_;
  event(b_, b_driver_, PortEventKind::kRingsRunning);
  b_driver_->on_port_event({PortEventKind::kRingsRunning, b_.store.find("vm7/net1")->port, clock_.now_ns()});
  ASSERT_TRUE(until([&] { return state(a_driver_) == "done" && state(b_driver_) == "done"; })) << log_;
  EXPECT_EQ(b_driver_->export_vm("vm7")->digest, digest);
  for (const char* nic : {"vm7/net0", "vm7/net1"}) {
    EXPECT_EQ(b_.store.find(nic)->location.kind, LocationKind::kPort) << nic;
    EXPECT_TRUE(b_.store.find(nic)->active) << nic;
    EXPECT_FALSE(a_.store.find(nic)->port.valid()) << nic;
  }
}

TEST_F(DriverTest, AMoveIsShownStepByStepAndNoGuestCanMakeItsListLong) {
  const std::string id = start();
  ASSERT_TRUE(until([&] { return state(a_driver_) == "prepared"; }));
  auto move = a_driver_->show(id.substr(0, 6));
  ASSERT_TRUE(move) << move.error().message;
  std::vector<std::string> states;
  for (const MoveStep& step : move->steps) states.push_back(step.state);
  EXPECT_EQ(states, (std::vector<std::string>{"connecting", "offered", "prepared"}));
  EXPECT_TRUE(std::ranges::is_sorted(move->steps, {}, &MoveStep::ns));
  EXPECT_EQ(move->deadline_ns, 0u) << "QEMU takes what it takes";
  for (int i = 0; i < 50; ++i) {
    event(a_, a_driver_, PortEventKind::kRingsStopped);
    event(a_, a_driver_, PortEventKind::kRingsRunning);
    ASSERT_TRUE(until([&] { return state(a_driver_) == "prepared"; })) << log_;
  }
  move = a_driver_->show(id);
  EXPECT_EQ(move->steps.size(), kMaxSteps);
  EXPECT_EQ(move->steps.size() + move->steps_left_out, 3u + 50 * 3);
  EXPECT_EQ(move->steps.front().state, "connecting");
  EXPECT_EQ(move->steps.back().state, "prepared");
  EXPECT_FALSE(a_driver_->show(""));
  EXPECT_FALSE(a_driver_->show("zz"));
}

TEST_F(DriverTest, UnknownVmsPeersAndDoubleMovesAreRefused) {
  EXPECT_FALSE(a_driver_->start("nobody", "host-b"));
  EXPECT_FALSE(a_driver_->start("vm7", "host-x"));
  EXPECT_FALSE(a_driver_->start("stay-b", "host-b")) << "not local here";
  EXPECT_FALSE(a_driver_->cancel("vm7"));
  EXPECT_FALSE(a_driver_->rewrite_vm("stay-b"));
  start();
  EXPECT_FALSE(a_driver_->start("vm7", "host-b"));
  EXPECT_FALSE(a_driver_->rewrite_vm("vm7"));
}

}  // namespace
}  // namespace godwit::migration
