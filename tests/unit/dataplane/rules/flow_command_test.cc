// SPDX-License-Identifier: Apache-2.0
#include "dataplane/rules/flow_command.h"

#include <gtest/gtest.h>

#include <string>

namespace godwit::dataplane {
namespace {

std::string canonical(std::string_view line) {
  const Result<FlowCommand> command = parse_flow_command(line);
  if (!command)
    return "error at " + std::to_string(command.error().column) + ": " + command.error().message;
  return to_text(*command);
}

TEST(FlowCommand, ParsesEachVerbWithAndWithoutFlow) {
  const char* lines[] = {
      "flow validate 0 ingress pattern eth / end actions drop / end",
      "flow create vm7/net0 transfer group 3 priority 9 pattern eth / ipv4 / end actions port_id "
      "id physnet1 / end",
      "flow destroy 0 rule 1",
      "flow destroy vm1/net0 rule 1 rule 2 rule 4294967295",
      "flow flush 3",
      "flow query vm1/net0 5 count",
      "flow list 0",
      "flow list 0 group 1 group 2",
      "flow dump 0 all",
      "flow dump 0 all somewhere.txt",
      "flow dump 0 rule 7",
      "flow dump 0 rule 7 somewhere.txt",
  };
  for (const std::string line : lines) {
    EXPECT_EQ(canonical(line), line);
    EXPECT_EQ(canonical(line.substr(5)), line);
    EXPECT_EQ(canonical("  \t" + line + "   # why"), line);
    const Result<FlowCommand> command = parse_flow_command(line);
    ASSERT_TRUE(command);
    const Result<FlowCommand> again = parse_flow_command(to_text(*command));
    ASSERT_TRUE(again);
    EXPECT_EQ(*again, *command);
  }
}

TEST(FlowCommand, FillsFieldsOfCommand) {
  const Result<FlowCommand> destroy = parse_flow_command("flow destroy vm1/net0 rule 1 rule 0x10");
  ASSERT_TRUE(destroy);
  EXPECT_EQ(destroy->verb, FlowVerb::kDestroy);
  EXPECT_EQ(destroy->port, "vm1/net0");
  EXPECT_EQ(destroy->rule_ids, (std::vector<uint32_t>{1, 16}));

  const Result<FlowCommand> list = parse_flow_command("flow list 0x2 group 5");
  ASSERT_TRUE(list);
  EXPECT_EQ(list->port, "2");
  EXPECT_EQ(list->groups, std::vector<uint32_t>{5});

  const Result<FlowCommand> create =
      parse_flow_command("flow create 0 egress priority 2 pattern eth / end actions drop / end");
  ASSERT_TRUE(create);
  EXPECT_EQ(create->rule.attributes.direction, Direction::kEgress);
  EXPECT_EQ(create->rule.attributes.priority, 2u);
  EXPECT_EQ(create->rule.pattern.size(), 1u);
  EXPECT_EQ(create->rule.actions.size(), 1u);
}

TEST(FlowCommand, ErrorsHaveColumnTokenAndExpectation) {
  const struct {
    const char* line;
    uint32_t column;
    const char* token;
    const char* expected;
  } cases[] = {
      {"", 1, "", "validate, create, destroy, flush, query, list or dump"},
      {"# only a remark", 1, "", "validate"},
      {"flow", 5, "", "validate"},
      {"flow isolate 0 1", 6, "isolate", "validate"},
      {"FLOW list 0", 1, "FLOW", "validate"},
      {"flow creat 0", 6, "creat", "create"},
      {"flow create", 12, "", "a port number or an endpoint's name"},
      {"flow create 65536", 13, "65536", "a port number or an endpoint's name"},
      {"flow create -x", 13, "-x", "a port number"},
      {"flow create 0 tunnel_set 1 ingress", 15, "tunnel_set", "ingress"},
      {"flow create 0 ingress pattern ethh / end actions drop / end", 31, "ethh", "eth"},
      {"flow destroy 0", 15, "", "rule"},
      {"flow destroy 0 rule", 20, "", "a number"},
      {"flow destroy 0 rule 0 1", 23, "1", "rule"},
      {"flow destroy 0 rule -1", 21, "-1", "a number"},
      {"flow flush 0 0", 14, "0", "the end of the line"},
      {"flow query 0 0", 15, "", "count"},
      {"flow query 0 0 mark", 16, "mark", "count"},
      {"flow query 0 0 count 1", 22, "1", "the end of the line"},
      {"flow list 0 1", 13, "1", "group"},
      {"flow list 0 group", 18, "", "a number"},
      {"flow dump 0", 12, "", "all or rule"},
      {"flow dump 0 all a b", 19, "b", "the end of the line"},
  };
  for (const auto& c : cases) {
    const Result<FlowCommand> command = parse_flow_command(c.line);
    ASSERT_FALSE(command) << c.line;
    EXPECT_EQ(command.error().column, c.column) << c.line;
    EXPECT_EQ(command.error().token, c.token) << c.line;
    EXPECT_NE(command.error().expected.find(c.expected), std::string::npos)
        << command.error().expected;
  }
}

TEST(FlowCommand, AcceptsOrRefusesEachPrefixOfLine) {
  const std::string line =
      "flow create vm7/net0 ingress group 1 priority 2 pattern eth src is 02:00:00:00:00:01 / vlan "
      "vid is 5 / ipv4 src "
      "spec 10.0.0.0 src prefix 8 / udp dst spec 1 dst last 9 dst mask 0xffff / end actions count "
      "/ set_ttl ttl_value 3 "
      "/ port_id id vm1/net0 / end";
  EXPECT_EQ(canonical(line), line);
  for (size_t length = 0; length < line.size(); ++length) {
    EXPECT_FALSE(parse_flow_command(std::string_view(line).substr(0, length)))
        << line.substr(0, length);
  }
}

TEST(FlowCommand, EndpointNamesBeginWithLetterAndAreBounded) {
  for (const char* name : {"a", "vm7/net0", "physnet1", "A.b_c-d/e", "end"})
    EXPECT_TRUE(is_endpoint_name(name)) << name;
  for (const char* name : {"", "7vm", "/a", "-a", "a b", "a#", "a:b", "\xc3\xa4"}) {
    EXPECT_FALSE(is_endpoint_name(name)) << name;
  }
  EXPECT_TRUE(is_endpoint_name(std::string(63, 'a')));
  EXPECT_FALSE(is_endpoint_name(std::string(64, 'a')));
  EXPECT_FALSE(is_endpoint_name(std::string_view("a\0b", 3)));
}

TEST(FlowCommand, RefusesLongLines) {
  EXPECT_TRUE(parse_flow_command("flow flush 0" + std::string(1000, ' ')));
  EXPECT_FALSE(parse_flow_command("flow flush 0" + std::string(70000, ' ')));
}

}  // namespace
}  // namespace godwit::dataplane
