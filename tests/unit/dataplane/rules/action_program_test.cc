// SPDX-License-Identifier: Apache-2.0
#include "dataplane/rules/action_program.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "dataplane/rules/flow_command.h"
#include "dataplane/rules/vocabulary.h"

namespace godwit::dataplane {
namespace {

// The resolver of the tests, which knows two endpoints.
Result<EndpointId> resolve(std::string_view name) {
  if (name == "vm1") return EndpointId{11};
  if (name == "7") return EndpointId{7};
  return fail("no endpoint " + std::string(name));
}

// Compiles the actions of a rule that matches each packet.
Result<ActionProgram> compile(const std::string& actions,
                              const std::string& attributes = "ingress") {
  auto rule = parse_rule(attributes + " pattern eth / end actions " + actions + " / end");
  if (!rule) return fail("does not parse: " + rule.error().message);
  return compile_actions(*rule, resolve);
}

// Returns the op to which a single action compiles. The test fails if the action is refused or does
// not compile to one op.
Op single_op(const std::string& action) {
  auto program = compile(action);
  EXPECT_TRUE(program) << action << ": " << (program ? "" : program.error().message);
  if (!program || program->ops.size() != 1) {
    ADD_FAILURE() << action << " does not compile to one op";
    return {};
  }
  return program->ops[0];
}

TEST(ActionProgram, CompilesEachActionToItsOp) {
  const struct {
    const char* text;
    OpCode code;
    uint32_t number;
  } cases[] = {
      {"drop", OpCode::kDrop, 0},
      {"passthru", OpCode::kPassthru, 0},
      {"jump group 4000000000", OpCode::kJump, 4000000000u},
      {"mark id 0x01020304", OpCode::kMark, 0x01020304},
      {"count", OpCode::kCount, 0},
      {"normal", OpCode::kNormal, 0},
      {"of_push_vlan ethertype 0x8100", OpCode::kPushVlan, 0x8100},
      {"of_push_vlan ethertype 0x88a8", OpCode::kPushVlan, 0x88a8},
      {"of_pop_vlan", OpCode::kPopVlan, 0},
      {"of_set_vlan_vid vlan_vid 4094", OpCode::kSetVlanVid, 4094},
      {"of_set_vlan_vid vlan_vid 0", OpCode::kSetVlanVid, 0},
      {"of_set_vlan_pcp vlan_pcp 7", OpCode::kSetVlanPcp, 7},
      {"mac_swap", OpCode::kMacSwap, 0},
      {"set_tp_src port 513", OpCode::kSetTpSrc, 513},
      {"set_tp_dst port 65535", OpCode::kSetTpDst, 65535},
      {"set_ttl ttl_value 255", OpCode::kSetTtl, 255},
      {"dec_ttl", OpCode::kDecTtl, 0},
  };
  for (const auto& one : cases) {
    const Op op = single_op(one.text);
    EXPECT_EQ(op.code, one.code) << one.text;
    EXPECT_EQ(op.number, one.number) << one.text;
    EXPECT_FALSE(op.endpoint.valid()) << one.text;
  }
}

TEST(ActionProgram, StoresAddressesInFirstBytesOfValue) {
  const auto starts_with = [](const Op& op, std::vector<uint8_t> bytes) {
    return std::equal(bytes.begin(), bytes.end(), op.value.begin());
  };
  EXPECT_TRUE(starts_with(single_op("set_mac_src mac_addr 02:01:02:03:04:05"), {2, 1, 2, 3, 4, 5}));
  EXPECT_TRUE(starts_with(single_op("set_mac_dst mac_addr 02:01:02:03:04:06"), {2, 1, 2, 3, 4, 6}));
  EXPECT_TRUE(starts_with(single_op("set_ipv4_src ipv4_addr 10.1.2.3"), {10, 1, 2, 3}));
  EXPECT_TRUE(starts_with(single_op("set_ipv4_dst ipv4_addr 10.1.2.4"), {10, 1, 2, 4}));
  EXPECT_TRUE(starts_with(single_op("set_ipv6_src ipv6_addr fd00::7"),
                          {0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 7}));
  EXPECT_TRUE(starts_with(single_op("set_ipv6_dst ipv6_addr fd00::8"),
                          {0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 8}));
}

TEST(ActionProgram, ResolvesEndpointsOfEachOutputAction) {
  for (const char* text :
       {"port_id id vm1", "represented_port ethdev_port_id vm1", "port_representor port_id vm1"}) {
    const Op op = single_op(text);
    EXPECT_EQ(op.code, OpCode::kOutput) << text;
    EXPECT_EQ(op.endpoint, EndpointId{11}) << text;
  }
  EXPECT_EQ(single_op("port_id id 7").endpoint, EndpointId{7});
}

TEST(ActionProgram, UnknownEndpointReturnsErrorOfResolver) {
  const auto program = compile("port_id id vm9");
  ASSERT_FALSE(program);
  EXPECT_EQ(program.error().message, "no endpoint vm9");
}

TEST(ActionProgram, KeepsOrderAndSkipsVoid) {
  const auto program = compile(
      "count / void / of_pop_vlan / port_id id vm1 / of_push_vlan ethertype 0x8100 / port_id id 7");
  ASSERT_TRUE(program);
  std::vector<OpCode> codes;
  for (const Op& op : program->ops) codes.push_back(op.code);
  EXPECT_EQ(codes, (std::vector<OpCode>{OpCode::kCount, OpCode::kPopVlan, OpCode::kOutput,
                                        OpCode::kPushVlan, OpCode::kOutput}));
}

TEST(ActionProgram, RefusesValuesOutOfRangeWithTokenAndExpectation) {
  const struct {
    const char* actions;
    const char* attributes;
    const char* token;
    const char* expected;
  } cases[] = {
      {"of_set_vlan_vid vlan_vid 4095", "ingress", "4095", "0 to 4094"},
      {"of_set_vlan_vid vlan_vid 65535", "ingress", "65535", "0 to 4094"},
      {"of_set_vlan_pcp vlan_pcp 8", "ingress", "8", "0 to 7"},
      {"of_push_vlan ethertype 0x9100", "ingress", "37120", "0x8100 or 0x88a8"},
      {"of_push_vlan ethertype 0", "ingress", "0", "0x8100 or 0x88a8"},
      {"jump group 0", "ingress", "0", "a group above 0"},
      {"jump group 5", "group 5 ingress", "5", "a group above 5"},
      {"jump group 4", "group 5 ingress", "4", "a group above 5"},
      {"drop / count", "ingress", "count", "nothing after drop, jump or passthru"},
      {"jump group 1 / drop", "ingress", "drop", "nothing after drop, jump or passthru"},
      {"passthru / dec_ttl", "ingress", "dec_ttl", "nothing after drop, jump or passthru"},
  };
  for (const auto& one : cases) {
    const auto program = compile(one.actions, one.attributes);
    ASSERT_FALSE(program) << one.actions;
    EXPECT_EQ(program.error().token, one.token) << one.actions;
    EXPECT_EQ(program.error().expected, one.expected) << one.actions;
  }
  EXPECT_TRUE(compile("jump group 6", "group 5 ingress"));
  EXPECT_TRUE(compile("drop / void"));
}

TEST(ActionProgram, RefusesMoreThanSixtyFourActions) {
  Rule rule;
  rule.actions.resize(kMaxActions, Action{static_cast<uint16_t>(ActionKind::kDecTtl), {}, {}});
  const auto full = compile_actions(rule, resolve);
  ASSERT_TRUE(full);
  EXPECT_EQ(full->ops.size(), kMaxActions);
  rule.actions.push_back(rule.actions[0]);
  EXPECT_FALSE(compile_actions(rule, resolve));
}

TEST(ActionProgram, NumbersHaveWidthOfVocabulary) {
  for (uint16_t kind = 0; kind < static_cast<uint16_t>(ActionKind::kCount); ++kind) {
    const ActionInfo& info = action_info(kind);
    if (info.width == 0 || info.width > 32 || info.format == Format::kEndpoint ||
        info.op == OpCode::kInvalid)
      continue;
    // A number that this action accepts, if it checks a range.
    const uint32_t number = info.op == OpCode::kPushVlan     ? 0x88a8
                            : info.op == OpCode::kSetVlanPcp ? 5
                            : info.width == 8                ? 200
                                                             : 4000;
    Rule rule;
    rule.actions.push_back(Action{kind, number_value(number, info.width), {}});
    const auto program = compile_actions(rule, resolve);
    ASSERT_TRUE(program) << info.name;
    EXPECT_EQ(program->ops[0].number, number) << info.name;
  }
}

TEST(ActionProgram, IgnoresActionBeyondVocabulary) {
  Rule rule;
  rule.actions.push_back(Action{60000, {}, {}});
  const auto program = compile_actions(rule, resolve);
  ASSERT_TRUE(program);
  EXPECT_TRUE(program->ops.empty());
}

}  // namespace
}  // namespace godwit::dataplane
