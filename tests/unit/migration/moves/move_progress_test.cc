// SPDX-License-Identifier: Apache-2.0
#include "migration/moves/move_progress.h"

#include <gtest/gtest.h>

#include "migration/moves/source_machine.h"
#include "tests/unit/migration/moves/moves_fixture.h"

namespace godwit::migration {
namespace {

using S = SourceState;
using E = SourceEvent;
using A = SourceAction;

constexpr SourceTransition kTable[] = {
    {S::kConnecting, E::kConnected, S::kOffered, {A::kSendOffer, A::kRecord, A::kStartStepTimer}},
    {S::kOffered, E::kRefused, S::kAborted, {A::kReportAborted}},
    {S::kOffered, E::kPrepared, S::kPrepared, {A::kStopTimers}},
};

class MoveProgressTest : public MovesTest {
 protected:
  using Progress = MoveProgress<SourceMachine>;

  MoveProgressTest() {
    status_.vm = "vm7";
    status_.peer = "host-b";
    status_.id = "01";
  }
  Progress::Failure act(A action) {
    done_.push_back(std::string(name_of(action)));
    return on_action_ ? on_action_(action) : Progress::Failure{};
  }

  MoveStatus status_;
  std::function<Progress::Failure(A action)> on_action_;
  std::vector<std::string> done_;  // actions, and the states that were left
  Progress progress_{
      context_,
      MoveRole::kSource,
      SourceMachine(kTable),
      status_,
      {[this](A action) { return act(action); },
       [this](S before) { done_.push_back("after " + std::string(name_of(before))); }}};
};

TEST_F(MoveProgressTest, Event_RunsActionsInOrder) {
  progress_.take(E::kConnected);
  EXPECT_EQ(progress_.state(), S::kOffered);
  EXPECT_EQ(done_, (std::vector<std::string>{"send-offer", "record", "start-step-timer",
                                             "after connecting"}));
}

TEST_F(MoveProgressTest, EventWithoutRow_ChangesNothing) {
  progress_.take(E::kDoneAck, "too late");
  EXPECT_EQ(progress_.state(), S::kConnecting);
  EXPECT_TRUE(done_.empty());
  EXPECT_EQ(progress_.why(), "");
}

TEST_F(MoveProgressTest, EventCausedByAction_WaitsForRestOfRow) {
  on_action_ = [this](A action) {
    if (action == A::kSendOffer) progress_.take(E::kPrepared);
    return Progress::Failure{};
  };
  progress_.take(E::kConnected);
  EXPECT_EQ(progress_.state(), S::kPrepared);
  EXPECT_EQ(done_, (std::vector<std::string>{"send-offer", "record", "start-step-timer",
                                             "after connecting", "stop-timers", "after offered"}));
}

TEST_F(MoveProgressTest, FailedAction_ReplacesRestOfRow) {
  on_action_ = [](A action) {
    return action == A::kRecord ? Progress::Failure{{E::kRefused, "disk is full"}}
                                : Progress::Failure{};
  };
  progress_.take(E::kConnected);
  EXPECT_EQ(progress_.state(), S::kAborted);
  EXPECT_EQ(done_,
            (std::vector<std::string>{"send-offer", "record", "report-aborted", "after offered"}));
  EXPECT_EQ(progress_.why(), "disk is full");
  EXPECT_NE(log_.find("move 01 of vm7 to host-b: offered -> aborted on refused (disk is full)"),
            std::string::npos)
      << log_;
}

TEST_F(MoveProgressTest, FailureWithoutRow_ContinuesWithRow) {
  on_action_ = [](A action) {
    return action == A::kRecord ? Progress::Failure{{E::kJournalFailed, ""}} : Progress::Failure{};
  };
  progress_.take(E::kConnected);
  EXPECT_EQ(progress_.state(), S::kOffered);
  EXPECT_EQ(done_.size(), 4u);
}

TEST_F(MoveProgressTest, Report_ListsEveryState) {
  progress_.begin();
  progress_.take(E::kConnected);
  progress_.take(E::kPrepared, "all is well");
  const MoveStatus status = progress_.report();
  EXPECT_EQ(status.state, "prepared");
  ASSERT_EQ(status.steps.size(), 3u);
  EXPECT_EQ(status.steps[2].on, "prepared");
  EXPECT_EQ(status.steps[2].why, "all is well");
  EXPECT_EQ(changed_, 2u);
}

}  // namespace
}  // namespace godwit::migration
