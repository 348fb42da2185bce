// SPDX-License-Identifier: Apache-2.0
//
// Rules that concern more than one VM, and ports and uplinks that differ between hosts.
#include <gtest/gtest.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "dataplane/rules/flow_command.h"
#include "migration/policy/document_json.h"
#include "migration/policy/staged_import.h"
#include "tests/unit/migration/engine/two_engines.h"

namespace godwit::migration {
namespace {

using dataplane::LocationKind;
using dataplane::PortEventKind;

class EngineTravelTest : public TwoEngines {
 protected:
  // Moves a VM of host-a to host-b.
  void move(const std::string& vm) {
    auto id = a_engine_->start(vm, "host-b");
    ASSERT_TRUE(id) << id.error().message;
    const auto reached = [&](const std::unique_ptr<Engine>& engine, const char* wanted) {
      const auto all = engine->status(vm);
      return !all.empty() && all.back().state == wanted;
    };
    ASSERT_TRUE(until([&] { return reached(a_engine_, "prepared"); })) << log_;
    rings(a_, a_engine_, vm, PortEventKind::kRingsStopped);
    ASSERT_TRUE(until([&] { return reached(b_engine_, "handed-over"); })) << log_;
    rings(b_, b_engine_, vm, PortEventKind::kRingsRunning);
    ASSERT_TRUE(until([&] { return reached(a_engine_, "done"); })) << log_;
  }
  // Returns the texts of an owner's rules.
  static std::vector<std::string> rules_of(const testing::FakeSwitch& host,
                                           const std::string& owner) {
    std::vector<std::string> out;
    const auto* endpoint = host.store.find(owner);
    if (endpoint == nullptr) return out;
    for (const auto& [id, rule] : endpoint->rules) out.push_back(dataplane::to_text(rule->rule));
    return out;
  }
  static bool has(const testing::FakeSwitch& host, const std::string& owner,
                  const std::string& text) {
    const auto rules = rules_of(host, owner);
    return std::ranges::find(rules, text) != rules.end();
  }
};

const std::string kToBoth =
    "ingress priority 13 pattern eth / end actions represented_port ethdev_port_id vm7/net0 / "
    "represented_port ethdev_port_id stay-a/net0 / end";

TEST_F(EngineTravelTest, UplinkRuleToTwoVms_IsCopiedWithTheFirstAndLeavesWithTheLast) {
  a_.rule("physnet1", kToBoth);
  move("vm7");
  EXPECT_TRUE(has(b_, "physnet1", kToBoth));
  EXPECT_TRUE(has(a_, "physnet1", kToBoth)) << "the other VM is still here";
  move("stay-a");
  const auto there = rules_of(b_, "physnet1");
  EXPECT_EQ(std::ranges::count(there, kToBoth), 1);
  EXPECT_FALSE(has(a_, "physnet1", kToBoth));
}

TEST_F(EngineTravelTest, UplinkRuleToAVmThatIsLocalThere_IsNotPutInForce) {
  const std::string text =
      "ingress priority 13 pattern eth / end actions represented_port ethdev_port_id vm7/net0 / "
      "represented_port ethdev_port_id stay-b/net0 / end";
  a_.rule("physnet1", text);
  move("vm7");
  EXPECT_FALSE(has(b_, "physnet1", text)) << "a peer must not change what stay-b receives";
}

TEST_F(EngineTravelTest, SharedTransferRules_TravelWithTheirOwner) {
  const std::string early = "transfer priority 4 pattern eth / ipv4 / tcp / end actions drop / end";
  const std::string late = "transfer priority 5 pattern eth / ipv4 / udp / end actions drop / end";
  const RuleId id = a_.rule("vm7/net0", early);
  const std::string of_others =
      "transfer priority 6 pattern eth / ipv4 / sctp / end actions drop / end";
  a_.rule("stay-a/net0", of_others);
  ASSERT_TRUE(a_engine_->start("vm7", "host-b"));
  ASSERT_TRUE(until([&] { return state(a_engine_) == "prepared"; })) << log_;
  EXPECT_FALSE(has(b_, "vm7/net0", early)) << "not in force yet";
  const RuleId gone = a_.rule("vm7/net0", "transfer pattern eth / end actions count / end");
  a_.rule("vm7/net0", late);
  {
    dataplane::Transaction t(a_.store);
    ASSERT_TRUE(t.destroy_rule(a_.store.find("vm7/net0")->id, gone));
    t.commit();
  }
  settle(30);
  const std::string digest = a_engine_->export_vm("vm7")->digest;
  event(a_, a_engine_, PortEventKind::kRingsStopped);
  ASSERT_TRUE(until([&] { return state(b_engine_) == "handed-over"; })) << log_;
  event(b_, b_engine_, PortEventKind::kRingsRunning);
  ASSERT_TRUE(until([&] { return state(a_engine_) == "done"; })) << log_;
  EXPECT_TRUE(has(b_, "vm7/net0", early));
  EXPECT_TRUE(has(b_, "vm7/net0", late));
  EXPECT_NE(b_.store.rule(b_.store.find("vm7/net0")->id, id), nullptr) << "its id is kept";
  EXPECT_EQ(b_engine_->export_vm("vm7")->digest, digest);
  EXPECT_FALSE(has(a_, "vm7/net0", early));
  EXPECT_FALSE(has(a_, "vm7/net0", late));
  EXPECT_TRUE(has(a_, "stay-a/net0", of_others));
  EXPECT_FALSE(has(b_, "stay-a/net0", of_others));
}

TEST_F(EngineTravelTest, SharedRuleOfAnotherVm_IsRefused) {
  auto document = a_engine_->export_vm("vm7");
  ASSERT_TRUE(document);
  document->rules.push_back({"stay-b/net0", 90, "transfer pattern eth / end actions drop / end"});
  const std::string b = b_.picture();
  auto refused = StagedImport::stage(b_.store, b_.ports, b_.uplink, *document,
                                     {{"vm7/net0", {"/run/x.sock", PortId{}}}});
  ASSERT_FALSE(refused);
  EXPECT_NE(refused.error().message.find("does not belong to vm7"), std::string::npos);
  EXPECT_EQ(b_.picture(), b);
}

TEST_F(EngineTravelTest, RuleNamingAnUnknownNic_DoesNotKeepItsVmFromMoving) {
  {
    dataplane::Transaction t(a_.store);
    dataplane::Profile profile;
    profile.name = "stay-b/net9";
    ASSERT_TRUE(t.add_endpoint(profile, {LocationKind::kUplink, {}, a_.uplink}, true));
    t.commit();
  }
  a_.rule("vm7/net0",
          "ingress priority 3 pattern eth / end actions represented_port ethdev_port_id "
          "stay-b/net9 / end");
  move("vm7");
  ASSERT_NE(b_.store.find("stay-b/net9"), nullptr);
  auto started = b_engine_->start("stay-b", "host-a");
  ASSERT_TRUE(started) << started.error().message;
  ASSERT_TRUE(until([&] { return b_engine_->status("stay-b").back().state == "prepared"; }))
      << log_;
}

TEST_F(EngineTravelTest, ServerPort_IsMadeAsServerThere) {
  a_.ports.ports[a_.store.find("vm7/net0")->port.value].server = true;
  move("vm7");
  EXPECT_TRUE(b_.ports.ports[b_.store.find("vm7/net0")->port.value].server);
  EXPECT_TRUE(b_engine_->export_vm("vm7")->served.contains("vm7/net0"));
  move("stay-a");
  EXPECT_FALSE(b_.ports.ports[b_.store.find("stay-a/net0")->port.value].server);
}

TEST_F(EngineTravelTest, ServerPort_IsPartOfTheDocumentAndItsDigest) {
  const auto client = a_engine_->export_vm("vm7");
  a_.ports.ports[a_.store.find("vm7/net0")->port.value].server = true;
  const auto server = a_engine_->export_vm("vm7");
  ASSERT_TRUE(client && server);
  EXPECT_NE(client->digest, server->digest);
  auto back = document_from_json(to_json(*server));
  ASSERT_TRUE(back) << back.error().message;
  EXPECT_EQ(back->served, server->served);
}

TEST_F(EngineTravelTest, NarrowerUplink_IsRefusedAtTheOffer) {
  b_.ports.ports[b_.store.endpoint(b_.uplink)->port.value].mtu = 1400;
  const std::string a = a_.picture(), b = b_.picture();
  start();
  ASSERT_TRUE(until([&] { return state(a_engine_) == "aborted"; })) << log_;
  EXPECT_NE(error(a_engine_).find("uplink physnet1 has MTU 1400 here, and vm7/net0 sends frames of "
                                  "up to 1500 through the source's"),
            std::string::npos)
      << error(a_engine_);
  EXPECT_EQ(a_.picture(), a);
  EXPECT_EQ(b_.picture(), b);
  // A source whose uplink is as narrow loses nothing by the move.
  a_.ports.ports[a_.store.endpoint(a_.uplink)->port.value].mtu = 1400;
  start();
  EXPECT_TRUE(until([&] { return state(a_engine_) == "prepared"; })) << log_;
}

}  // namespace
}  // namespace godwit::migration
