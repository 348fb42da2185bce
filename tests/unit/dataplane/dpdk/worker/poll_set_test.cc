// SPDX-License-Identifier: Apache-2.0
#include "dataplane/dpdk/worker/poll_set.h"

#include <gtest/gtest.h>

#include <memory>
#include <set>

namespace godwit::dataplane {
namespace {

// A port without a device that counts disarm() calls.
class FakePort final : public Port {
 public:
  explicit FakePort(PortId port) : Port(port, PortKind::kVhost, "fake", "", 1500, 1) {
    set_queues(1, 1, false);
  }
  uint16_t receive(uint16_t, rte_mempool*, rte_mbuf**, uint16_t) override { return 0; }
  uint16_t send(uint16_t, rte_mbuf**, uint16_t) override { return 0; }
  Arm arm(uint16_t, Sleeper&, uint32_t, uint32_t&) override { return Arm::kArmed; }
  void disarm(uint16_t) override { ++disarmed; }
  [[nodiscard]] int numa_node() const override { return -1; }
  void describe(PortInfo&) const override {}
  void close() override {}
  int disarmed = 0;
};

class PollSetTest : public ::testing::Test {
 protected:
  PollSetTest() {
    plan_.serial = 1;
    for (uint16_t i = 0; i < 3; ++i) {
      ports_.push_back(std::make_unique<FakePort>(PortId{i}));
      plan_.queues.push_back({.port = ports_.back().get(), .queue = 0, .pool = nullptr});
    }
    state_.generation = 1;
    set_.follow(state_, plan_);
  }
  std::set<uint32_t> active() const {
    std::set<uint32_t> out;
    for (size_t k = 0; k < set_.size(); ++k) out.insert(set_[k]);
    return out;
  }
  void retire(uint32_t queue) {
    for (size_t k = 0; k < set_.size(); ++k) {
      if (set_[k] == queue) return set_.retire(k);
    }
  }
  void activate(uint32_t tag, const WorkerPlan& plan) {
    Sleeper::Tags tags{tag};
    set_.activate(plan, 1, tags);
  }

  std::vector<std::unique_ptr<FakePort>> ports_;
  WorkerPlan plan_;
  ForwardingState state_;
  Sleeper sleeper_;
  PollSet set_{sleeper_};
};

TEST_F(PollSetTest, Follow_NewPlan_ActivatesAllQueuesForOnePoll) {
  EXPECT_EQ(active(), (std::set<uint32_t>{0, 1, 2}));
  EXPECT_EQ(ports_[1]->disarmed, 1);
  EXPECT_EQ(plan_.queues[1].silent, PollSet::kSilentVisits - 1);
  EXPECT_TRUE(set_.current(state_, plan_));
}

TEST_F(PollSetTest, Retire_LeavesOtherQueuesActive) {
  retire(0);
  EXPECT_EQ(active(), (std::set<uint32_t>{1, 2}));
  retire(2);
  EXPECT_EQ(active(), std::set<uint32_t>{1});
  EXPECT_FALSE(set_.all_armed());
  retire(1);
  EXPECT_TRUE(set_.all_armed());
}

TEST_F(PollSetTest, Activate_SignaledQueue_IsPolledAgain) {
  retire(1);
  activate(1, plan_);
  activate(1, plan_);
  EXPECT_EQ(set_.size(), 3u);
  EXPECT_EQ(ports_[1]->disarmed, 2);
}

TEST_F(PollSetTest, Activate_UnknownQueueOrOtherPlan_IsIgnored) {
  retire(1);
  activate(17, plan_);
  WorkerPlan other = plan_;
  other.serial = 2;
  activate(1, other);
  EXPECT_EQ(active(), (std::set<uint32_t>{0, 2}));
}

TEST_F(PollSetTest, Follow_NothingChanged_KeepsRetiredQueuesArmed) {
  retire(1);
  ++state_.generation;
  EXPECT_FALSE(set_.current(state_, plan_));
  set_.follow(state_, plan_);
  EXPECT_EQ(active(), (std::set<uint32_t>{0, 2}));
  EXPECT_TRUE(set_.current(state_, plan_));
}

TEST_F(PollSetTest, Follow_EndpointsChangedOrAttend_ActivatesRetiredQueues) {
  retire(1);
  state_.places_changed = ++state_.generation;
  set_.follow(state_, plan_);
  EXPECT_EQ(set_.size(), 3u);
  retire(2);
  sleeper_.attend();
  set_.follow(state_, plan_);
  EXPECT_EQ(set_.size(), 3u);
  EXPECT_EQ(ports_[2]->disarmed, 2);
}

TEST_F(PollSetTest, MarkAlways_QueueCountsAsArmedUntilNextChange) {
  set_.mark_always(plan_.queues[0]);
  retire(1);
  retire(2);
  EXPECT_TRUE(set_.any_always());
  EXPECT_TRUE(set_.all_armed()) << "the last active queue cannot be armed";
  sleeper_.attend();
  set_.follow(state_, plan_);
  EXPECT_FALSE(set_.any_always());
  EXPECT_FALSE(plan_.queues[0].always);
}

}  // namespace
}  // namespace godwit::dataplane
