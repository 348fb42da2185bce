// SPDX-License-Identifier: Apache-2.0
#include "migration/moves/redirect_sender.h"

#include <gtest/gtest.h>

#include "tests/unit/migration/moves/moves_fixture.h"

namespace godwit::migration {
namespace {

MigrationOptions with_ahead(uint32_t packets) {
  MigrationOptions options;
  options.ahead.packets = packets;
  return options;
}

class RedirectSenderTest : public MovesTest {
 protected:
  RedirectSenderTest() : MovesTest(with_ahead(4)) {
    link_.connect(owner_);
    session_ = network_.accept();
    session_->sent.clear();  // the hello
  }
  // The numbers of all frames that were sent, in order.
  std::vector<uint64_t> sent_numbers() const {
    std::vector<uint64_t> numbers;
    for (const wire::Envelope& message : session_->sent) {
      for (int i = 0; i < message.redirect().frames_size(); ++i)
        numbers.push_back(message.redirect().first() + static_cast<uint64_t>(i));
    }
    return numbers;
  }
  std::vector<uint32_t> sent_barriers() const {
    std::vector<uint32_t> numbers;
    for (const wire::Envelope& message : session_->sent) {
      if (message.has_barrier()) numbers.push_back(message.barrier().number());
    }
    return numbers;
  }
  void redirect(std::initializer_list<uint8_t> tags) {
    for (const uint8_t tag : tags) sender_.redirect(frame(tag));
    sender_.flush();
  }

  using Mode = RedirectSender::Mode;
  std::shared_ptr<int> owner_ = std::make_shared<int>(0);
  Mode mode_ = Mode::kKeep;
  bool drained_ = false;
  uint32_t full_ = 0;
  PeerLink link_{network_,
                 clock_,
                 {"host-a", "host-b", "10.0.0.2:7000"},
                 {[] { return true; }, [] { return wire::Envelope(); }, [](const wire::Hello&) {},
                  [](wire::Envelope&) {}, [](PeerLink::Loss, const std::string&) {}}};
  RedirectSender sender_{context_,
                         link_,
                         {[this] { return mode_; }, [] { return wire::Envelope(); },
                          [this] { ++full_; }, [this] { return drained_; }, [] { return 40u; }}};
  std::shared_ptr<FakeSession> session_;
};

TEST_F(RedirectSenderTest, Keep_SendsNothing) {
  redirect({1, 2});
  EXPECT_TRUE(session_->sent.empty());
  EXPECT_TRUE(sender_.keeps_any());
}

TEST_F(RedirectSenderTest, Ahead_SendsAndKeepsCopies) {
  redirect({1});
  mode_ = Mode::kAhead;
  sender_.send_ahead();
  redirect({2, 3});
  EXPECT_EQ(sent_numbers(), (std::vector<uint64_t>{0, 1, 2}));
  EXPECT_TRUE(sender_.give_back());
  ASSERT_EQ(switch_.gate.injected.size(), 3u);
  for (uint8_t i = 0; i < 3; ++i) EXPECT_EQ(switch_.gate.injected[i].bytes[0], i + 1);
}

TEST_F(RedirectSenderTest, Ahead_BeyondLimit_ReportsFull) {
  mode_ = Mode::kAhead;
  redirect({1, 2, 3});
  EXPECT_EQ(full_, 0u);
  redirect({4, 5});
  EXPECT_EQ(full_, 2u);
  EXPECT_TRUE(sender_.full());
}

TEST_F(RedirectSenderTest, Rest_OmitsFramesThatPeerHolds) {
  mode_ = Mode::kAhead;
  redirect({1, 2, 3});
  session_->sent.clear();
  mode_ = Mode::kThrough;
  sender_.set_held_by_peer(2);
  EXPECT_EQ(sender_.send_rest(), 3u);
  EXPECT_EQ(sent_numbers(), (std::vector<uint64_t>{2}));
  EXPECT_FALSE(sender_.keeps_any());
  redirect({4});
  EXPECT_EQ(sent_numbers(), (std::vector<uint64_t>{2, 3}));
}

TEST_F(RedirectSenderTest, Rest_WithPeerThatTakesNoFrames_IsDropped) {
  redirect({1, 2});
  mode_ = Mode::kThrough;
  sender_.set_held_by_peer(kTakesNoFrames);
  sender_.send_rest();
  EXPECT_TRUE(session_->sent.empty());
  EXPECT_EQ(switch_.gate.drops[dataplane::Drop::k_redirect_closed], 2u);
}

TEST_F(RedirectSenderTest, Through_WithoutSession_DropsFrames) {
  mode_ = Mode::kThrough;
  link_.close("gone");
  redirect({1});
  EXPECT_EQ(switch_.gate.drops[dataplane::Drop::k_redirect_closed], 1u);
}

TEST_F(RedirectSenderTest, Through_WithSessionLostBeforeFlush_DropsBatch) {
  mode_ = Mode::kThrough;
  sender_.redirect(frame(1));
  link_.close("gone");
  sender_.flush();
  EXPECT_EQ(switch_.gate.drops[dataplane::Drop::k_redirect_closed], 1u);
}

TEST_F(RedirectSenderTest, Closed_WithSession_DropsFramesAndCountsThem) {
  mode_ = Mode::kClosed;
  redirect({1, 2});
  EXPECT_TRUE(session_->sent.empty()) << "the destination takes nothing behind `done`";
  EXPECT_FALSE(sender_.keeps_any());
  EXPECT_EQ(switch_.gate.drops[dataplane::Drop::k_redirect_closed], 2u);
}

TEST_F(RedirectSenderTest, GiveBack_WithFullRing_KeepsTheRest) {
  redirect({1, 2, 3});
  switch_.gate.inject_room = 2;
  EXPECT_FALSE(sender_.give_back());
  switch_.gate.inject_room = 2;
  EXPECT_TRUE(sender_.give_back());
  EXPECT_EQ(switch_.gate.injected.size(), 3u);
}

TEST_F(RedirectSenderTest, FirstBarrier_WaitsUntilBacklogIsDrained) {
  mode_ = Mode::kThrough;
  sender_.send_barrier(1);
  network_.advance_ms(20);
  EXPECT_TRUE(sent_barriers().empty());
  sender_.redirect(frame(1));
  drained_ = true;
  network_.advance_ms(1);
  ASSERT_EQ(session_->sent.size(), 2u);
  EXPECT_TRUE(session_->sent[0].has_redirect()) << "the barrier follows the frames before it";
  EXPECT_EQ(sent_barriers(), (std::vector<uint32_t>{1}));
  EXPECT_EQ(sender_.barrier(), 1u);
}

TEST_F(RedirectSenderTest, FirstBarrier_AfterMostLooks_IsSentWithoutWaitingFurther) {
  mode_ = Mode::kThrough;
  sender_.send_barrier(1);
  network_.advance_ms(39);
  EXPECT_TRUE(sent_barriers().empty());
  network_.advance_ms(1);
  EXPECT_EQ(sent_barriers(), (std::vector<uint32_t>{1}));
}

TEST_F(RedirectSenderTest, LastBarrier_OvertakesWaitingFirstBarrier) {
  mode_ = Mode::kThrough;
  sender_.send_barrier(1);
  sender_.send_barrier(2);
  drained_ = true;
  network_.advance_ms(100);
  EXPECT_EQ(sent_barriers(), (std::vector<uint32_t>{2}));
}

TEST_F(RedirectSenderTest, CanTake_WithCrowdedSession_IsFalse) {
  EXPECT_TRUE(sender_.can_take());
  session_->queued = 64u << 20;
  EXPECT_FALSE(sender_.can_take());
  link_.drop();
  EXPECT_TRUE(sender_.can_take()) << "without a session nothing has to wait for it";
}

}  // namespace
}  // namespace godwit::migration
