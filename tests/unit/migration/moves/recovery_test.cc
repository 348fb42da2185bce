// SPDX-License-Identifier: Apache-2.0
//
// Journals that cannot be written, rules that change early, messages that come late.
#include <gtest/gtest.h>

#include "tests/unit/migration/moves/recovery_fixture.h"

namespace godwit::migration {
namespace {

TEST_F(RecoveryTest, RestartWithoutMove_KeepsEverything) { expect_owner_for_good(a_); }

TEST_F(RecoveryTest, FullDisk_AtStart_RefusesMoveAndChangesNothing) {
  for (Host* full : {&a_, &b_}) {
    const std::string a = a_.sw->picture(), b = b_.sw->picture();
    full->full = true;
    begin();
    ASSERT_TRUE(until([&] { return over(a_) && over(b_); })) << log_;
    EXPECT_NE(a_.engine->status("vm7").back().error.find("disk is full"), std::string::npos)
        << a_.engine->status("vm7").back().error;
    EXPECT_EQ(a_.sw->picture(), a);
    EXPECT_EQ(b_.sw->picture(), b);
    full->full = false;
    wait(20);
  }
  expect_owner_for_good(a_);
}

TEST_F(RecoveryTest, FullDisk_DuringMove_DoesNotStopMoveAndIsWrittenLater) {
  begin();
  ASSERT_TRUE(until([&] { return state(a_) == "prepared"; }));
  a_.full = b_.full = true;
  run_at(nullptr);
  ASSERT_TRUE(until([&] { return state(b_) == "handed-over"; })) << log_;
  run_at(&b_);
  ASSERT_TRUE(until([&] { return over(a_) && over(b_); }, 10000)) << log_;
  EXPECT_TRUE(a_.journal->waiting() && b_.journal->waiting());
  EXPECT_NE(log_.find("disk is full"), std::string::npos);
  // Killed now, each would ask the other; one of them has written.
  a_.full = b_.full = false;
  ASSERT_TRUE(until([&] { return !a_.journal->waiting() && !b_.journal->waiting(); })) << log_;
  expect_owner_for_good(b_);
}

TEST_F(RecoveryTest, RuleCreatedWhileConnecting_IsMovedToo) {
  begin();
  a_.sw->rule("vm7/net0", "ingress priority 3 pattern eth / ipv4 / end actions count / end");
  digest_ = a_.engine->export_vm("vm7")->digest;
  keep_policy(a_);
  ASSERT_TRUE(until([&] { return state(a_) == "prepared"; })) << log_;
  run_at(nullptr);
  ASSERT_TRUE(until([&] { return state(b_) == "handed-over"; })) << log_;
  run_at(&b_);
  ASSERT_TRUE(until([&] { return over(a_) && over(b_); }, 10000)) << log_;
  expect_owner_for_good(b_);
}

// A peer that sends one message of an old move.
class LateSender {
 public:
  LateSender(asio::io_context& io, const std::string& host, uint16_t port)
      : network_(io), host_(host), port_(port) {}
  void send(wire::Envelope message) {
    network_.connect("127.0.0.1:" + std::to_string(port_),
                     [this, message](Result<std::shared_ptr<PeerSession>> session) {
                       ASSERT_TRUE(session);
                       session_ = *session;
                       session_->start(
                           [this, message](wire::Envelope& in) {
                             if (in.has_hello()) return session_->send(message);
                             answers.push_back(in);
                           },
                           [](const std::string&) {});
                       wire::Envelope hello;
                       *hello.mutable_hello() = make_hello(host_);
                       session_->send(hello);
                     });
  }
  std::vector<wire::Envelope> answers;

 private:
  AsioNetwork network_;
  std::string host_;
  uint16_t port_;
  std::shared_ptr<PeerSession> session_;
};

TEST_F(RecoveryTest, LateCleanup_AfterVmCameBack_IsRefusedByEpochWithLog) {
  const auto move = [&](Host& from, Host& to) {
    auto id = from.engine->start("vm7", to.name);
    ASSERT_TRUE(id) << id.error().message;
    ASSERT_TRUE(until([&] { return state(from) == "prepared"; })) << log_;
    run_at(nullptr);
    ASSERT_TRUE(until([&] { return state(to) == "handed-over"; })) << log_;
    run_at(&to);
    ASSERT_TRUE(until([&] { return over(from) && over(to); }, 10000)) << log_;
    if (id_.empty()) id_ = *id;
  };
  move(a_, b_);
  move(b_, a_);
  move(a_, b_);
  expect_owner(b_);
  for (const bool done : {true, false}) {
    LateSender sender(io_, "host-a", ports_["host-b"]);
    wire::Envelope late;
    late.set_vm("vm7");
    late.set_move(id_);
    to_wire(Epoch{1, "host-b"}, *late.mutable_epoch());
    if (done) {
      late.mutable_done();
    } else {
      late.mutable_revoke();
    }
    sender.send(late);
    wait(50);
    if (!done) {
      ASSERT_EQ(sender.answers.size(), 1u) << log_;
      EXPECT_TRUE(sender.answers[0].has_active()) << "the move was done";
    }
  }
  EXPECT_NE(log_.find("done by epoch (1, host-b) is not acted upon: here it is (3, host-b)"),
            std::string::npos)
      << log_;
  expect_owner_for_good(b_);
}

}  // namespace
}  // namespace godwit::migration
