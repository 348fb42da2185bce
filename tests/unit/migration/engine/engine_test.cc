// SPDX-License-Identifier: Apache-2.0
//
// The course of a move between two drivers: what becomes of the policy and of each frame, and every
// way in which it must leave both sides as they were.
#include "migration/engine/engine.h"

#include <gtest/gtest.h>

#include <cstring>

#include "migration/moves/fabric/announce.h"
#include "tests/unit/migration/engine/two_engines.h"

namespace godwit::migration {
namespace {

using dataplane::LocationKind;
using dataplane::PortEventKind;

class EngineTest : public TwoEngines {};

TEST_F(EngineTest, Move_KeepsTheDigest_AndLeavesOnlyALocation) {
  ASSERT_TRUE(listening_);
  const std::string digest = a_engine_->export_vm("vm7")->digest;
  start();
  ASSERT_TRUE(until([&] { return state(a_engine_) == "prepared"; })) << log_;
  EXPECT_EQ(location(b_), LocationKind::kUplink) << "nothing is published before the VM runs there";
  EXPECT_FALSE(b_.store.find("vm7/net0")->active);
  event(a_, a_engine_, PortEventKind::kRingsStopped);
  EXPECT_EQ(location(a_), LocationKind::kRedirect) << "what is for it goes ahead";
  ASSERT_TRUE(until([&] { return state(b_engine_) == "handed-over"; })) << log_;
  EXPECT_FALSE(b_.store.find("vm7/net0")->active);
  event(b_, b_engine_, PortEventKind::kRingsRunning);
  EXPECT_EQ(location(b_), LocationKind::kParked) << "direct arrivals wait for the backlog";
  EXPECT_TRUE(b_.store.find("vm7/net0")->active);
  EXPECT_FALSE(b_.gate.emitted.empty()) << "announced";
  for (uint8_t i = 0; i < 100; ++i) a_.gate.redirected.push_back(frame(a_, i));
  ASSERT_TRUE(until([&] {
    return b_.gate.injected.size() == 100 && location(b_) == LocationKind::kPort;
  })) << log_;
  for (uint8_t i = 0; i < 100; ++i) EXPECT_EQ(b_.gate.injected[i].bytes[0], i);
  EXPECT_EQ(location(a_), LocationKind::kRedirect);
  a_.gate.announcements.push_back(
      b_.gate.emitted.front());  // the fabric brings it to the source's uplink
  ASSERT_TRUE(until([&] { return state(a_engine_) == "done" && state(b_engine_) == "done"; }))
      << log_;
  EXPECT_EQ(b_engine_->export_vm("vm7")->digest, digest);
  EXPECT_EQ(location(a_), LocationKind::kUplink);
  EXPECT_FALSE(a_.store.find("vm7/net0")->port.valid());
  EXPECT_TRUE(a_.store.rules_inside(a_.store.find("vm7/net0")->id).empty());
  EXPECT_EQ(a_.store.receive_rules(a_.store.find("vm7/net0")->id).size(), 1u)
      << "the uplink's own is gone, stay-a's stays";
  EXPECT_EQ(b_.store.receive_rules(b_.store.find("vm7/net0")->id).size(), 1u)
      << "the uplink rule travelled";
}

TEST_F(EngineTest, Frames_SentInThePause_ArriveOnce) {
  ASSERT_NO_FATAL_FAILURE(hand_over(50));
  settle(30);
  EXPECT_TRUE(b_.gate.injected.empty()) << "it does not run there yet";
  event(b_, b_engine_, PortEventKind::kRingsRunning);
  EXPECT_EQ(b_.gate.injected.size(), 50u) << "delivered in the same turn, with no round trip";
  for (uint8_t i = 50; i < 60; ++i) a_.gate.redirected.push_back(frame(a_, i));
  ASSERT_TRUE(until([&] { return state(a_engine_) == "done" && state(b_engine_) == "done"; }))
      << log_;
  ASSERT_EQ(b_.gate.injected.size(), 60u);
  for (uint8_t i = 0; i < 60; ++i) EXPECT_EQ(b_.gate.injected[i].bytes[0], i);
  EXPECT_TRUE(a_.gate.injected.empty());
  EXPECT_EQ(a_engine_->status("vm7").back().redirected, 60u);
  EXPECT_EQ(b_engine_->status("vm7").back().redirected, 60u);
}

TEST_F(EngineTest, FramesSentAhead_WhenVmContinuesAtSource_ReturnInOrder) {
  ASSERT_NO_FATAL_FAILURE(hand_over(50));
  a_.gate.inject_room =
      20;  // the worker's ring is short: the rest follows, and what comes waits for it
  event(a_, a_engine_, PortEventKind::kRingsRunning);
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
  event(a_, a_engine_, PortEventKind::kRingsStopped);
  a_.gate.redirected.push_back(frame(a_, 77));
  ASSERT_TRUE(
      until([&] { return state(b_engine_) == "handed-over" && a_.gate.redirected.empty(); }));
  settle(20);
  event(b_, b_engine_, PortEventKind::kRingsRunning);
  ASSERT_TRUE(until([&] { return state(a_engine_) == "done"; })) << log_;
  ASSERT_EQ(b_.gate.injected.size(), 1u);
  EXPECT_EQ(b_.gate.injected[0].bytes[0], 77);
}

TEST_F(EngineTest, Cancel_InThePause_ReturnsTheWorkersLastFrames) {
  ASSERT_NO_FATAL_FAILURE(hand_over(10));
  ASSERT_TRUE(a_engine_->cancel("vm7"));
  for (int turns = 0; turns < 1000 && state(a_engine_) != "aborted"; ++turns) {
    io_.restart();
    io_.run_for(std::chrono::milliseconds(2));
  }
  ASSERT_EQ(state(a_engine_), "aborted") << log_;
  a_.gate.redirected.push_back(frame(a_, 10));  // by the old location: the grace period is not over
  ASSERT_TRUE(until([&] { return location(a_) == LocationKind::kPort; })) << log_;
  ASSERT_EQ(a_.gate.injected.size(), 11u);
  for (size_t i = 0; i <= 10; ++i) EXPECT_EQ(a_.gate.injected[i].bytes[0], i);
}

TEST_F(EngineTest, Start_WhileFramesReturn_QueuesThatVmOnly) {
  for (const bool pulled : {false, true}) {
    SCOPED_TRACE(pulled ? "pulled" : "started");
    ASSERT_NO_FATAL_FAILURE(hand_over(10));
    event(a_, a_engine_, PortEventKind::kRingsRunning);
    a_.gate.inject_room = 0;
    ASSERT_TRUE(a_engine_->cancel("vm7"));
    ASSERT_TRUE(until([&] {
      return state(a_engine_) == "aborted" && state(b_engine_) == "aborted";
    })) << log_;
    EXPECT_TRUE(a_engine_->moving("vm7")) << "what was kept goes back";
    EXPECT_FALSE(a_engine_->rewrite_vm("vm7"));
    if (pulled) {
      ASSERT_TRUE(b_engine_->pull("vm7", "host-a"));
      ASSERT_TRUE(until([&] { return state(a_engine_) == "queued"; })) << log_;
    } else {
      start();
      EXPECT_EQ(state(a_engine_), "queued");
    }
    EXPECT_FALSE(a_engine_->start("vm7", "host-b")) << "one is enough";
    ASSERT_TRUE(a_engine_->start("stay-a", "host-b"));
    ASSERT_TRUE(until([&] { return a_engine_->status("stay-a").back().state == "prepared"; }))
        << log_;
    EXPECT_EQ(state(a_engine_), "queued");
    ASSERT_TRUE(a_engine_->cancel("stay-a"));
    a_.gate.inject_room = SIZE_MAX;
    // By itself, also when no worker and no port says anything.
    for (int turns = 0; turns < 1000 && state(a_engine_) != "prepared"; ++turns) {
      io_.restart();
      io_.run_for(std::chrono::milliseconds(2));
    }
    ASSERT_EQ(state(a_engine_), "prepared") << log_;
    EXPECT_EQ(location(a_), LocationKind::kPort);
    ASSERT_EQ(a_.gate.injected.size(), 10u);
    a_.gate.injected.clear();
    ASSERT_TRUE(a_engine_->cancel("vm7"));
    ASSERT_TRUE(until([&] { return state(b_engine_) == "aborted" && !a_engine_->moving("vm7"); }))
        << log_;
  }
}

TEST_F(EngineTest, QueuedMove_CanBeCancelledOrEvacuated) {
  start();
  ASSERT_TRUE(until([&] { return state(a_engine_) == "prepared"; })) << log_;
  event(a_, a_engine_, PortEventKind::kRingsStopped);
  a_.gate.redirected.push_back(frame(a_, 1));
  ASSERT_TRUE(until([&] {
    return state(b_engine_) == "handed-over" && a_.gate.redirected.empty();
  })) << log_;
  event(a_, a_engine_, PortEventKind::kRingsRunning);
  a_.gate.inject_room = 0;
  ASSERT_TRUE(a_engine_->cancel("vm7"));
  ASSERT_TRUE(until([&] { return state(a_engine_) == "aborted"; })) << log_;
  const std::string id = start();
  ASSERT_TRUE(a_engine_->cancel("vm7"));
  EXPECT_EQ(a_engine_->show(id)->state, "aborted");
  auto all = a_engine_->start_all("host-b");
  ASSERT_TRUE(all) << all.error().message;
  EXPECT_EQ(all->started.size(), 2u) << "vm7 and stay-a";
  EXPECT_EQ(a_engine_->evacuations().back().queued, 1u);
  a_.gate.inject_room = SIZE_MAX;
  ASSERT_TRUE(until([&] { return a_engine_->evacuations().back().prepared == 2; })) << log_;
  EXPECT_EQ(a_.gate.injected.size(), 1u);
}

class FloodTest : public EngineTest, public ::testing::WithParamInterface<int> {};

// The VM runs there at once, while frames are on their way, or after a while.
TEST_P(FloodTest, InThePause_IsKeptToTheLimit_AndArrivesInOrder) {
  start();
  ASSERT_TRUE(until([&] { return state(a_engine_) == "prepared"; }));
  event(a_, a_engine_, PortEventKind::kRingsStopped);
  constexpr size_t kFrames = 5000;
  for (size_t i = 0; i < kFrames; ++i) {
    a_.gate.redirected.push_back(frame(a_, 0));
    std::memcpy(a_.gate.redirected.back().bytes.data(), &i, sizeof i);
  }
  ASSERT_TRUE(until([&] { return state(b_engine_) == "handed-over"; }));
  if (GetParam() > 0) {
    settle(GetParam());
    EXPECT_EQ(location(a_), LocationKind::kParked) << "more waits in the workers' parks";
  }
  event(b_, b_engine_, PortEventKind::kRingsRunning);
  ASSERT_TRUE(until([&] { return state(a_engine_) == "done"; })) << log_;
  ASSERT_EQ(b_.gate.injected.size(), kFrames);
  for (size_t i = 0; i < kFrames; ++i)
    EXPECT_EQ(std::memcmp(b_.gate.injected[i].bytes.data(), &i, sizeof i), 0) << i;
}
INSTANTIATE_TEST_SUITE_P(TheVmRunsAfterMs, FloodTest, ::testing::Values(0, 500));

TEST_F(EngineTest, Fence_WithoutProof_IsLiftedByTime) {
  ASSERT_NO_FATAL_FAILURE(hand_over(0));
  event(b_, b_engine_, PortEventKind::kRingsRunning);
  ASSERT_TRUE(until([&] { return location(b_) == LocationKind::kPort; }));
  settle(20);
  EXPECT_TRUE(fence(b_)) << "nothing waits";
  b_.gate.waiting = 1;
  const uint64_t since = clock_.now_ns();
  ASSERT_TRUE(until([&] { return !fence(b_); }));
  EXPECT_GE(clock_.now_ns() - since, 40'000'000u);
}

// How long direct arrivals wait for a barrier, in ms.
class HoldTest : public EngineTest {
 protected:
  // Behind frames that cannot enter.
  double held_ms(uint64_t parked) {
    hand_over(3);
    b_.gate.waiting = parked;
    b_.gate.inject_room = 0;
    event(b_, b_engine_, PortEventKind::kRingsRunning);
    return until_released_ms("vm7");
  }
  // A whole move over a fabric that brings no announcement.
  double held_without_announcement_ms(const std::string& vm) {
    EXPECT_TRUE(a_engine_->start(vm, "host-b"));
    const auto in = [&](const std::unique_ptr<Engine>& engine, const char* state) {
      return until(
          [&] { return !engine->status(vm).empty() && engine->status(vm).back().state == state; });
    };
    EXPECT_TRUE(in(a_engine_, "prepared")) << log_;
    rings(a_, a_engine_, vm, PortEventKind::kRingsStopped);
    EXPECT_TRUE(in(b_engine_, "handed-over")) << log_;
    rings(b_, b_engine_, vm, PortEventKind::kRingsRunning);
    const double ms = until_released_ms(vm);
    EXPECT_TRUE(in(a_engine_, "done")) << log_;
    return ms;
  }

 private:
  double until_released_ms(const std::string& vm) {
    const uint64_t since = clock_.now_ns();
    EXPECT_TRUE(until([&] {
      return b_.store.find(vm + "/net0")->location.kind == LocationKind::kPort;
    })) << log_;
    return static_cast<double>(clock_.now_ns() - since) / 1e6;
  }
};

TEST_F(HoldTest, WhileOlderFramesArrive_IsBounded) {
  const double ms = held_ms(10);
  EXPECT_GE(ms, 240);
  EXPECT_NE(log_.find("active -> open on hold-timeout"), std::string::npos) << log_;
}

TEST_F(HoldTest, WithoutRoom_Ends) { EXPECT_LT(held_ms(1u << 20), 100); }

TEST_F(HoldTest, ForTheAnnouncement_IsSkippedIfTheFabricHidIt) {
  EXPECT_GE(held_without_announcement_ms("vm7"), 150)
      << "frames of b's own guests may still be in the fabric";
  EXPECT_LT(held_without_announcement_ms("stay-a"), 150) << "not for what did not come last time";
}

TEST_F(EngineTest, Window_WithoutProof_EndsByTime) {
  ASSERT_NO_FATAL_FAILURE(hand_over(0));
  event(b_, b_engine_, PortEventKind::kRingsRunning);
  EXPECT_TRUE(until([&] { return state(a_engine_) == "done" && state(b_engine_) == "done"; }))
      << log_;
}

TEST_F(EngineTest, Proof_NeedsTheEchoOfAProbeFromTheUplink) {
  ASSERT_NO_FATAL_FAILURE(hand_over(0));
  EXPECT_TRUE(a_.gate.emitted.empty());
  event(b_, b_engine_, PortEventKind::kRingsRunning);
  const dataplane::Frame announcement = b_.gate.emitted.front();
  a_.gate.announcements.push_back(announcement);  // sooner than `active`
  ASSERT_TRUE(until([&] { return a_.gate.emitted.size() >= 3; })) << "asks again and again";
  ASSERT_TRUE(until([&] { return location(b_) == LocationKind::kPort; }));
  EXPECT_TRUE(fence(b_)) << "the fabric may not have learned yet, and then older frames are on "
                            "their way from the source";
  EXPECT_EQ(state(a_engine_), "redirecting")
      << "a broadcast came through, but whether the fabric has learned is not known";
  const dataplane::Frame probe = a_.gate.emitted.back();
  const auto asked = read_fabric_message(probe.bytes);
  ASSERT_TRUE(asked && asked->kind == FabricMessage::Kind::kProbe);
  EXPECT_EQ(probe.endpoint, a_.uplink);
  const size_t before = b_.gate.emitted.size();
  dataplane::Frame of_another = probe;
  of_another.bytes[50] ^= 1;  // the nonce
  b_.gate.announcements.push_back(of_another);
  b_engine_->on_gate_ready();
  EXPECT_EQ(b_.gate.emitted.size(), before) << "a probe of another move";
  b_.gate.announcements.push_back(probe);
  b_engine_->on_gate_ready();
  ASSERT_EQ(b_.gate.emitted.size(), before + 1);
  const dataplane::Frame echo = b_.gate.emitted.back();
  a_.gate.announcements.push_back(echo);
  a_engine_->on_gate_ready();
  EXPECT_EQ(state(a_engine_), "holding");
  const size_t asked_until_then = a_.gate.emitted.size();
  ASSERT_TRUE(until([&] { return state(a_engine_) == "window"; })) << log_;
  EXPECT_FALSE(fence(b_));
  EXPECT_EQ(a_engine_->status("vm7").back().steps.end()[-3].on, "proof");
  settle(50);
  EXPECT_EQ(a_.gate.emitted.size(), asked_until_then) << "no probes after the proof";
}

TEST_F(EngineTest, Cancel_BeforeHandover_RestoresBothSides) {
  const std::string a = a_.picture(), b = b_.picture();
  start();
  ASSERT_TRUE(until([&] { return state(a_engine_) == "prepared"; }));
  EXPECT_NE(b_.picture(), b);
  ASSERT_TRUE(a_engine_->cancel("vm7"));
  ASSERT_TRUE(until([&] { return state(b_engine_) == "aborted"; })) << log_;
  EXPECT_EQ(a_.picture(), a);
  EXPECT_EQ(b_.picture(), b);
}

TEST_F(EngineTest, Cancel_AfterHandover_RevokesIt) {
  const std::string a = a_.picture(), b = b_.picture();
  ASSERT_NO_FATAL_FAILURE(hand_over(0));
  ASSERT_TRUE(a_engine_->cancel("vm7"));
  ASSERT_TRUE(until([&] { return state(a_engine_) == "aborted" && state(b_engine_) == "aborted"; }))
      << log_;
  EXPECT_EQ(a_.picture(), a);
  EXPECT_EQ(b_.picture(), b);
}

TEST_F(EngineTest, Vm_ContinuingAtSource_ResumesAndMayMoveAgain) {
  ASSERT_NO_FATAL_FAILURE(hand_over(0));
  event(a_, a_engine_, PortEventKind::kRingsRunning);
  ASSERT_TRUE(until([&] {
    return state(a_engine_) == "prepared" && state(b_engine_) == "prepared";
  })) << log_;
  EXPECT_EQ(location(a_), LocationKind::kPort);
  EXPECT_TRUE(a_.store.find("vm7/net0")->active);
  event(a_, a_engine_, PortEventKind::kRingsStopped);
  ASSERT_TRUE(until([&] { return state(b_engine_) == "handed-over"; }));
  event(b_, b_engine_, PortEventKind::kRingsRunning);
  EXPECT_TRUE(until([&] { return state(a_engine_) == "done"; })) << log_;
}

TEST_F(EngineTest, VmThatLeavesWithoutAMove_IsLogged) {
  const std::string left = "vm7/net0: the VM has left by a migration";
  const auto leave = [&](bool logged, bool stopped) {
    event(a_, a_engine_, PortEventKind::kRingsRunning);
    if (logged) event(a_, a_engine_, PortEventKind::kLoggingStarted);
    if (stopped) event(a_, a_engine_, PortEventKind::kRingsStopped);
    event(a_, a_engine_, PortEventKind::kDisconnected);
  };
  leave(false, true);  // a shutdown
  leave(true, false);  // QEMU is killed while it copies
  EXPECT_EQ(log_.find(left), std::string::npos) << log_;
  leave(true, true);
  EXPECT_NE(log_.find(left), std::string::npos) << log_;
}

TEST_F(EngineTest, VmThatLeavesInAMove_IsNotLogged) {
  ASSERT_NO_FATAL_FAILURE(hand_over(0));
  event(a_, a_engine_, PortEventKind::kLoggingStarted);
  event(a_, a_engine_, PortEventKind::kRingsStopped);
  event(a_, a_engine_, PortEventKind::kDisconnected);
  EXPECT_EQ(log_.find("the VM has left"), std::string::npos) << log_;
}

TEST_F(EngineTest, LostConnection_BeforeHandover_EndsTheMoveOnlyByCancel) {
  const std::string a = a_.picture(), b = b_.picture();
  start();
  ASSERT_TRUE(until([&] { return state(a_engine_) == "prepared"; }));
  b_engine_->stop();
  ASSERT_TRUE(until([&] { return state(a_engine_) == "detached"; })) << log_;
  EXPECT_EQ(location(a_), LocationKind::kPort);
  EXPECT_TRUE(a_.store.find("vm7/net0")->active);
  ASSERT_TRUE(a_engine_->cancel("vm7"));
  ASSERT_TRUE(until([&] { return state(a_engine_) == "aborted"; })) << log_;
  EXPECT_EQ(a_.picture(), a);
  EXPECT_EQ(b_.picture(), b);
}

}  // namespace
}  // namespace godwit::migration
