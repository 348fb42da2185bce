// SPDX-License-Identifier: Apache-2.0
//
// The destination is killed, or loses its source.
#include <gtest/gtest.h>

#include "tests/unit/migration/moves/recovery_fixture.h"

namespace godwit::migration {
namespace {

TEST_F(RecoveryTest, Destination_KilledInPrepared_LearnsThatMoveWasAborted) {
  begin();
  ASSERT_TRUE(until([&] { return state(a_) == "prepared"; }));
  EXPECT_EQ(b_.disk->moves.size(), 1u);
  kill(b_);
  ASSERT_TRUE(until([&] { return state(a_) == "detached"; })) << log_;
  ASSERT_TRUE(a_.engine->cancel("vm7"));
  ASSERT_TRUE(until([&] { return state(a_) == "aborted"; })) << log_;
  restart(b_);
  ASSERT_TRUE(until([&] { return over(b_); })) << log_;
  expect_owner_for_good(a_);
}

TEST_F(RecoveryTest, Destination_KilledInPrepared_GoesOnWithRulesMadeMeanwhile) {
  begin();
  ASSERT_TRUE(until([&] { return state(a_) == "prepared"; }));
  kill(b_);
  ASSERT_TRUE(until([&] { return state(a_) == "detached"; })) << log_;
  a_.sw->rule("vm7/net0", "ingress priority 3 pattern eth / ipv4 / end actions count / end");
  digest_ = a_.engine->export_vm("vm7")->digest;
  keep_policy(a_);
  restart(b_);
  ASSERT_TRUE(until([&] { return state(a_) == "prepared" && state(b_) == "prepared"; })) << log_;
  kill(b_);  // what was offered again is in its journal
  restart(b_);
  run_at(nullptr);
  ASSERT_TRUE(until([&] { return state(b_) == "handed-over"; })) << log_;
  run_at(&b_);
  ASSERT_TRUE(until([&] { return over(a_) && over(b_); }, 10000)) << log_;
  EXPECT_EQ(log_.find("resend"), std::string::npos) << log_;
  expect_owner_for_good(b_);
}

// A source that offers, hangs up, and says that the move is done would publish a VM of its making.
TEST_F(RecoveryTest, Done_WithoutRingsOrHandover_PublishesNothing) {
  begin();
  ASSERT_TRUE(until([&] { return state(a_) == "prepared"; }));
  kill(a_);
  AsioNetwork liar(io_);
  std::vector<std::shared_ptr<PeerSession>> sessions;
  unsigned answered = 0;
  ASSERT_TRUE(liar.listen("127.0.0.1:" + std::to_string(ports_["host-a"]),
                          [&](std::shared_ptr<PeerSession> session) {
                            sessions.push_back(session);
                            session->start(
                                [&answered, to = session.get()](wire::Envelope& in) {
                                  wire::Envelope out;
                                  if (in.has_hello()) *out.mutable_hello() = make_hello("host-a");
                                  if (in.has_ask()) {
                                    out.set_vm(in.vm());
                                    out.set_move(in.move());
                                    to_wire(Epoch{1, "host-b"}, *out.mutable_epoch());
                                    out.mutable_done();
                                    ++answered;
                                  }
                                  to->send(out);
                                },
                                [](const std::string&) {});
                          }));
  ASSERT_TRUE(until([&] { return answered >= 2; }, 10000)) << log_;
  EXPECT_EQ(state(b_), "orphaned") << log_;
  EXPECT_FALSE(b_.sw->store.find("vm7/net0")->active);
  run_at(&b_);
  EXPECT_TRUE(until([&] { return b_.sw->store.find("vm7/net0")->active; })) << log_;
  liar.stop_listening();
}

// The source has no state directory, or an older copy of it.
TEST_F(RecoveryTest, Source_ThatLostItsState_DoesNotTakeRunningVm) {
  begin();
  ASSERT_TRUE(until([&] { return state(a_) == "prepared"; }));
  kill(a_);
  a_.disk->moves.clear();
  ASSERT_TRUE(until([&] { return state(b_) == "stranded"; })) << log_;
  run_at(nullptr);
  run_at(&b_);
  restart(a_);
  ASSERT_TRUE(until([&] { return b_.sw->store.find("vm7/net0")->active; }, 10000)) << log_;
  EXPECT_NE(log_.find("names a move that is not known here"), std::string::npos) << log_;
  EXPECT_EQ(b_.engine->export_vm("vm7")->digest, digest_);
}

class KilledDestination : public RecoveryTest,
                          public ::testing::WithParamInterface<std::pair<const char*, bool>> {};
// Parameters: the destination's state when it is killed, and whether the VM resumes at the source.
TEST_P(KilledDestination, AfterHandover_VmIsWhereItRuns) {
  const auto [when, back] = GetParam();
  begin();
  ASSERT_TRUE(until([&] { return state(a_) == "prepared"; }));
  a_.sw->rule("vm7/net0",
              "ingress priority 3 pattern eth / ipv4 / end actions count / end");  // a delta
  digest_ = a_.engine->export_vm("vm7")->digest;
  keep_policy(a_);
  wait(20);
  run_at(nullptr);
  ASSERT_TRUE(until([&] { return state(b_) == "handed-over"; })) << log_;
  if (std::string(when) != "handed-over") {
    run_at(&b_);
    ASSERT_TRUE(until([&] { return state(b_) == when; })) << log_;
  }
  kill(b_);
  if (std::string(when) == "handed-over") run_at(back ? &a_ : &b_);
  wait(30);
  restart(b_);
  if (back) {
    ASSERT_TRUE(until([&] { return state(a_) == "prepared" && state(b_) == "prepared"; })) << log_;
    ASSERT_TRUE(a_.engine->cancel("vm7"));
  }
  ASSERT_TRUE(until([&] { return over(a_) && over(b_); }, 10000)) << log_;
  expect_owner_for_good(back ? a_ : b_);
}
INSTANTIATE_TEST_SUITE_P(In, KilledDestination,
                         ::testing::Values(std::pair("handed-over", false),
                                           std::pair("handed-over", true),
                                           std::pair("active", false), std::pair("open", false)));

TEST_F(RecoveryTest, Destination_WithSourceDownAndVmRunning_ClaimsVm) {
  begin();
  ASSERT_TRUE(until([&] { return state(a_) == "prepared"; }));
  kill(a_);  // before it could hand over
  run_at(&b_);
  ASSERT_TRUE(until([&] { return state(b_) == "stranded"; })) << log_;
  EXPECT_NE(b_.engine->status("vm7").back().doubt.find("host-a"), std::string::npos);
  ASSERT_TRUE(until([&] { return b_.sw->store.find("vm7/net0")->active; })) << log_;
  EXPECT_EQ(b_.disk->epochs["vm7"], (Epoch{1, "host-b"}));
  restart(a_);
  ASSERT_TRUE(until([&] { return over(a_) && over(b_); }, 10000)) << log_;
  expect_owner_for_good(b_);
}

TEST_F(RecoveryTest, Destination_KilledWithoutActiveRecord_LearnsFromSourceThatMoveIsDone) {
  begin();
  ASSERT_TRUE(until([&] { return state(a_) == "prepared"; }));
  b_.full = true;
  run_at(nullptr);
  ASSERT_TRUE(until([&] { return state(b_) == "handed-over"; })) << log_;
  run_at(&b_);
  ASSERT_TRUE(until([&] { return over(a_); }, 10000)) << log_;
  kill(b_);
  b_.full = false;
  restart(b_);
  ASSERT_TRUE(until([&] { return over(b_); })) << log_;
  expect_owner_for_good(b_);
}

TEST_F(RecoveryTest, Destination_KilledWithOpenWindow_KeepsChangedRules) {
  ASSERT_NO_FATAL_FAILURE(run_there());
  const RuleId made =
      b_.sw->rule("vm7/net0", "ingress priority 4 pattern eth / ipv4 / end actions drop / end");
  JournalBatch batch;  // as control does
  const auto* endpoint = b_.sw->store.find("vm7/net0");
  batch.created.push_back(stored_rule(b_.sw->store, *b_.sw->store.rule(endpoint->id, made)));
  ASSERT_TRUE(b_.journal->write(batch));
  digest_ = b_.engine->export_vm("vm7")->digest;
  kill(b_);
  restart(b_);
  ASSERT_TRUE(until([&] { return over(a_) && over(b_); }, 10000)) << log_;
  expect_owner_for_good(b_);
}

}  // namespace
}  // namespace godwit::migration
