// SPDX-License-Identifier: Apache-2.0
//
// What travels with a VM and what is refused: documents by hand, rules that change while it moves,
// offers and rubbish of peers.
#include "migration/engine/engine.h"

#include <gtest/gtest.h>

#include <asio/connect.hpp>
#include <asio/ip/tcp.hpp>
#include <asio/write.hpp>
#include <random>

#include "migration/policy/staged_import.h"
#include "tests/unit/migration/engine/two_engines.h"

namespace godwit::migration {
namespace {

using dataplane::LocationKind;
using dataplane::PortEventKind;

class EnginePolicyTest : public TwoEngines {};

TEST_F(EnginePolicyTest, ByHand_RewriteAndImport_KeepTheDigest) {
  auto document = a_engine_->export_vm("vm7");
  ASSERT_TRUE(document);
  EXPECT_EQ(document->rules.size(), 4u);
  EXPECT_EQ(document->uplink_rules.size(), 1u);
  auto rewritten = a_engine_->rewrite_vm("vm7");
  ASSERT_TRUE(rewritten) << rewritten.error().message;
  EXPECT_EQ(rewritten->transmit_rules_removed, 4u);
  EXPECT_EQ(rewritten->receive_rules_rewritten, 2u);
  EXPECT_EQ(location(a_), LocationKind::kUplink);
  auto imported = b_engine_->import_vm(*document, {});
  ASSERT_TRUE(imported) << imported.error().message;
  EXPECT_EQ(location(b_), LocationKind::kPort);
  auto again = b_engine_->export_vm("vm7");
  ASSERT_TRUE(again);
  EXPECT_EQ(again->digest, document->digest);
  EXPECT_EQ(again->epoch.counter, document->epoch.counter + 1);
  EXPECT_FALSE(b_engine_->import_vm(*document, {})) << "it is local there already";
  ASSERT_TRUE(b_engine_->rewrite_vm("vm7"));
  auto stale = b_engine_->import_vm(*document, {});
  ASSERT_FALSE(stale);
  EXPECT_NE(stale.error().message.find("epoch"), std::string::npos);
}

TEST_F(EnginePolicyTest, Refusal_ListsEveryReason_AndChangesNothing) {
  b_.vm("vm7/net0", "02:00:00:00:00:77");
  b_.rule("vm7/net0", "ingress pattern eth / end actions drop / end");
  dataplane::Profile second;
  second.name = "physnet2";
  second.kind = dataplane::EndpointKind::kUplink;
  a_.endpoint(second, PortId{99});
  a_.rule("vm7/net0",
          "ingress pattern eth / end actions represented_port ethdev_port_id physnet2 / end");
  const std::string b = b_.picture();
  auto two_uplinks = a_engine_->start("vm7", "host-b");
  ASSERT_FALSE(two_uplinks) << "which uplink leads there is not configured";
  auto document = a_engine_->export_vm("vm7");
  auto refused = b_engine_->import_vm(*document, {});
  ASSERT_FALSE(refused);
  EXPECT_NE(refused.error().message.find("local here already"), std::string::npos);
  EXPECT_NE(refused.error().message.find("has rules of its own"), std::string::npos);
  EXPECT_NE(refused.error().message.find("physnet2"), std::string::npos);
  EXPECT_EQ(b_.picture(), b);
}

TEST_F(EnginePolicyTest, Offer_WithUnsupportedVirtioFeatures_IsRefused) {
  a_.ports.ports[a_.store.find("vm7/net0")->port.value].features =
      0x1'0000'8000 | 1u << 26;  // and QEMU copies
  b_.ports.offered_features = 0x1'0000'0000;
  const std::string a = a_.picture(), b = b_.picture();
  start();
  ASSERT_TRUE(until([&] { return state(a_engine_) == "aborted"; })) << log_;
  EXPECT_NE(error(a_engine_).find("0x8000 of the negotiated 0x100008000"), std::string::npos)
      << error(a_engine_);
  EXPECT_EQ(a_.picture(), a);
  EXPECT_EQ(b_.picture(), b);
  b_.ports.offered_features = 0x1'0000'8000;
  start();
  EXPECT_TRUE(until([&] { return state(a_engine_) == "prepared"; })) << log_;
}

TEST_F(EnginePolicyTest, Offer_ThatIsRefused_LeavesTheSourceUnchanged) {
  b_.vm("vm7/net0", "02:00:00:00:00:77");
  const std::string a = a_.picture(), b = b_.picture();
  start();
  ASSERT_TRUE(until([&] { return state(a_engine_) == "aborted"; })) << log_;
  EXPECT_NE(error(a_engine_).find("local here already"), std::string::npos) << error(a_engine_);
  EXPECT_EQ(a_.picture(), a);
  EXPECT_EQ(b_.picture(), b);
}

TEST_F(EnginePolicyTest, RuleChange_BeforeHandoverTravels_LaterIsRefused) {
  start();
  ASSERT_TRUE(until([&] { return state(a_engine_) == "prepared"; }));
  const RuleId added =
      a_.rule("vm7/net0", "ingress priority 1 pattern eth / ipv4 / tcp / end actions drop / end");
  {
    dataplane::Transaction t(a_.store);
    ASSERT_TRUE(t.destroy_rule(a_.store.find("vm7/net0")->id, RuleId{0}));
    t.commit();
  }
  settle(30);
  const std::string digest = a_engine_->export_vm("vm7")->digest;
  event(a_, a_engine_, PortEventKind::kRingsStopped);
  {
    dataplane::Transaction t(a_.store);
    auto refused =
        t.create_rule(a_.store.find("vm7/net0")->id,
                      *dataplane::parse_rule("ingress pattern eth / end actions drop / end"));
    ASSERT_FALSE(refused);
    EXPECT_NE(refused.error().message.find("host-b"), std::string::npos);
  }
  ASSERT_TRUE(until([&] { return state(b_engine_) == "handed-over"; })) << log_;
  event(b_, b_engine_, PortEventKind::kRingsRunning);
  ASSERT_TRUE(until([&] { return state(a_engine_) == "done"; })) << log_;
  EXPECT_EQ(b_engine_->export_vm("vm7")->digest, digest);
  EXPECT_NE(b_.store.rule(b_.store.find("vm7/net0")->id, added), nullptr);
}

TEST_F(EnginePolicyTest, Frames_ForMovedVmWithoutSession_AreCountedAsDrops) {
  ASSERT_NO_FATAL_FAILURE(hand_over(0));
  event(b_, b_engine_, PortEventKind::kRingsRunning);
  ASSERT_TRUE(until([&] { return state(a_engine_) == "redirecting"; })) << log_;
  b_engine_->stop();
  ASSERT_TRUE(until([&] { return state(a_engine_) == "done"; })) << log_;
  for (uint8_t i = 0; i < 3; ++i)
    a_.gate.redirected.push_back(frame(a_, i));  // on their way here when it ended
  ASSERT_TRUE(until([&] { return a_.gate.redirected.empty(); }));
  EXPECT_EQ(a_.gate.drops,
            (std::map<dataplane::Drop, uint64_t>{{dataplane::Drop::k_redirect_closed, 3}}));
}

std::string to_vm7(int priority) {
  return "ingress priority " + std::to_string(priority) +
         " pattern eth / end actions represented_port ethdev_port_id vm7/net0 / end";
}

TEST_F(EnginePolicyTest, UplinkRules_ChangedDuringMove_Travel) {
  const auto destroy = [&](RuleId id) {
    dataplane::Transaction t(a_.store);
    auto gone = t.destroy_rule(a_.uplink, id);
    t.commit();
    return gone;
  };
  away(b_, "vm7/net0");
  b_.rule("physnet1", to_vm7(20));  // that host's own already, and so are they later
  b_.rule("physnet1", to_vm7(21));
  b_.rule("physnet1", to_vm7(22));
  const RuleId first = a_.store.uplink_rules_to({&a_.store.find("vm7/net0")->id, 1}).front()->id;
  start();
  const RuleId early = a_.rule("physnet1", to_vm7(8));  // before the offer
  a_.rule("physnet1", to_vm7(9));
  a_.rule("physnet1", to_vm7(20));
  ASSERT_TRUE(until([&] { return state(a_engine_) == "prepared"; })) << log_;
  ASSERT_TRUE(destroy(first));
  ASSERT_TRUE(destroy(early));
  a_.rule("physnet1", to_vm7(10));
  const RuleId twice = a_.rule("physnet1", to_vm7(11));
  a_.rule("physnet1", to_vm7(11));
  a_.rule("physnet1", to_vm7(21));
  ASSERT_TRUE(destroy(a_.rule("physnet1", to_vm7(22))));
  ASSERT_TRUE(destroy(a_.rule("physnet1", to_vm7(12))));
  ASSERT_TRUE(destroy(twice));
  const RuleId both =
      a_.rule("physnet1",
              "ingress priority 13 pattern eth / end actions represented_port ethdev_port_id "
              "vm7/net0 / represented_port ethdev_port_id stay-a/net0 / end");
  a_.rule("stay-a/net0",
          "transfer priority 14 pattern represented_port ethdev_port_id is physnet1 / eth / end "
          "actions represented_port ethdev_port_id vm7/net0 / end");
  settle(30);
  event(a_, a_engine_, PortEventKind::kRingsStopped);
  const RuleId guarded = a_.store.uplink_rules_to({&a_.store.find("vm7/net0")->id, 1}).front()->id;
  {
    dataplane::Transaction t(a_.store);
    auto refused = t.create_rule(a_.uplink, *dataplane::parse_rule(to_vm7(15)));
    ASSERT_FALSE(refused);
    EXPECT_NE(refused.error().message.find("host-b"), std::string::npos) << refused.error().message;
    EXPECT_FALSE(t.destroy_rule(a_.uplink, guarded));
  }
  ASSERT_TRUE(until([&] { return state(b_engine_) == "handed-over"; })) << log_;
  event(b_, b_engine_, PortEventKind::kRingsRunning);
  ASSERT_TRUE(until([&] { return state(a_engine_) == "done"; })) << log_;
  std::vector<uint32_t> there;
  for (const auto* rule : b_.store.uplink_rules_to({&b_.store.find("vm7/net0")->id, 1}))
    there.push_back(rule->rule.attributes.priority);
  std::ranges::sort(there);
  EXPECT_EQ(there, (std::vector<uint32_t>{9, 10, 11, 14, 20, 21, 22}));
  EXPECT_TRUE(a_.store.uplink_rules_to({&a_.store.find("vm7/net0")->id, 1}).empty());
  EXPECT_NE(a_.store.rule(a_.uplink, both), nullptr) << "leads to a VM that stays";
  a_.rule("physnet1", to_vm7(16));  // the move is over
}

TEST_F(EnginePolicyTest, UplinkRule_RefusedByDestination_CancelsTheMove) {
  const std::string b = b_.picture();
  start();
  ASSERT_TRUE(until([&] { return state(a_engine_) == "prepared"; }));
  dataplane::Profile second;
  second.name = "physnet2";
  second.kind = dataplane::EndpointKind::kUplink;
  a_.endpoint(second, PortId{99});
  a_.rule("physnet2", to_vm7(1));
  ASSERT_TRUE(until([&] { return state(a_engine_) == "aborted" && state(b_engine_) == "aborted"; }))
      << log_;
  EXPECT_NE(error(a_engine_).find("of physnet2: it is not in the table of an uplink that is here"),
            std::string::npos)
      << error(a_engine_);
  EXPECT_EQ(b_.picture(), b);
}

TEST_F(EnginePolicyTest, UplinkRules_OfPeer_CannotReachOtherVms) {
  const auto document = a_engine_->export_vm("vm7");
  const std::string b = b_.picture();
  const size_t slots = b_.counters.in_use();
  const StagedImport::Bindings bindings{{"vm7/net0", {"/run/x.sock", PortId{}}}};
  const std::pair<DocumentRule, const char*> bad[] = {
      {{"stay-b/net0", 90, to_vm7(1)}, "not in the table of an uplink"},
      {{"physnet2", 91, to_vm7(1)}, "not in the table of an uplink"},
      {{"physnet1", 92,
        "transfer pattern eth / end actions represented_port ethdev_port_id vm7/net0 / end"},
       "not in the table of an uplink"},
      {{"physnet1", 93,
        "transfer pattern represented_port ethdev_port_id is stay-b/net0 / eth / end actions "
        "represented_port ethdev_port_id vm7/net0 / end"},
       "not in the table of an uplink"},
      {{"physnet1", 94, "ingress pattern eth / end actions drop / end"}, "does not lead to vm7"},
      {{"physnet1", 95,
        "ingress pattern eth / end actions represented_port ethdev_port_id stay-b/net0 / end"},
       "does not lead to vm7"},
      {{"physnet1", 96,
        "ingress pattern eth / end actions represented_port ethdev_port_id unheard-of/net0 / end"},
       "does not lead to vm7"},
      {{"physnet1", 97, "ingress pattern eth / end actions"}, ""},
  };
  for (const auto& [rule, why] : bad) {
    Document offered = *document;
    offered.uplink_rules.push_back(rule);
    auto refused = StagedImport::stage(b_.store, b_.ports, b_.uplink, offered, bindings);
    ASSERT_FALSE(refused) << rule.text;
    EXPECT_NE(refused.error().message.find(why), std::string::npos) << refused.error().message;
    b_.reclaimer.collect();
    EXPECT_EQ(b_.picture(), b) << rule.text;
  }
  auto staged = StagedImport::stage(b_.store, b_.ports, b_.uplink, *document, bindings);
  ASSERT_TRUE(staged) << staged.error().message;
  const std::string with = b_.picture(), digest = (*staged)->uplinks_digest();
  for (const auto& [rule, why] : bad) {
    auto refused = (*staged)->add_uplink_rule(rule);
    ASSERT_FALSE(refused) << rule.text;
    EXPECT_NE(refused.error().message.find(why), std::string::npos) << refused.error().message;
    EXPECT_FALSE((*staged)->remove_uplink_rule(rule.owner, rule.id));
    EXPECT_EQ(b_.picture(), with) << rule.text;
  }
  const DocumentRule good{"physnet1", 98, to_vm7(1)};
  ASSERT_TRUE((*staged)->add_uplink_rule(good));
  EXPECT_NE((*staged)->uplinks_digest(), digest);
  EXPECT_FALSE((*staged)->add_uplink_rule(good)) << "once";
  ASSERT_TRUE((*staged)->remove_uplink_rule("physnet1", 98));
  EXPECT_EQ((*staged)->uplinks_digest(), digest);
  ASSERT_TRUE((*staged)->add_uplink_rule(good));
  staged->reset();
  b_.reclaimer.collect();
  EXPECT_EQ(b_.picture(), b);
  EXPECT_EQ(b_.counters.in_use(), slots);
}

TEST_F(EnginePolicyTest, PendingConnection_SendingGarbage_IsClosed) {
  const std::string b = b_.picture();
  const uint64_t seed = std::random_device{}();
  SCOPED_TRACE("seed " + std::to_string(seed));
  std::mt19937_64 rng(seed);
  for (int i = 0; i < 60; ++i) {
    asio::ip::tcp::socket socket(io_);
    std::error_code ignored;
    socket.connect({asio::ip::make_address("127.0.0.1"), free_port_b_}, ignored);
    std::string bytes(1 + rng() % 300, 0);
    for (char& c : bytes) c = static_cast<char>(rng());
    if (i % 3 == 0) bytes[0] = bytes[1] = 0;                             // a plausible length
    if (i % 3 == 1) bytes = std::string("\xff\xff\xff\xff", 4) + bytes;  // an enormous one
    asio::write(socket, asio::buffer(bytes), ignored);
    settle(2);
  }
  EXPECT_EQ(b_.picture(), b);
  EXPECT_TRUE(b_engine_->status().empty());
  start();
  EXPECT_TRUE(until([&] { return state(a_engine_) == "prepared"; })) << log_;
}

}  // namespace
}  // namespace godwit::migration
