// SPDX-License-Identifier: Apache-2.0
#include "migration/moves/redirect_receiver.h"

#include <gtest/gtest.h>

#include "tests/unit/migration/moves/moves_fixture.h"

namespace godwit::migration {
namespace {

MigrationOptions with_ahead(uint32_t packets) {
  MigrationOptions options;
  options.ahead.packets = packets;
  return options;
}

class RedirectReceiverTest : public MovesTest {
 protected:
  RedirectReceiverTest() : MovesTest(with_ahead(4)) {}

  wire::Redirect batch(uint64_t first, std::initializer_list<uint8_t> tags,
                       const std::string& endpoint = "vm7/net0") const {
    wire::Redirect out;
    out.set_first(first);
    for (const uint8_t tag : tags) to_wire(frame(tag), endpoint, *out.add_frames());
    return out;
  }
  std::vector<int> injected() const {
    std::vector<int> tags;
    for (const auto& frame : switch_.gate.injected) tags.push_back(frame.bytes[0]);
    return tags;
  }

  std::vector<uint32_t> barriers_;
  RedirectReceiver receiver_{
      context_, "vm7", {[this] { barriers_.push_back(receiver_.barrier()); }, [] {}}};
};

TEST_F(RedirectReceiverTest, Closed_KeepsFramesUntilOpened) {
  ASSERT_TRUE(receiver_.take(batch(0, {1, 2})));
  EXPECT_TRUE(injected().empty());
  EXPECT_EQ(receiver_.next_number(), 2u);
  receiver_.open();
  EXPECT_EQ(injected(), (std::vector<int>{1, 2}));
  EXPECT_EQ(receiver_.redirected(), 2u);
}

TEST_F(RedirectReceiverTest, Closed_BeyondLimit_LeavesFramesToSource) {
  ASSERT_TRUE(receiver_.take(batch(0, {1, 2, 3, 4, 5, 6})));
  EXPECT_EQ(receiver_.next_number(), 4u) << "the source sends the others again";
  receiver_.open();
  ASSERT_TRUE(receiver_.take(batch(4, {5, 6})));
  EXPECT_EQ(injected(), (std::vector<int>{1, 2, 3, 4, 5, 6}));
}

TEST_F(RedirectReceiverTest, ForgetAhead_ExpectsFrameZeroAgain) {
  ASSERT_TRUE(receiver_.take(batch(0, {1, 2})));
  receiver_.forget_ahead();
  ASSERT_TRUE(receiver_.take(batch(0, {3})));
  receiver_.open();
  EXPECT_EQ(injected(), (std::vector<int>{3}));
}

TEST_F(RedirectReceiverTest, Open_DropsCopiesOfEarlierFrames) {
  receiver_.open();
  ASSERT_TRUE(receiver_.take(batch(0, {1, 2})));
  ASSERT_TRUE(receiver_.take(batch(1, {2, 3})));
  EXPECT_EQ(injected(), (std::vector<int>{1, 2, 3}));
}

TEST_F(RedirectReceiverTest, AnotherStream_StartsAtZero) {
  receiver_.set_stream(7);
  receiver_.open();
  ASSERT_TRUE(receiver_.take(batch(0, {1, 2})));
  receiver_.set_stream(7);
  EXPECT_EQ(receiver_.next_number(), 2u);
  receiver_.set_stream(8);
  ASSERT_TRUE(receiver_.take(batch(0, {3})));
  EXPECT_EQ(injected(), (std::vector<int>{1, 2, 3}));
}

TEST_F(RedirectReceiverTest, FrameOfAnotherVm_Fails) {
  switch_.vm("vm8/net0", "02:00:00:00:00:08");
  receiver_.open();
  EXPECT_FALSE(receiver_.take(batch(0, {1}, "vm8/net0")));
  EXPECT_FALSE(receiver_.take(batch(0, {1}, "unknown/net0")));
  EXPECT_TRUE(injected().empty());
}

TEST_F(RedirectReceiverTest, FullRing_IsTriedAgain) {
  receiver_.open();
  switch_.gate.inject_room = 1;
  ASSERT_TRUE(receiver_.take(batch(0, {1, 2})));
  EXPECT_FALSE(receiver_.empty());
  switch_.gate.inject_room = 10;
  network_.advance_ms(1);
  EXPECT_EQ(injected(), (std::vector<int>{1, 2}));
  EXPECT_TRUE(receiver_.empty());
}

TEST_F(RedirectReceiverTest, Barrier_IsReportedAfterTheFramesBeforeIt) {
  receiver_.open();
  switch_.gate.inject_room = 0;
  ASSERT_TRUE(receiver_.take(batch(0, {1})));
  receiver_.take_barrier(1);
  network_.advance_ms(5);
  EXPECT_TRUE(barriers_.empty());
  switch_.gate.inject_room = 1;
  network_.advance_ms(1);
  EXPECT_EQ(barriers_, (std::vector<uint32_t>{1}));
}

TEST_F(RedirectReceiverTest, Close_DropsWaitingFrames) {
  receiver_.open();
  switch_.gate.inject_room = 0;
  ASSERT_TRUE(receiver_.take(batch(0, {1, 2})));
  receiver_.close();
  EXPECT_TRUE(receiver_.empty());
  EXPECT_EQ(switch_.gate.drops[dataplane::Drop::k_redirect_closed], 2u);
}

}  // namespace
}  // namespace godwit::migration
