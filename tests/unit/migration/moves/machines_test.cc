// SPDX-License-Identifier: Apache-2.0
//
// Checks each row of the two tables against the rules of a move. Then runs both machines against
// each other over a channel that delivers in order but at any time, with rings, cancels and lost
// sessions at random.
#include <gtest/gtest.h>

#include <algorithm>
#include <deque>
#include <random>
#include <set>

#include "migration/moves/destination_machine.h"
#include "migration/moves/source_machine.h"

namespace godwit::migration {
namespace {

using SS = SourceState;
using SE = SourceEvent;
using SA = SourceAction;
using DS = DestinationState;
using DE = DestinationEvent;
using DA = DestinationAction;

template <typename Transition, typename Action>
bool does(const Transition& transition, Action action) {
  return std::ranges::find(transition.actions, action) != transition.actions.end();
}

TEST(SourceTable, HasOneRowPerStateAndEvent_AndANamePerState) {
  std::set<std::pair<SS, SE>> seen;
  for (const auto& row : source_transitions()) {
    EXPECT_TRUE(seen.emplace(row.from, row.event).second)
        << name_of(row.from) << " on " << name_of(row.event);
    EXPECT_NE(row.from, SS::kInvalid);
    EXPECT_NE(row.event, SE::kInvalid);
  }
  for (int s = 1; s < int(SS::kCount); ++s) EXPECT_FALSE(name_of(SS(s)).empty());
}

TEST(SourceTable, EndStates_HaveNoRows_AndAreReported) {
  for (const auto& row : source_transitions()) {
    EXPECT_NE(row.from, SS::kDone);
    EXPECT_NE(row.from, SS::kAborted);
    EXPECT_EQ(row.to == SS::kDone, does(row, SA::kReportDone)) << name_of(row.from);
    EXPECT_EQ(row.to == SS::kAborted, does(row, SA::kReportAborted)) << name_of(row.from);
  }
}

TEST(SourceTable, RewriteOut_HappensOnlyWhenDestinationIsActive) {
  for (const auto& row : source_transitions()) {
    if (does(row, SA::kRewriteOut)) {
      EXPECT_EQ(row.event, SE::kActive) << name_of(row.from);
    }
  }
}

TEST(SourceTable, Thaw_AfterHandover_NeedsAnswerOrClaim) {
  for (const auto& row : source_transitions()) {
    if (row.from < SS::kHandedOver || !does(row, SA::kThaw)) continue;
    const bool doubt = row.from == SS::kInDoubt && does(row, SA::kMintEpoch);
    const bool claimed =
        row.from == SS::kClaimed && row.event == SE::kCancel;  // it was thawed when it was claimed
    const bool refused = row.from == SS::kHandedOver && row.event == SE::kRefused;
    EXPECT_TRUE(row.event == SE::kRevoked || doubt || claimed || refused)
        << name_of(row.from) << " on " << name_of(row.event);
  }
}

TEST(SourceTable, Abort_AfterPrepared_Thaws) {
  for (const auto& row : source_transitions()) {
    if (row.to == SS::kAborted && row.from >= SS::kPrepared) {
      EXPECT_TRUE(does(row, SA::kThaw)) << name_of(row.from) << " on " << name_of(row.event);
    }
  }
}

TEST(SourceTable, LostConnection_EndsNoMoveThatIsPrepared) {
  for (const auto& row : source_transitions()) {
    if (row.event != SE::kConnectionLost || row.from < SS::kDetached) continue;
    EXPECT_NE(row.to, SS::kAborted) << name_of(row.from);
  }
}

TEST(SourceTable, Redirecting_HasNoWayBack) {
  for (const auto& row : source_transitions()) {
    if (row.from >= SS::kRedirecting && row.from < SS::kDone) {
      EXPECT_GE(row.to, SS::kRedirecting);
      EXPECT_NE(row.to, SS::kAborted);
      EXPECT_FALSE(does(row, SA::kThaw));
    }
  }
}

TEST(DestinationTable, HasOneRowPerStateAndEvent_AndReportsItsEnds) {
  std::set<std::pair<DS, DE>> seen;
  for (const auto& row : destination_transitions()) {
    EXPECT_TRUE(seen.emplace(row.from, row.event).second)
        << name_of(row.from) << " on " << name_of(row.event);
    EXPECT_NE(row.from, DS::kDone);
    EXPECT_NE(row.from, DS::kAborted);
    EXPECT_EQ(row.to == DS::kDone, does(row, DA::kReportDone)) << name_of(row.from);
    EXPECT_EQ(row.to == DS::kAborted, does(row, DA::kReportAborted)) << name_of(row.from);
  }
}

TEST(DestinationTable, RunningVm_LosesItsPolicyToNoEvent) {
  for (const auto& row : destination_transitions()) {
    if (row.from != DS::kRunning) continue;
    EXPECT_FALSE(does(row, DA::kDiscard)) << name_of(row.event);
    EXPECT_NE(row.to, DS::kAborted) << name_of(row.event);
  }
}

TEST(DestinationTable, Publish_NeedsHandoverAndRunningRings) {
  for (const auto& row : destination_transitions()) {
    if (!does(row, DA::kPublish)) continue;
    const bool rings_last = (row.from == DS::kHandedOver || row.from == DS::kOrphaned) &&
                            row.event == DE::kRingsRunning;
    const bool handover_last = row.from == DS::kRunning && row.event == DE::kHandover;
    // Three other reasons: the source cannot be asked while the rings run; the source answers that
    // the move is done; the journal says that the policy was in force.
    const bool claimed =
        row.from == DS::kStranded && row.event == DE::kHoldTimeout && does(row, DA::kClaimHandover);
    const bool done = row.from == DS::kStranded && row.event == DE::kDone;
    const bool restored = row.from == DS::kStranded && row.event == DE::kRestored;
    EXPECT_TRUE(rings_last || handover_last || claimed || done || restored)
        << name_of(row.from) << " on " << name_of(row.event);
  }
}

TEST(DestinationTable, Revoke_IsAnsweredByWhatIsPublished) {
  for (const auto& row : destination_transitions()) {
    if (row.event != DE::kRevoke) continue;
    const bool published = row.from == DS::kActive || row.from == DS::kOpen;
    EXPECT_EQ(does(row, DA::kSendActive), published) << name_of(row.from);
    EXPECT_EQ(does(row, DA::kSendRevoked), !published) << name_of(row.from);
    EXPECT_NE(row.to, published ? DS::kAborted : DS::kActive);
  }
}

TEST(SourceTable, JournalRecord_PrecedesDependentActions) {
  for (const auto& row : source_transitions()) {
    // From `prepared` on a handover may be on its way. A destination that has an offer may ask.
    if (row.to == SS::kPrepared && row.from < SS::kDetached) {
      EXPECT_TRUE(does(row, SA::kRecord));
    }
    if (row.to == SS::kOffered) {
      EXPECT_EQ(row.actions[0], SA::kRecord);
    }
    if (row.to == SS::kClaimed && row.from != SS::kClaimed) {
      const auto at = [&](SA action) {
        return std::ranges::find(row.actions, action) - row.actions.begin();
      };
      EXPECT_LT(at(SA::kMintEpoch), at(SA::kThaw));
    }
  }
}

TEST(DestinationTable, JournalRecord_PrecedesDependentActions) {
  for (const auto& row : destination_transitions()) {
    const auto at = [&](DA action) {
      return std::ranges::find(row.actions, action) - row.actions.begin();
    };
    if (does(row, DA::kSendPrepared) && row.from == DS::kOffered) {
      EXPECT_LT(at(DA::kRecord), at(DA::kSendPrepared));
    }
    if (row.to == DS::kActive && does(row, DA::kPublish)) {
      EXPECT_TRUE(does(row, DA::kRecord)) << name_of(row.from);
      EXPECT_LT(at(DA::kRecord), at(DA::kSendActive)) << name_of(row.from);
    }
    if (does(row, DA::kSendDoneAck)) {
      EXPECT_LT(at(DA::kReportDone), at(DA::kSendDoneAck)) << name_of(row.from);
    }
  }
}

TEST(DestinationTable, Doubt_IsAbortedOnlyBySourceOrOperator) {
  for (const auto& row : destination_transitions()) {
    if (row.from != DS::kStranded && row.from != DS::kOrphaned) continue;
    EXPECT_EQ(row.to == DS::kAborted, row.event == DE::kAbort || row.event == DE::kCancel)
        << name_of(row.event);
  }
}

TEST(DestinationTable, Published_IsNeverDiscarded) {
  for (const auto& row : destination_transitions()) {
    if (row.from == DS::kActive || row.from == DS::kOpen) {
      EXPECT_FALSE(does(row, DA::kDiscard));
    }
  }
}

// Two hosts and one VM. The VM may run at the source until it is stopped there and after it is
// resumed there, and at the destination after it was stopped at the source.
class World {
 public:
  explicit World(uint64_t seed) : rng_(seed) {}

  void run() {
    feed_source(SE::kConnected);
    for (int i = 0;
         i < 400 && !(source_.over() && (destination_.over() || destination_.state() == DS::kOpen));
         ++i) {
      turn();
      check();
    }
  }

  bool source_accepts = true, destination_accepts = false;
  bool vm_at_source = true, vm_at_destination = false;

 private:
  void turn() {
    switch (rng_() % 8) {
      case 0:
      case 1:
        if (connected_ && !to_destination_.empty()) {
          const DE event = to_destination_.front();
          to_destination_.pop_front();
          feed_destination(event);
        }
        break;
      case 2:
      case 3:
        if (connected_ && !to_source_.empty()) {
          const SE event = to_source_.front();
          to_source_.pop_front();
          feed_source(event);
        }
        break;
      case 4:
        if (vm_at_source && rng_() % 3 == 0) {
          vm_at_source = false;
          feed_source(SE::kStopped);
        }
        break;
      case 5:
        // QEMU resumes it at one of the two, never at both.
        if (!vm_at_source && !vm_at_destination) {
          if (rng_() % 4 == 0) {
            vm_at_source = true;
            feed_source(SE::kRunning);
          } else {
            vm_at_destination = true;
            feed_destination(DE::kRingsRunning);
          }
        }
        break;
      case 6:
        if (rng_() % 10 == 0) feed_source(SE::kCancel);
        if (rng_() % 20 == 0) lose_session();
        break;
      case 7:
        if (held_) {
          held_ = false;
          feed_source(SE::kHeld);
        } else if (rng_() % 4 == 0) {
          feed_source(rng_() % 2 == 0 ? SE::kProof : SE::kWindowTimeout);
        }
        break;
    }
  }
  void lose_session() {
    if (!connected_) return;
    connected_ = false;
    to_source_.clear();
    to_destination_.clear();
    feed_source(SE::kConnectionLost);
    feed_destination(DE::kConnectionLost);
  }
  void feed_source(SE event) {
    const auto* row = source_.step(event);
    if (row == nullptr) return;
    for (SA action : row->actions) {
      switch (action) {
        case SA::kSendOffer: to_destination_.push_back(DE::kStaged); break;
        case SA::kSendHandover: to_destination_.push_back(DE::kHandover); break;
        case SA::kSendRevoke: to_destination_.push_back(DE::kRevoke); break;
        case SA::kSendAbort: to_destination_.push_back(DE::kAbort); break;
        case SA::kSendBarrier: to_destination_.push_back(DE::kBarrier); break;
        case SA::kSendLastBarrier: to_destination_.push_back(DE::kBarrier); break;
        case SA::kSendDone: to_destination_.push_back(DE::kDone); break;
        case SA::kPark: source_accepts = false; break;
        case SA::kThaw: source_accepts = true; break;
        case SA::kRewriteOut:
          source_accepts = false;
          rewritten_ = true;
          break;
        case SA::kHold: held_ = true; break;
        case SA::kReconnect:
          connected_ = true;
          feed_destination(DE::kReconnected);
          feed_source(SE::kConnected);
          break;
        default: break;
      }
    }
  }
  void feed_destination(DE event) {
    const auto* row = destination_.step(event);
    if (row == nullptr) return;
    for (DA action : row->actions) {
      switch (action) {
        case DA::kSendPrepared: to_source_.push_back(SE::kPrepared); break;
        case DA::kSendRefused: to_source_.push_back(SE::kRefused); break;
        case DA::kSendActive: to_source_.push_back(SE::kActive); break;
        case DA::kSendRevoked: to_source_.push_back(SE::kRevoked); break;
        case DA::kSendBarrierAck: to_source_.push_back(SE::kBarrierAck); break;
        case DA::kSendDoneAck: to_source_.push_back(SE::kDoneAck); break;
        case DA::kPublish: destination_accepts = true; break;
        default: break;
      }
    }
  }
  void check() {
    // At most one host accepts the VM's packets. A source in doubt claims the VM only by time or
    // command, and this world does neither while the destination is active.
    ASSERT_FALSE(source_accepts && destination_accepts)
        << name_of(source_.state()) << " and " << name_of(destination_.state());
    if (destination_accepts) {
      ASSERT_TRUE(destination_.state() == DS::kActive || destination_.state() == DS::kOpen ||
                  destination_.state() == DS::kDone);
    }
    if (source_.state() == SS::kDone) {
      ASSERT_TRUE(rewritten_ && destination_accepts);
    }
    if (source_.state() == SS::kAborted) {
      ASSERT_TRUE(source_accepts && !rewritten_);
    }
  }

  std::mt19937_64 rng_;
  SourceMachine source_;
  DestinationMachine destination_;
  std::deque<SE> to_source_;
  std::deque<DE> to_destination_;
  bool connected_ = true, held_ = false, rewritten_ = false;
};

TEST(Machines, AnyOrderOfEvents_LeavesAtMostOneAcceptingHost) {
  const uint64_t first = std::random_device{}();
  for (uint64_t i = 0; i < 20000; ++i) {
    SCOPED_TRACE("seed " + std::to_string(first + i));
    World world(first + i);
    world.run();
    if (::testing::Test::HasFailure()) return;
  }
}

}  // namespace
}  // namespace godwit::migration
