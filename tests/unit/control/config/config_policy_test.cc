// SPDX-License-Identifier: Apache-2.0
#include "control/config/config_policy.h"

#include <gtest/gtest.h>

#include "control/config/config_reader.h"
#include "control/config/scratch_store.h"
#include "tests/unit/control/config/whole_config.h"

namespace godwit::control {
namespace {

class ConfigPolicyTest : public ::testing::Test {
 protected:
  Result<void> put(const std::string& text) {
    auto config = parse_config(text, "a.yaml");
    if (!config) return fail(config.error());
    return put_policy(*config, store);
  }
  ScratchStore scratch;
  dataplane::PolicyStore& store = scratch.store;
};

TEST_F(ConfigPolicyTest, PutPolicy_AddsEndpointsWithoutPorts) {
  auto done = put(std::string(kWholeConfig));
  ASSERT_TRUE(done) << done.error().message;
  const auto* vm1 = store.find("vm1/net0");
  ASSERT_NE(vm1, nullptr);
  EXPECT_FALSE(vm1->active);
  EXPECT_EQ(vm1->rules.size(), 1u);
  const auto* vm2 = store.find("vm2/net0");
  EXPECT_EQ(vm2->location.kind, dataplane::LocationKind::kUplink);
  EXPECT_EQ(vm2->location.uplink, store.find("physnet1")->id);
  EXPECT_EQ(store.find("vm3/net0")->location.kind, dataplane::LocationKind::kNone);
}

TEST_F(ConfigPolicyTest, BadRule_IsRefusedAtItsPlaceAndChangesNothing) {
  const std::string head = "host: a\nendpoints: [{name: v}]\nrules:\n";
  const struct {
    const char* rule;
    const char* place;
    const char* says;
  } rules[] = {
      {"\"flow create v ingress pattern ethh / end actions drop / end\"", "4:36", "ethh"},
      {"'flow create w ingress pattern eth / end actions drop / end'", "4:18", "no such endpoint"},
      {"flow create v ingress pattern eth / end actions represented_port ethdev_port_id w / end",
       "4:85", "no such endpoint"},
      {"flow flush v", "4:5", "flow create"},
      {"rubbish", "4:5", "flow command"},
      {"flow create 0 ingress pattern eth / end actions drop / end", "4:17", "no such endpoint"},
  };
  for (const auto& rule : rules) {
    SCOPED_TRACE(rule.rule);
    auto done = put(head + "  - " + rule.rule + "\n");
    ASSERT_FALSE(done);
    EXPECT_TRUE(done.error().message.starts_with(std::string("a.yaml:") + rule.place + ": "))
        << done.error().message;
    EXPECT_NE(done.error().message.find(rule.says), std::string::npos) << done.error().message;
    EXPECT_TRUE(store.endpoints().empty());
    EXPECT_EQ(store.rule_count(), 0u);
  }
}

TEST_F(ConfigPolicyTest, DuplicateMac_IsRefused) {
  auto done =
      put("host: a\nendpoints:\n  - {name: v, macs: [\"02:00:00:00:00:01\"]}\n  - {name: w, macs: "
          "[\"02:00:00:00:00:01\"]}\n");
  ASSERT_FALSE(done);
  EXPECT_TRUE(done.error().message.starts_with("a.yaml:4:12: ")) << done.error().message;
}

}  // namespace
}  // namespace godwit::control
