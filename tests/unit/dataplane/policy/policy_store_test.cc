// SPDX-License-Identifier: Apache-2.0
#include "dataplane/policy/policy_store.h"

#include <gtest/gtest.h>

#include <random>

#include "dataplane/rules/flow_command.h"
#include "tests/harness/manual_grace.h"

namespace godwit::dataplane {
namespace {

class PolicyStoreTest : public ::testing::Test {
 protected:
  testing::ManualGrace grace_;
  Reclaimer reclaimer_{grace_};
  CounterBank counters_{1};
  StateCell cell_;
  PolicyStore store_{cell_, reclaimer_, counters_};

  static Rule rule(std::string_view text) {
    auto parsed = parse_rule(text);
    EXPECT_TRUE(parsed.has_value()) << text << ": " << (parsed ? "" : parsed.error().message);
    return parsed ? *parsed : Rule{};
  }
  EndpointId add(const std::string& name, EndpointKind kind, Location location = {}) {
    Transaction t(store_);
    Profile profile;
    profile.name = name;
    profile.kind = kind;
    auto id = t.add_endpoint(profile, location);
    EXPECT_TRUE(id.has_value()) << (id ? "" : id.error().message);
    EXPECT_TRUE(t.set_active(*id, true));
    t.commit();
    return *id;
  }
  RuleId create(EndpointId owner, std::string_view text) {
    Transaction t(store_);
    auto id = t.create_rule(owner, rule(text));
    EXPECT_TRUE(id.has_value()) << text << ": " << (id ? "" : id.error().message);
    t.commit();
    return id ? *id : RuleId{};
  }
  // Returns the rule that the current state finds in `table` for a key that matches `eth`.
  const RuleEntry* hit(const RuleTable* table, uint32_t group = 0) {
    if (table == nullptr || table->group(group) == nullptr) return nullptr;
    FlowKey key;
    key.layers = to_be16(kLayerEth);
    return table->group(group)->lookup(key, cell_.load()->generation);
  }
  const EndpointEntry& entry(EndpointId id) { return *cell_.load()->endpoint(id); }
  // Returns what a user can see of the store, for comparison.
  std::string picture() {
    std::string out;
    for (const EndpointRecord* e : store_.endpoints()) {
      out += e->profile.name + " kind " + std::to_string(int(e->location.kind)) + " port " +
             std::to_string(e->port.value) + (e->active ? " active" : "") + " next " +
             std::to_string(e->next_rule_id) + "\n";
      for (const auto& [id, r] : e->rules)
        out += "  " + std::to_string(id) + " " + to_text(r->rule) + "\n";
      out += "  inside " + std::to_string(store_.rules_inside(e->id).size()) + " receive " +
             std::to_string(store_.receive_rules(e->id).size()) + "\n";
    }
    return out;
  }
};

TEST_F(PolicyStoreTest, Commit_MakesStagedRuleVisible) {
  const EndpointId vm = add("vm1/net0", EndpointKind::kVm);
  {
    Transaction t(store_);
    ASSERT_TRUE(t.create_rule(vm, rule("ingress pattern eth / end actions drop / end")));
    EXPECT_EQ(hit(entry(vm).ingress), nullptr);
    t.commit();
  }
  EXPECT_NE(hit(entry(vm).ingress), nullptr);
}

TEST_F(PolicyStoreTest, Transaction_NotCommitted_ChangesNothing) {
  const EndpointId vm = add("vm1/net0", EndpointKind::kVm);
  const EndpointId up =
      add("physnet1", EndpointKind::kUplink, {LocationKind::kPort, PortId{0}, {}});
  create(vm,
         "ingress priority 3 pattern eth / end actions represented_port ethdev_port_id physnet1 / "
         "end");
  const RuleId second = create(vm, "ingress priority 4 pattern eth / end actions drop / end");
  const std::string before = picture();
  const uint64_t generation = cell_.load()->generation;
  const size_t slots = counters_.in_use();
  {
    Transaction t(store_);
    Profile profile;
    profile.name = "vm2/net0";
    auto other = t.add_endpoint(profile, {LocationKind::kUplink, {}, up});
    ASSERT_TRUE(other);
    ASSERT_TRUE(t.create_rule(*other, rule("egress pattern eth / end actions drop / end")));
    ASSERT_TRUE(t.create_rule(
        vm,
        rule("ingress pattern eth / end actions represented_port ethdev_port_id vm2/net0 / end")));
    ASSERT_TRUE(t.destroy_rule(vm, second));
    ASSERT_TRUE(t.set_location(vm, {LocationKind::kUplink, {}, up}));
    ASSERT_TRUE(t.set_active(vm, false));
    ASSERT_TRUE(t.bind_port(vm, PortId{7}));
  }
  grace_.pass();
  reclaimer_.collect();
  EXPECT_EQ(picture(), before);
  EXPECT_EQ(cell_.load()->generation, generation);
  EXPECT_EQ(counters_.in_use(), slots);
  EXPECT_EQ(store_.find("vm2/net0"), nullptr);
}

TEST_F(PolicyStoreTest, DestroyRule_KeepsEntryUntilGracePeriodEnds) {
  const EndpointId vm = add("vm1/net0", EndpointKind::kVm);
  const RuleId first = create(vm, "ingress priority 1 pattern eth / end actions drop / end");
  create(vm, "ingress priority 2 pattern eth / end actions drop / end");
  const ForwardingState* old_state = cell_.load();
  const RuleTable* table = old_state->endpoint(vm)->ingress;
  const uint64_t old_generation = old_state->generation;
  {
    Transaction t(store_);
    ASSERT_TRUE(t.destroy_rule(vm, first));
    t.commit();
  }
  FlowKey key;
  key.layers = to_be16(kLayerEth);
  EXPECT_EQ(table->group(0)->lookup(key, old_generation)->order.priority, 1u);
  EXPECT_EQ(hit(entry(vm).ingress)->order.priority, 2u);
  EXPECT_EQ(table->size(), 2u);
  grace_.pass();
  reclaimer_.collect();
  EXPECT_EQ(table->size(), 1u);
}

TEST_F(PolicyStoreTest, DestroyRule_LastEgressRule_UnpublishesEgressTable) {
  const EndpointId vm = add("vm1/net0", EndpointKind::kVm);
  EXPECT_EQ(entry(vm).egress, nullptr);
  const RuleId id = create(vm, "egress pattern eth / end actions drop / end");
  EXPECT_NE(entry(vm).egress, nullptr);
  Transaction t(store_);
  ASSERT_TRUE(t.destroy_rule(vm, id));
  t.commit();
  EXPECT_EQ(entry(vm).egress, nullptr);
}

TEST_F(PolicyStoreTest, CreateRule_TransferWithOrigin_LandsInTableOfOrigin) {
  const EndpointId vm = add("vm1/net0", EndpointKind::kVm);
  const EndpointId up = add("physnet1", EndpointKind::kUplink);
  create(up,
         "transfer pattern represented_port ethdev_port_id is vm1/net0 / eth / end actions drop / "
         "end");
  create(up, "transfer priority 9 pattern eth / end actions drop / end");
  EXPECT_EQ(store_.rules_inside(vm).size(), 1u);
  EXPECT_EQ(store_.rules_inside(up).size(), 0u);
  EXPECT_NE(hit(entry(vm).transfer), nullptr);
  EXPECT_EQ(hit(cell_.load()->transfer)->order.priority, 9u);
}

TEST_F(PolicyStoreTest, DetachAndAttach_MoveWholeTablesAndKeepCounts) {
  const EndpointId vm = add("vm1/net0", EndpointKind::kVm);
  const EndpointId up =
      add("physnet1", EndpointKind::kUplink, {LocationKind::kPort, PortId{0}, {}});
  std::vector<RuleSpec> specs;
  for (uint32_t i = 0; i < 10; ++i) {
    const std::string text =
        "ingress priority " + std::to_string(i) +
        " pattern eth / end actions represented_port ethdev_port_id physnet1 / end";
    const RuleId id = create(vm, text);
    specs.push_back({"vm1/net0", id, rule(text)});
  }
  const CounterId counter = store_.rule(vm, RuleId{4})->entry->counter;
  counters_.add(WorkerId{0}, counter, 7, 700);
  {
    Transaction t(store_);
    ASSERT_TRUE(t.detach(vm));
    t.commit();
  }
  EXPECT_EQ(entry(vm).ingress, nullptr);
  EXPECT_TRUE(store_.rules_inside(vm).empty());
  EXPECT_TRUE(store_.receive_rules(up).empty());
  counters_.add(WorkerId{0}, counter, 1, 100);  // by a burst that began before the detach
  grace_.pass();
  reclaimer_.collect();
  EXPECT_EQ(store_.endpoint(vm)->removed, (Count{8, 800}));

  auto policy = store_.build(vm, specs);
  ASSERT_TRUE(policy) << policy.error().message;
  EXPECT_EQ(entry(vm).ingress, nullptr);
  EXPECT_TRUE(store_.receive_rules(up).empty()) << "staged rules are not in force";
  {
    Transaction t(store_);
    ASSERT_TRUE(t.attach(std::move(*policy)));
    t.commit();
  }
  ASSERT_NE(hit(entry(vm).ingress), nullptr);
  EXPECT_EQ(hit(entry(vm).ingress)->order.priority, 0u);
  EXPECT_EQ(store_.rules_inside(vm).size(), 10u);
  EXPECT_EQ(store_.receive_rules(up).size(), 10u);
  for (const auto& spec : specs) EXPECT_NE(store_.rule(vm, spec.id), nullptr);
}

TEST_F(PolicyStoreTest, DetachedPolicy_Abandoned_ReleasesImplicitEndpoints) {
  const EndpointId vm = add("vm1/net0", EndpointKind::kVm);
  const EndpointId up =
      add("physnet1", EndpointKind::kUplink, {LocationKind::kPort, PortId{0}, {}});
  const std::string before = picture();
  const size_t slots = counters_.in_use();
  const std::vector<RuleSpec> specs{
      {"vm1/net0", RuleId{0},
       rule("ingress pattern eth / end actions represented_port ethdev_port_id vm9/net0 / end")}};
  EXPECT_EQ(store_.missing_endpoints(specs), std::vector<std::string>{"vm9/net0"});
  {
    Transaction t(store_);
    Profile profile;
    profile.name = "vm9/net0";
    ASSERT_TRUE(t.add_endpoint(profile, {LocationKind::kUplink, {}, up}, true));
    t.commit();
  }
  {
    auto policy = store_.build(vm, specs);
    ASSERT_TRUE(policy) << policy.error().message;
    store_.collect_implicit();
    EXPECT_NE(store_.find("vm9/net0"), nullptr) << "staged rules keep the endpoints they name";
  }
  store_.collect_implicit();
  grace_.pass();
  reclaimer_.collect();
  EXPECT_EQ(picture(), before);
  EXPECT_EQ(counters_.in_use(), slots);
}

TEST_F(PolicyStoreTest, AddOutside_TakesEffectOnlyWithCommittedAttach) {
  const EndpointId vm = add("vm1/net0", EndpointKind::kVm);
  const EndpointId up = add("physnet1", EndpointKind::kUplink);
  create(up, "ingress priority 9 pattern eth / end actions drop / end");
  const std::string before = picture();
  const size_t slots = counters_.in_use();
  const RuleSpec travels{"physnet1", RuleId{},
                         rule("ingress priority 1 pattern eth / end actions represented_port "
                              "ethdev_port_id vm1/net0 / end")};
  {
    auto policy = store_.build(vm, {});
    ASSERT_TRUE((*policy)->add_outside(travels));
    EXPECT_EQ(hit(entry(up).ingress)->order.priority, 9u);
    EXPECT_EQ(picture(), before);
    EXPECT_TRUE(store_.uplink_rules_to({&vm, 1}).empty());
  }
  grace_.pass();
  reclaimer_.collect();
  EXPECT_EQ(picture(), before);
  EXPECT_EQ(counters_.in_use(), slots);
  {
    auto policy = store_.build(vm, {});
    ASSERT_TRUE((*policy)->add_outside(travels));
    Transaction t(store_);
    ASSERT_TRUE(t.attach(std::move(*policy)));
  }  // not committed
  EXPECT_EQ(picture(), before);
  auto policy = store_.build(vm, {});
  ASSERT_TRUE((*policy)->add_outside(travels));
  Transaction t(store_);
  ASSERT_TRUE(t.attach(std::move(*policy)));
  EXPECT_EQ(hit(entry(up).ingress)->order.priority, 9u);
  t.commit();
  EXPECT_EQ(hit(entry(up).ingress)->order.priority, 1u);
  EXPECT_EQ(store_.uplink_rules_to({&vm, 1}).size(), 1u);
}

TEST_F(PolicyStoreTest, RemoveOutside_RemovesStagedRuleOnce) {
  const EndpointId vm = add("vm1/net0", EndpointKind::kVm);
  const EndpointId up =
      add("physnet1", EndpointKind::kUplink, {LocationKind::kPort, PortId{0}, {}});
  const std::string before = picture();
  const size_t slots = counters_.in_use();
  const auto travels = [](int priority) {
    return RuleSpec{
        "physnet1", RuleId{},
        rule("ingress priority " + std::to_string(priority) +
             " pattern eth / end actions represented_port ethdev_port_id vm1/net0 / end")};
  };
  auto policy = store_.build(vm, {});
  ASSERT_TRUE((*policy)->add_outside(travels(1)));
  ASSERT_TRUE((*policy)->add_outside(travels(2)));
  EXPECT_EQ(store_.endpoint(up)->pins, 2u);
  EXPECT_FALSE((*policy)->remove_outside("physnet1", travels(3).rule));
  EXPECT_FALSE((*policy)->remove_outside("vm1/net0", travels(1).rule));
  EXPECT_FALSE((*policy)->remove_outside("nobody", travels(1).rule));
  ASSERT_TRUE((*policy)->remove_outside("physnet1", travels(1).rule));
  EXPECT_FALSE((*policy)->remove_outside("physnet1", travels(1).rule)) << "already removed";
  EXPECT_EQ(store_.endpoint(up)->pins, 1u);
  EXPECT_EQ(counters_.in_use(), slots + 2) << "workers may still be reading it";
  grace_.pass();
  reclaimer_.collect();
  EXPECT_EQ(counters_.in_use(), slots + 1);
  {
    Transaction t(store_);
    ASSERT_TRUE(t.attach(std::move(*policy)));
    t.commit();
  }
  ASSERT_EQ(store_.uplink_rules_to({&vm, 1}).size(), 1u);
  EXPECT_EQ(hit(entry(up).ingress)->order.priority, 2u);
  {
    Transaction t(store_);
    ASSERT_TRUE(t.destroy_rule(up, store_.uplink_rules_to({&vm, 1}).front()->id));
    t.commit();
  }
  EXPECT_EQ(store_.endpoint(up)->pins, 0u);
  EXPECT_TRUE(store_.endpoint(vm)->receive.empty());
}

TEST_F(PolicyStoreTest, Guard_CoversUplinkRulesWhoseOutputsAreAllGuarded) {
  const EndpointId vm = add("vm7/net0", EndpointKind::kVm);
  const EndpointId other = add("vm8/net0", EndpointKind::kVm);
  const EndpointId up = add("physnet1", EndpointKind::kUplink);
  const std::string to_vm =
      "ingress pattern eth / end actions represented_port ethdev_port_id vm7/net0 / end";
  const std::string to_both =
      "ingress pattern eth / end actions represented_port ethdev_port_id vm7/net0 / "
      "represented_port ethdev_port_id vm8/net0 / end";
  const std::string by_origin =
      "transfer pattern represented_port ethdev_port_id is physnet1 / eth / end actions "
      "represented_port ethdev_port_id vm7/net0 / end";
  const RuleId alone = create(up, to_vm), shared = create(up, to_both);
  store_.set_guard(vm, "vm7 moves to host-b");
  const std::string before = picture();
  {
    Transaction t(store_);
    for (const auto& [owner, text] : {std::pair{up, to_vm}, std::pair{other, by_origin}}) {
      auto refused = t.create_rule(owner, rule(text));
      ASSERT_FALSE(refused) << text;
      EXPECT_EQ(refused.error().message, "vm7 moves to host-b");
    }
    auto kept = t.destroy_rule(up, alone);
    ASSERT_FALSE(kept);
    EXPECT_EQ(kept.error().message, "vm7 moves to host-b");
    EXPECT_TRUE(t.create_rule(up, rule(to_both))) << "vm8 is not guarded";
    EXPECT_TRUE(t.destroy_rule(up, shared));
    EXPECT_TRUE(t.create_rule(up, rule("ingress pattern eth / end actions drop / end")))
        << "no outputs";
    EXPECT_TRUE(t.create_rule(other, rule(to_vm))) << "in vm8's own table";
  }
  EXPECT_EQ(picture(), before);
  Transaction t(store_);
  t.override_guards();
  EXPECT_TRUE(t.destroy_rule(up, alone));
  EXPECT_TRUE(t.create_rule(up, rule(to_vm)));
  t.commit();
}

TEST_F(PolicyStoreTest, UplinkRulesTo_ReturnsRulesWithoutOtherOutputs) {
  const EndpointId vm = add("vm7/net0", EndpointKind::kVm);
  const EndpointId other = add("vm8/net0", EndpointKind::kVm);
  const EndpointId up = add("physnet1", EndpointKind::kUplink);
  const RuleId only = create(up,
                             "ingress priority 1 pattern eth / end actions represented_port "
                             "ethdev_port_id vm7/net0 / end");
  create(up,
         "ingress priority 2 pattern eth / end actions represented_port ethdev_port_id vm7/net0 / "
         "represented_port ethdev_port_id vm8/net0 / end");
  create(other, "ingress pattern eth / end actions represented_port ethdev_port_id vm7/net0 / end");
  const std::vector<EndpointId> ids{vm};
  const auto found = store_.uplink_rules_to(ids);
  ASSERT_EQ(found.size(), 1u);
  EXPECT_EQ(found[0]->id, only);
  EXPECT_EQ(store_.receive_rules(vm).size(), 3u);
}

TEST_F(PolicyStoreTest, Operations_Refused_ReportReasonAndChangeNothing) {
  const EndpointId vm = add("vm1/net0", EndpointKind::kVm);
  const EndpointId up = add("physnet1", EndpointKind::kUplink);
  create(vm, "ingress pattern eth / end actions represented_port ethdev_port_id physnet1 / end");
  const std::string before = picture();
  {
    Transaction t(store_);
    EXPECT_FALSE(t.remove_endpoint(up));
    EXPECT_FALSE(t.remove_endpoint(vm));
    EXPECT_FALSE(t.destroy_rule(vm, RuleId{99}));
    auto bad = t.create_rule(
        vm, rule("ingress pattern eth / end actions represented_port ethdev_port_id nobody / end"));
    ASSERT_FALSE(bad);
    EXPECT_EQ(bad.error().token, "nobody");
    EXPECT_FALSE(t.create_rule(
        vm,
        rule("egress pattern eth / end actions represented_port ethdev_port_id physnet1 / end")));
    EXPECT_FALSE(
        t.create_rule(vm, rule("ingress pattern eth / end actions drop / end"), RuleId{0}));
    EXPECT_FALSE(t.set_location(up, {LocationKind::kUplink, {}, up}));
    Profile profile;
    profile.name = "9bad";
    EXPECT_FALSE(t.add_endpoint(profile, {}));
    profile.name = "vm5/net0";
    profile.vlans = {4095};
    EXPECT_FALSE(t.add_endpoint(profile, {}));
    EXPECT_EQ(store_.find("vm5/net0"), nullptr);
    t.commit();
  }
  EXPECT_EQ(picture(), before);
  store_.set_guard(vm, "vm1 moves to host-b");
  Transaction t(store_);
  auto refused = t.create_rule(vm, rule("ingress pattern eth / end actions drop / end"));
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().message, "vm1 moves to host-b");
  t.override_guards();
  EXPECT_TRUE(t.create_rule(vm, rule("ingress pattern eth / end actions drop / end")));
}

TEST_F(PolicyStoreTest, AddEndpoint_RejectsMacInUseInSameVlan) {
  Transaction t(store_);
  Profile a;
  a.name = "a";
  a.macs = {*parse_mac("02:00:00:00:00:01")};
  a.vlans = {10};
  ASSERT_TRUE(t.add_endpoint(a, {}));
  Profile b = a;
  b.name = "b";
  EXPECT_FALSE(t.add_endpoint(b, {}));
  b.vlans = {};
  EXPECT_FALSE(t.add_endpoint(b, {}));
  b.vlans = {11};
  EXPECT_TRUE(t.add_endpoint(b, {}));
}

TEST_F(PolicyStoreTest, RandomTransactions_AgreeWithModel) {
  const uint64_t seed = std::random_device{}();
  SCOPED_TRACE("seed " + std::to_string(seed));
  std::mt19937_64 rng(seed);
  const EndpointId vm = add("vm1/net0", EndpointKind::kVm);
  std::map<uint32_t, uint32_t> model;  // id -> priority
  for (int round = 0; round < 300; ++round) {
    auto next = model;
    Transaction t(store_);
    for (int op = 0; op < 5; ++op) {
      if (rng() % 3 != 0 || model.empty()) {
        const auto priority = static_cast<uint32_t>(rng() % 50);
        auto id = t.create_rule(vm, rule("ingress priority " + std::to_string(priority) +
                                         " pattern eth / end actions drop / end"));
        ASSERT_TRUE(id);
        next[id->value] = priority;
      } else {
        auto it = model.begin();
        std::advance(it, static_cast<long>(rng() % model.size()));
        if (t.destroy_rule(vm, RuleId{it->first})) next.erase(it->first);
      }
    }
    if (rng() % 2 == 0) {
      t.commit();
      model = next;
    }
    if (rng() % 4 == 0) {
      grace_.pass();
      reclaimer_.collect();
    }
    const RuleEntry* winner = hit(entry(vm).ingress);
    uint32_t want = UINT32_MAX;
    for (const auto& [id, priority] : model) want = std::min(want, priority);
    if (rng() % 2 == 0) continue;  // the transaction is still open
    ASSERT_EQ(winner == nullptr, model.empty());
    if (winner != nullptr) {
      ASSERT_EQ(winner->order.priority, want);
    }
  }
}

}  // namespace
}  // namespace godwit::dataplane
