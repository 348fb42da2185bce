// SPDX-License-Identifier: Apache-2.0
//
// The source is killed.
#include <gtest/gtest.h>

#include "tests/unit/migration/moves/recovery_fixture.h"

namespace godwit::migration {
namespace {

TEST_F(RecoveryTest, Source_KilledBeforePrepared_KeepsVm) {
  begin();
  kill(a_);
  restart(a_);
  ASSERT_TRUE(until([&] { return over(a_) && over(b_); })) << log_;
  expect_owner_for_good(a_);
}

TEST_F(RecoveryTest, Source_KilledInPrepared_ResumesMove) {
  begin();
  ASSERT_TRUE(until([&] { return state(a_) == "prepared"; }));
  kill(a_);
  restart(a_);
  ASSERT_TRUE(until([&] { return state(a_) == "prepared" && state(b_) == "prepared"; })) << log_;
  EXPECT_EQ(a_.sw->store.find("vm7/net0")->location.kind, LocationKind::kPort);
  EXPECT_TRUE(a_.sw->store.find("vm7/net0")->active);
  // The move continues.
  run_at(nullptr);
  ASSERT_TRUE(until([&] { return state(b_) == "handed-over"; })) << log_;
  run_at(&b_);
  ASSERT_TRUE(until([&] { return over(a_) && over(b_); })) << log_;
  expect_owner_for_good(b_);
}

TEST_F(RecoveryTest, Source_KilledInPreparedWithPeerDown_ClaimsVmByNewerEpoch) {
  begin();
  ASSERT_TRUE(until([&] { return state(a_) == "prepared"; }));
  kill(a_);
  kill(b_);
  restart(a_);
  wait(50);
  EXPECT_EQ(state(a_), "in-doubt");
  EXPECT_NE(a_.engine->status("vm7").back().doubt.find("host-b"), std::string::npos);
  ASSERT_TRUE(until([&] { return state(a_) == "claimed"; })) << log_;
  EXPECT_EQ(a_.sw->store.find("vm7/net0")->location.kind, LocationKind::kPort);
  EXPECT_EQ(a_.disk->epochs["vm7"], (Epoch{2, "host-a"}));
  restart(b_);
  ASSERT_TRUE(until([&] { return over(a_) && over(b_); })) << log_;
  expect_owner_for_good(a_);
}

class KilledSource : public RecoveryTest, public ::testing::WithParamInterface<const char*> {};
// Parameter: the source's state when it is killed. The VM runs at the destination by then, or
// starts to while the source is down.
TEST_P(KilledSource, AfterHandover_MoveIsFinished) {
  begin();
  ASSERT_TRUE(until([&] { return state(a_) == "prepared"; }));
  run_at(nullptr);
  ASSERT_TRUE(until([&] { return state(b_) == "handed-over"; })) << log_;
  const std::string when = GetParam();
  if (when != "handed-over") {
    run_at(&b_);
    ASSERT_TRUE(until([&] { return state(a_) == when; })) << log_;
  }
  kill(a_);
  if (when == "handed-over") run_at(&b_);
  wait(30);
  EXPECT_EQ(b_.sw->store.find("vm7/net0")->location.kind, LocationKind::kPort)
      << "it does not wait for the source\n"
      << log_;
  restart(a_);
  ASSERT_TRUE(until([&] { return over(a_) && over(b_); }, 10000)) << log_;
  expect_owner_for_good(b_);
}
INSTANTIATE_TEST_SUITE_P(In, KilledSource,
                         ::testing::Values("handed-over", "redirecting", "window"));

TEST_F(RecoveryTest, Source_ThatClaimedVmRunningAtPeer_Yields) {
  ASSERT_NO_FATAL_FAILURE(run_there());
  kill(b_);
  kill(a_);
  restart(a_);
  ASSERT_TRUE(until([&] { return state(a_) == "in-doubt"; }));
  (void)a_.engine->cancel("vm7");  // the operator believes that the peer will not come back
  ASSERT_TRUE(until([&] { return state(a_) == "claimed"; })) << log_;
  restart(b_);
  ASSERT_TRUE(until([&] { return over(a_) && over(b_); }, 10000)) << log_;
  expect_owner_for_good(b_);
  EXPECT_GT(b_.disk->epochs["vm7"], (Epoch{2, "host-a"}));
}

TEST_F(RecoveryTest, Source_Restarted_SendsFramesInNewStream) {
  begin();
  ASSERT_TRUE(until([&] { return state(a_) == "prepared"; }));
  run_at(nullptr);
  const auto redirect = [&](uint8_t tag) {
    dataplane::Frame frame;
    frame.endpoint = a_.sw->store.find("vm7/net0")->id;
    frame.bytes.assign(60, tag);
    a_.sw->gate.redirected.push_back(frame);
  };
  for (uint8_t tag = 0; tag < 5; ++tag) redirect(tag);
  ASSERT_TRUE(until([&] { return state(b_) == "handed-over"; })) << log_;
  run_at(&b_);
  ASSERT_TRUE(until([&] { return b_.sw->gate.injected.size() == 5; })) << log_;
  kill(a_);
  restart(a_);
  ASSERT_TRUE(until([&] { return state(a_) == "redirecting"; })) << log_;
  redirect(9);
  ASSERT_TRUE(until([&] { return b_.sw->gate.injected.size() == 6; })) << log_;
  EXPECT_EQ(b_.sw->gate.injected.back().bytes[0], 9);
  ASSERT_TRUE(until([&] { return over(a_) && over(b_); }, 10000)) << log_;
  expect_owner_for_good(b_);
}

TEST_F(RecoveryTest, Source_ThatAborted_GivesWayToPeerThatClaimedVm) {
  begin();
  ASSERT_TRUE(until([&] { return state(a_) == "prepared"; }));
  a_.full = true;  // that it aborts is not written
  kill(b_);
  ASSERT_TRUE(until([&] { return state(a_) == "detached"; })) << log_;
  ASSERT_TRUE(a_.engine->cancel("vm7"));
  ASSERT_TRUE(until([&] { return state(a_) == "aborted"; })) << log_;
  a_.full = false;
  kill(a_);
  restart(b_);
  run_at(nullptr);
  run_at(&b_);
  ASSERT_TRUE(until([&] { return b_.sw->store.find("vm7/net0")->active; })) << log_;
  restart(a_);
  ASSERT_TRUE(until([&] { return over(a_) && over(b_); }, 10000)) << log_;
  expect_owner_for_good(b_);
}

}  // namespace
}  // namespace godwit::migration
