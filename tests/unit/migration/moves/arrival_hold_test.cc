// SPDX-License-Identifier: Apache-2.0
#include "migration/moves/arrival_hold.h"

#include <gtest/gtest.h>

#include "tests/unit/migration/moves/moves_fixture.h"

namespace godwit::migration {
namespace {

constexpr uint64_t kLookMs = 5;

class ArrivalHoldTest : public MovesTest {
 protected:
  bool connected_ = true, over_ = false;
  uint32_t timeouts_ = 0;
  std::vector<bool> let_through_;  // each time: with the fence, or without
  Document document_ = document();
  RedirectReceiver receiver_{context_, "vm7", {[] {}, [] {}}};
  ArrivalHold hold_{context_,
                    document_,
                    receiver_,
                    {[this] { return connected_; }, [this] { return over_; },
                     [this] { ++timeouts_; }, [this] { let_through_.push_back(hold_.fenced()); }}};
};

TEST_F(ArrivalHoldTest, Hold_WithSession_EndsAfter50Looks) {
  hold_.begin();
  network_.advance_ms(49 * kLookMs);
  EXPECT_EQ(timeouts_, 0u);
  network_.advance_ms(kLookMs);
  EXPECT_EQ(timeouts_, 1u);
}

TEST_F(ArrivalHoldTest, Hold_WithoutSession_EndsAfter10Looks) {
  connected_ = false;
  hold_.begin();
  network_.advance_ms(9 * kLookMs);
  EXPECT_EQ(timeouts_, 0u);
  network_.advance_ms(kLookMs);
  EXPECT_EQ(timeouts_, 1u);
}

TEST_F(ArrivalHoldTest, Hold_WithHalfFullPark_EndsAtNextLook) {
  hold_.begin();
  switch_.gate.waiting = context_.options.ahead.packets / 2;
  network_.advance_ms(kLookMs);
  EXPECT_EQ(timeouts_, 1u);
}

TEST_F(ArrivalHoldTest, Hold_Cancelled_DoesNotEnd) {
  hold_.begin();
  hold_.cancel();
  network_.advance_ms(1000);
  EXPECT_EQ(timeouts_, 0u);
}

TEST_F(ArrivalHoldTest, Release_BeforeLastBarrier_SetsFence) {
  hold_.release();
  EXPECT_TRUE(hold_.fenced());
  EXPECT_EQ(let_through_, (std::vector<bool>{true}));
}

TEST_F(ArrivalHoldTest, Release_AfterLastBarrier_SetsNoFence) {
  receiver_.open();
  receiver_.take_barrier(2);
  hold_.release();
  EXPECT_EQ(let_through_, (std::vector<bool>{false}));
}

TEST_F(ArrivalHoldTest, Release_WithoutSession_SetsNoFence) {
  connected_ = false;
  hold_.release();
  EXPECT_EQ(let_through_, (std::vector<bool>{false}));
}

TEST_F(ArrivalHoldTest, Fence_WithNothingWaiting_StaysUp) {
  hold_.release();
  network_.advance_ms(1000);
  EXPECT_TRUE(hold_.fenced());
}

TEST_F(ArrivalHoldTest, Fence_WithQuietSession_LiftsAfter10Looks) {
  hold_.release();
  switch_.gate.waiting = 1;
  network_.advance_ms(9 * kLookMs);
  EXPECT_TRUE(hold_.fenced());
  network_.advance_ms(kLookMs);
  EXPECT_FALSE(hold_.fenced());
  EXPECT_EQ(let_through_, (std::vector<bool>{true, false}));
}

TEST_F(ArrivalHoldTest, Fence_WithBusySession_LiftsAfter50Looks) {
  receiver_.open();
  hold_.release();
  switch_.gate.waiting = 1;
  uint64_t number = 0;
  for (int look = 0; look < 49; ++look) {
    wire::Redirect batch;
    batch.set_first(number++);
    to_wire(frame(1), "vm7/net0", *batch.add_frames());
    ASSERT_TRUE(receiver_.take(batch));
    network_.advance_ms(kLookMs);
  }
  EXPECT_TRUE(hold_.fenced());
  network_.advance_ms(kLookMs);
  EXPECT_FALSE(hold_.fenced());
}

TEST_F(ArrivalHoldTest, Fence_LiftedAfterMoveIsOver_ChangesNoLocation) {
  hold_.release();
  over_ = true;
  hold_.lift();
  EXPECT_FALSE(hold_.fenced());
  EXPECT_EQ(let_through_.size(), 1u);
}

}  // namespace
}  // namespace godwit::migration
