// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include <algorithm>
#include <string>
#include <vector>

#include "dataplane/rules/flow_command.h"
#include "dataplane/rules/vocabulary.h"
#include "tests/builders/random_rule.h"

namespace godwit::dataplane {
namespace {

const std::vector<std::string> kNames = {"vm1/net0", "vm1/net1", "vm2/net0", "physnet1"};

Completions complete(std::string_view line) {
  return complete_flow_command(line, line.size(), kNames);
}

std::string words(std::string_view line) {
  std::string out;
  for (const Completion& candidate : complete(line).candidates)
    out += (out.empty() ? "" : " ") + candidate.word;
  return out;
}

TEST(RuleCompletion, OffersWordsForCursor) {
  EXPECT_EQ(words("fl"), "flush flow");
  EXPECT_EQ(words("flow "), "validate create destroy flush query list dump");
  EXPECT_EQ(words("flow d"), "destroy dump");
  EXPECT_EQ(words("flow create "), "vm1/net0 vm1/net1 vm2/net0 physnet1");
  EXPECT_EQ(words("flow create vm1/"), "vm1/net0 vm1/net1");
  EXPECT_EQ(words("flow create 0 "), "group priority ingress egress transfer pattern");
  EXPECT_EQ(words("flow create 0 ingress pattern ipv6_"), "ipv6_ext ipv6_frag_ext");
  EXPECT_EQ(words("flow create 0 ingress pattern eth "), "dst src type has_vlan /");
  EXPECT_EQ(words("flow create 0 ingress pattern eth src "), "is spec last mask prefix");
  EXPECT_EQ(words("flow create 0 ingress pattern eth / end "), "actions");
  EXPECT_EQ(words("flow create 0 ingress pattern end actions set_ip"),
            "set_ipv4_src set_ipv4_dst set_ipv6_src set_ipv6_dst");
  EXPECT_EQ(words("flow create 0 ingress pattern end actions drop "), "/");
  EXPECT_EQ(words("flow create 0 ingress pattern end actions mark "), "id /");
  EXPECT_EQ(words("flow create 0 transfer pattern represented_port ethdev_port_id is p"),
            "physnet1");
  EXPECT_EQ(words("flow create 0 ingress pattern end actions port_id id vm2"), "vm2/net0");
  EXPECT_EQ(words("flow list 0 "), "group");
  EXPECT_EQ(words("flow destroy 0 rule 3 "), "rule");
  EXPECT_EQ(words("flow query 0 3 "), "count");
  EXPECT_EQ(words("flow dump 0 "), "all rule");
}

TEST(RuleCompletion, DescribesExpectedValue) {
  EXPECT_EQ(complete("flow create ").value, "a port number or an endpoint's name");
  EXPECT_EQ(complete("flow create 0 ingress group ").value, "a number up to 4294967295");
  EXPECT_EQ(complete("flow create 0 ingress pattern ipv4 src is ").value,
            "an IPv4 address such as 10.0.0.1");
  EXPECT_EQ(complete("flow create 0 ingress pattern vlan vid is ").value, "a number up to 4095");
}

TEST(RuleCompletion, OffersNothingAfterErrorOrEnd) {
  EXPECT_EQ(words("flow creat 0 "), "");
  EXPECT_EQ(words("flow create 0 ingress pattern foo "), "");
  EXPECT_EQ(words("flow create 0 ingress pattern end actions drop / end "), "");
  EXPECT_EQ(words("flow flush 0 "), "");
  EXPECT_EQ(words("flow create 0 # "), "");
}

TEST(RuleCompletion, AcceptsCursorInsideAndPastLine) {
  const std::string line = "flow create 0 ingress pattern eth / end actions drop / end";
  const Completions inside = complete_flow_command(line, 7, kNames);
  EXPECT_EQ(inside.begin, 5u);
  ASSERT_EQ(inside.candidates.size(), 1u);
  EXPECT_EQ(inside.candidates[0].word, "create");
  EXPECT_EQ(complete_flow_command(line, 10000, kNames).begin, line.size() - 3);
}

// Walks random rules word by word. Each word must be offered, or a value must be expected.
TEST(RuleCompletion, OffersEachWordOfValidRules) {
  testing::RandomRule random(3);
  for (int i = 0; i < 200; ++i) {
    FlowCommand command;
    command.verb = FlowVerb::kCreate;
    command.port = "vm1/net0";
    command.rule = random.rule();
    const std::string line = to_text(command);
    for (size_t begin = 0; begin < line.size();) {
      const size_t end = std::min(line.find(' ', begin), line.size());
      const std::string word = line.substr(begin, end - begin);
      const Completions offered = complete(std::string_view(line).substr(0, begin));
      const bool named = std::any_of(offered.candidates.begin(), offered.candidates.end(),
                                     [&](const Completion& c) { return c.word == word; });
      ASSERT_TRUE(named || !offered.value.empty()) << line << "\nat " << word;
      ASSERT_EQ(offered.begin, begin);
      begin = end + 1;
    }
  }
}

TEST(RuleCompletion, AcceptsAnyBytesAndAnyLength) {
  testing::RandomRule random(5);
  for (int i = 0; i < 5000; ++i) {
    std::string line;
    for (uint64_t n = random.below(40); n > 0; --n) line += static_cast<char>(random.below(256));
    complete_flow_command(line, random.below(60), kNames);
  }
  EXPECT_TRUE(complete(std::string(100000, 'x')).candidates.empty());
}

}  // namespace
}  // namespace godwit::dataplane
