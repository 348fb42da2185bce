// SPDX-License-Identifier: Apache-2.0
#include "migration/link/peer_link.h"

#include <gtest/gtest.h>

#include "tests/unit/migration/moves/moves_fixture.h"

namespace godwit::migration {
namespace {

class PeerLinkTest : public ::testing::Test {
 protected:
  void connect() { link_.connect(owner_); }

  ManualClock clock_;
  FakeNetwork network_{clock_};
  std::shared_ptr<int> owner_ = std::make_shared<int>(0);
  bool wanted_ = true;
  uint32_t hellos_ = 0, messages_ = 0;
  std::vector<std::pair<PeerLink::Loss, std::string>> lost_;
  PeerLink link_{
      network_,
      clock_,
      {"host-a", "host-b", "10.0.0.2:7000"},
      {[this] { return wanted_; },
       [] {
         wire::Envelope greeting;
         greeting.set_vm("vm7");
         return greeting;
       },
       [this](const wire::Hello&) { ++hellos_; }, [this](wire::Envelope&) { ++messages_; },
       [this](PeerLink::Loss loss, const std::string& reason) {
         lost_.emplace_back(loss, reason);
       }}};
};

TEST_F(PeerLinkTest, Connected_SaysHelloInGreeting) {
  connect();
  ASSERT_EQ(network_.attempts.size(), 1u);
  EXPECT_EQ(network_.attempts[0].first, "10.0.0.2:7000");
  const auto session = network_.accept();
  ASSERT_EQ(session->sent.size(), 1u);
  EXPECT_EQ(session->sent[0].vm(), "vm7");
  EXPECT_EQ(session->sent[0].hello().host(), "host-a");
  session->receive_hello("host-b");
  session->receive({});
  EXPECT_EQ(hellos_, 1u);
  EXPECT_EQ(messages_, 1u);
}

TEST_F(PeerLinkTest, Refused_ReportsReason) {
  connect();
  network_.refuse("Connection refused");
  ASSERT_EQ(lost_.size(), 1u);
  EXPECT_EQ(lost_[0], std::pair(PeerLink::Loss::kNotConnected, std::string("Connection refused")));
}

TEST_F(PeerLinkTest, WrongName_ClosesSession) {
  connect();
  const auto session = network_.accept();
  session->receive_hello("host-c");
  EXPECT_TRUE(session->closed);
  EXPECT_FALSE(link_.connected());
  ASSERT_EQ(lost_.size(), 1u);
  EXPECT_EQ(lost_[0], std::pair(PeerLink::Loss::kWrongName,
                                std::string("the peer calls itself host-c, not host-b")));
  EXPECT_EQ(hellos_, 0u);
}

TEST_F(PeerLinkTest, SessionEnded_IsReportedOnce) {
  connect();
  const auto session = network_.accept();
  session->close("Connection reset by peer");
  EXPECT_FALSE(link_.connected());
  ASSERT_EQ(lost_.size(), 1u);
  EXPECT_EQ(lost_[0].first, PeerLink::Loss::kClosed);
}

TEST_F(PeerLinkTest, ClosedHere_ReportsNothing) {
  connect();
  const auto session = network_.accept();
  link_.close("not needed");
  EXPECT_TRUE(session->closed);
  EXPECT_TRUE(lost_.empty());
}

TEST_F(PeerLinkTest, Reject_ReportsLoss) {
  connect();
  const auto session = network_.accept();
  link_.reject("peer: nonsense");
  EXPECT_TRUE(session->closed);
  ASSERT_EQ(lost_.size(), 1u);
  EXPECT_EQ(lost_[0].second, "peer: nonsense");
}

TEST_F(PeerLinkTest, UnwantedConnection_IsClosed) {
  connect();
  wanted_ = false;
  const auto session = network_.accept();
  EXPECT_TRUE(session->closed);
  EXPECT_FALSE(link_.connected());
  EXPECT_TRUE(lost_.empty());
}

TEST_F(PeerLinkTest, SecondConnection_IsClosed) {
  connect();
  connect();
  const auto first = network_.accept(), second = network_.accept();
  EXPECT_FALSE(first->closed);
  EXPECT_TRUE(second->closed);
}

TEST_F(PeerLinkTest, OwnerGone_CallsNoHandler) {
  connect();
  const auto session = network_.accept();
  owner_.reset();
  session->receive_hello("host-b");
  session->close("gone");
  EXPECT_EQ(hellos_, 0u);
  EXPECT_TRUE(lost_.empty());
}

TEST_F(PeerLinkTest, AdoptedSession_ReplacesPlannedConnection) {
  link_.connect_in(200, owner_);
  const auto session = std::make_shared<FakeSession>();
  link_.adopt(session, owner_);
  network_.advance_ms(1000);
  EXPECT_TRUE(network_.attempts.empty());
  session->receive({});
  EXPECT_EQ(messages_, 1u);
}

TEST_F(PeerLinkTest, ReleasedSession_StaysOpen) {
  connect();
  network_.accept();
  const auto session = link_.release();
  ASSERT_NE(session, nullptr);
  EXPECT_FALSE(link_.connected());
  session->close("later");
  EXPECT_TRUE(lost_.empty());
}

}  // namespace
}  // namespace godwit::migration
