// SPDX-License-Identifier: Apache-2.0
//
// An operator's calls to a driver: pulls, evacuations, several moves at once, what is shown of
// them.
#include "migration/engine/engine.h"

#include <gtest/gtest.h>

#include "tests/unit/migration/engine/two_engines.h"

namespace godwit::migration {
namespace {

using dataplane::LocationKind;
using dataplane::PortEventKind;

class EngineCallsTest : public TwoEngines {};

TEST_F(EngineCallsTest, Pull_OfLocalVm_MovesItUnderTheRequestedId) {
  const std::string digest = a_engine_->export_vm("vm7")->digest;
  auto id = b_engine_->pull("vm7", "host-a");
  ASSERT_TRUE(id) << id.error().message;
  EXPECT_EQ(state(b_engine_), "asking");
  EXPECT_FALSE(b_engine_->pull("vm7", "host-a")) << "asked already";
  ASSERT_TRUE(until([&] {
    return state(a_engine_) == "prepared" && state(b_engine_) == "prepared";
  })) << log_;
  EXPECT_EQ(a_engine_->status("vm7").back().id, *id);
  event(a_, a_engine_, PortEventKind::kRingsStopped);
  ASSERT_TRUE(until([&] { return state(b_engine_) == "handed-over"; })) << log_;
  event(b_, b_engine_, PortEventKind::kRingsRunning);
  ASSERT_TRUE(until([&] { return state(a_engine_) == "done" && state(b_engine_) == "done"; }))
      << log_;
  EXPECT_EQ(b_engine_->export_vm("vm7")->digest, digest);
  EXPECT_EQ(b_engine_->status("vm7").size(), 1u) << "the request itself is forgotten";
}

TEST_F(EngineCallsTest, Pull_ThatIsRefused_ReportsTheReason) {
  const std::string a = a_.picture(), b = b_.picture();
  EXPECT_FALSE(b_engine_->pull("stay-b", "host-a")) << "local here";
  EXPECT_FALSE(b_engine_->pull("vm7", "host-x"));
  EXPECT_FALSE(b_engine_->pull("../x", "host-a"));
  ASSERT_TRUE(b_engine_->pull("nobody", "host-a"));
  ASSERT_TRUE(until([&] {
    return !b_engine_->status("nobody").empty() &&
           b_engine_->status("nobody").back().state == "aborted";
  })) << log_;
  EXPECT_NE(b_engine_->status("nobody").back().error.find("nobody does not run at host-a"),
            std::string::npos);
  start();  // the source is at it already
  ASSERT_TRUE(until([&] { return state(a_engine_) == "prepared"; }));
  EXPECT_FALSE(b_engine_->pull("vm7", "host-a"));
  ASSERT_TRUE(a_engine_->cancel("vm7"));
  ASSERT_TRUE(until([&] { return state(b_engine_) == "aborted"; }));
  a_engine_->stop();
  ASSERT_TRUE(b_engine_->pull("vm7", "host-a"));
  ASSERT_TRUE(until([&] {
    return b_engine_->status("vm7").size() == 2 && state(b_engine_) == "aborted";
  })) << log_;
  EXPECT_NE(error(b_engine_).find("cannot connect"), std::string::npos) << error(b_engine_);
  EXPECT_EQ(a_.picture(), a);
  EXPECT_EQ(b_.picture(), b);
}

TEST_F(EngineCallsTest, Reload_OfPeersAndLists_CountsForTheNextMove) {
  MigrationOptions options;
  options.peers["host-a"] = "127.0.0.1:1";
  options.allow_in.emplace();
  b_engine_->reload(options);
  EXPECT_EQ(b_engine_->peers().at(0).address, "127.0.0.1:1");
  start();
  ASSERT_TRUE(until([&] { return state(a_engine_) == "aborted"; })) << log_;
  EXPECT_NE(error(a_engine_).find("host-b takes no VMs from host-a"), std::string::npos)
      << error(a_engine_);
  options.allow_in.reset();
  b_engine_->reload(options);
  start();
  ASSERT_TRUE(until([&] { return state(b_engine_) == "prepared"; })) << log_;
  options.peers.clear();
  b_engine_->reload(options);
  EXPECT_TRUE(b_engine_->peers().empty());
  EXPECT_FALSE(b_engine_->pull("another", "host-a"));
  EXPECT_EQ(state(b_engine_), "prepared") << "a move in progress goes on";
}

TEST_F(EngineCallsTest, Reload_ThatRaisesMaxPreparing_BeginsQueuedMoves) {
  MigrationOptions options;
  options.peers["host-b"] = "127.0.0.1:" + std::to_string(free_port_b_);
  options.max_preparing = 0;
  a_engine_->reload(options);
  start();
  settle(20);
  EXPECT_EQ(state(a_engine_), "queued");
  options.max_preparing = 8;
  a_engine_->reload(options);
  EXPECT_TRUE(until([&] { return state(a_engine_) == "prepared"; })) << log_;
}

TEST_F(EngineCallsTest, Evacuation_MovesAllVms_WithinMaxPreparing) {
  constexpr int kVms = 40;
  std::map<std::string, std::string> digests;
  for (int i = 0; i < kVms; ++i) {
    const std::string name = "ev" + std::to_string(i);
    char mac[18];
    std::snprintf(mac, sizeof mac, "02:00:00:00:01:%02x", static_cast<unsigned>(i));
    a_.vm(name + "/net0", mac, false);
    a_.rule(name + "/net0", "ingress pattern eth / ipv4 dst is 10.0.0." + std::to_string(i) +
                                " / end actions drop / end");
    digests[name] = a_engine_->export_vm(name)->digest;
  }
  b_.vm("ev3/net0", "02:00:00:00:02:03");  // taken there
  start();                                 // on its way already
  auto report = a_engine_->start_all("host-b");
  ASSERT_TRUE(report) << report.error().message;
  EXPECT_EQ(report->started.size(), kVms + 1u) << "and stay-a";
  ASSERT_EQ(report->refused.size(), 1u);
  EXPECT_EQ(report->refused[0].first, "vm7");
  auto evacuation = a_engine_->evacuations().at(0);
  EXPECT_EQ(evacuation.total, kVms + 1u);
  EXPECT_EQ(evacuation.preparing + evacuation.queued, kVms + 1u);
  EXPECT_EQ(evacuation.preparing, 7u) << "vm7 is the eighth";
  ASSERT_TRUE(a_engine_->cancel("ev39")) << "one that waits may be given up";
  ASSERT_TRUE(until([&] {
    return a_engine_->evacuations().at(0).prepared == 1 &&
           a_engine_->evacuations().at(0).moving == kVms - 2;
  })) << log_;
  for (const auto& [name, digest] : digests) {
    if (name == "ev3" || name == "ev39") continue;
    const PortId port = b_.store.find(name + "/net0")->port;
    b_engine_->on_port_event({PortEventKind::kRingsRunning, port, clock_.now_ns()});
  }
  ASSERT_TRUE(until([&] { return a_engine_->evacuations().at(0).done == kVms - 2; })) << log_;
  evacuation = a_engine_->evacuations().at(0);
  EXPECT_EQ(evacuation.failed, 2u);
  EXPECT_EQ(evacuation.rules, kVms - 2u);
  EXPECT_GT(evacuation.per_second(clock_.now_ns()), 0);
  EXPECT_GT(evacuation.seconds_left(clock_.now_ns()), 0) << "stay-a still runs here";
  EXPECT_FALSE(evacuation.over());
  for (const auto& [name, digest] : digests) {
    if (name == "ev3" || name == "ev39") continue;
    EXPECT_EQ(b_engine_->export_vm(name)->digest, digest) << name;
  }
  ASSERT_TRUE(a_engine_->cancel("stay-a"));
  EXPECT_TRUE(a_engine_->evacuations().at(0).over());
  EXPECT_NE(a_engine_->evacuations().at(0).ended_ns, 0u);
}

TEST_F(EngineCallsTest, Moves_InBothDirections_Succeed) {
  const std::string digest_a = a_engine_->export_vm("vm7")->digest,
                    digest_b = b_engine_->export_vm("stay-b")->digest;
  start();
  ASSERT_TRUE(b_engine_->start("stay-b", "host-a"));
  const auto both = [&](const char* state) {
    return this->state(a_engine_) == state && b_engine_->status("stay-b").back().state == state;
  };
  ASSERT_TRUE(until([&] { return both("prepared"); })) << log_;
  const auto ring = [&](testing::FakeSwitch& host, const std::unique_ptr<Engine>& engine,
                        const char* vm, PortEventKind kind) {
    engine->on_port_event({kind, host.store.find(vm)->port, clock_.now_ns()});
  };
  ring(a_, a_engine_, "vm7/net0", PortEventKind::kRingsStopped);
  ring(b_, b_engine_, "stay-b/net0", PortEventKind::kRingsStopped);
  ASSERT_TRUE(until([&] {
    return state(b_engine_) == "handed-over" &&
           a_engine_->status("stay-b").back().state == "handed-over";
  })) << log_;
  ring(a_, a_engine_, "stay-b/net0", PortEventKind::kRingsRunning);
  ring(b_, b_engine_, "vm7/net0", PortEventKind::kRingsRunning);
  ASSERT_TRUE(until([&] {
    return both("done") && state(b_engine_) == "done" &&
           a_engine_->status("stay-b").back().state == "done";
  })) << log_;
  EXPECT_EQ(b_engine_->export_vm("vm7")->digest, digest_a);
  EXPECT_EQ(a_engine_->export_vm("stay-b")->digest, digest_b);
  // stay-a's rules lead to the uplink, as vm7 is away; vm7's to stay-b lead to the uplink too.
  EXPECT_EQ(a_.store.find("vm7/net0")->location.kind, LocationKind::kUplink);
  EXPECT_EQ(b_.store.find("stay-b/net0")->location.kind, LocationKind::kUplink);
}

TEST_F(EngineCallsTest, Move_OfTwoNics_HandsOverOnceBothStop) {
  a_.vm("vm7/net1", "02:00:00:00:00:17");
  a_.rule("vm7/net1", "ingress pattern eth / end actions count / end");
  const std::string digest = a_engine_->export_vm("vm7")->digest;
  start();
  ASSERT_TRUE(until([&] { return state(a_engine_) == "prepared"; })) << log_;
  const PortId second = a_.store.find("vm7/net1")->port;
  event(a_, a_engine_, PortEventKind::kRingsStopped);
  settle(20);
  EXPECT_EQ(state(a_engine_), "prepared") << "one NIC's stop is not the VM's";
  EXPECT_EQ(location(a_), LocationKind::kParked);
  EXPECT_EQ(a_.store.find("vm7/net1")->location.kind, LocationKind::kPort);
  a_engine_->on_port_event({PortEventKind::kRingsStopped, second, clock_.now_ns()});
  ASSERT_TRUE(until([&] { return state(b_engine_) == "handed-over"; })) << log_;
  event(b_, b_engine_, PortEventKind::kRingsRunning);
  b_engine_->on_port_event(
      {PortEventKind::kRingsRunning, b_.store.find("vm7/net1")->port, clock_.now_ns()});
  ASSERT_TRUE(until([&] { return state(a_engine_) == "done" && state(b_engine_) == "done"; }))
      << log_;
  EXPECT_EQ(b_engine_->export_vm("vm7")->digest, digest);
  for (const char* nic : {"vm7/net0", "vm7/net1"}) {
    EXPECT_EQ(b_.store.find(nic)->location.kind, LocationKind::kPort) << nic;
    EXPECT_TRUE(b_.store.find(nic)->active) << nic;
    EXPECT_FALSE(a_.store.find(nic)->port.valid()) << nic;
  }
}

TEST_F(EngineCallsTest, Show_ListsSteps_UpToTheLimit) {
  const std::string id = start();
  ASSERT_TRUE(until([&] { return state(a_engine_) == "prepared"; }));
  auto move = a_engine_->show(id.substr(0, 6));
  ASSERT_TRUE(move) << move.error().message;
  std::vector<std::string> states;
  for (const MoveStep& step : move->steps) states.push_back(step.state);
  EXPECT_EQ(states, (std::vector<std::string>{"connecting", "offered", "prepared"}));
  EXPECT_TRUE(std::ranges::is_sorted(move->steps, {}, &MoveStep::ns));
  EXPECT_EQ(move->deadline_ns, 0u) << "QEMU takes what it takes";
  for (int i = 0; i < 50; ++i) {
    event(a_, a_engine_, PortEventKind::kRingsStopped);
    event(a_, a_engine_, PortEventKind::kRingsRunning);
    ASSERT_TRUE(until([&] { return state(a_engine_) == "prepared"; })) << log_;
  }
  move = a_engine_->show(id);
  EXPECT_EQ(move->steps.size(), kMaxSteps);
  EXPECT_EQ(move->steps.size() + move->steps_left_out, 3u + 50 * 3);
  EXPECT_EQ(move->steps.front().state, "connecting");
  EXPECT_EQ(move->steps.back().state, "prepared");
  EXPECT_FALSE(a_engine_->show(""));
  EXPECT_FALSE(a_engine_->show("zz"));
}

TEST_F(EngineCallsTest, Start_OfUnknownVmOrPeerOrSecondMove_IsRefused) {
  EXPECT_FALSE(a_engine_->start("nobody", "host-b"));
  EXPECT_FALSE(a_engine_->start("vm7", "host-x"));
  EXPECT_FALSE(a_engine_->start("stay-b", "host-b")) << "not local here";
  EXPECT_FALSE(a_engine_->cancel("vm7"));
  EXPECT_FALSE(a_engine_->rewrite_vm("stay-b"));
  start();
  EXPECT_FALSE(a_engine_->start("vm7", "host-b"));
  EXPECT_FALSE(a_engine_->rewrite_vm("vm7"));
}

}  // namespace
}  // namespace godwit::migration
