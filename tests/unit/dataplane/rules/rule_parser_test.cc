// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include <cstdlib>
#include <string>

#include "dataplane/rules/flow_command.h"
#include "dataplane/rules/vocabulary.h"
#include "tests/builders/random_rule.h"

namespace godwit::dataplane {
namespace {

std::string canonical(std::string_view text) {
  const Result<Rule> rule = parse_rule(text);
  if (!rule) return "error at " + std::to_string(rule.error().column) + ": " + rule.error().message;
  return to_text(*rule);
}

// Returns the canonical text of one item in an otherwise plain rule.
std::string canonical_item(const std::string& item) {
  const std::string text = canonical("transfer pattern " + item + " / end actions drop / end");
  const std::string head = "transfer pattern ", tail = " / end actions drop / end";
  if (!text.starts_with(head) || !text.ends_with(tail)) return text;
  return text.substr(head.size(), text.size() - head.size() - tail.size());
}

std::string canonical_action(const std::string& action) {
  const std::string text = canonical("ingress pattern end actions " + action + " / end");
  const std::string head = "ingress pattern end actions ", tail = " / end";
  if (!text.starts_with(head) || !text.ends_with(tail)) return text;
  return text.substr(head.size(), text.size() - head.size() - tail.size());
}

TEST(RuleParser, RandomRulesRoundTripThroughText) {
  const uint64_t seed =
      std::getenv("SEED") ? std::strtoull(std::getenv("SEED"), nullptr, 0) : 20240607;
  testing::RandomRule random(seed);
  for (int i = 0; i < 3000; ++i) {
    const Rule rule = random.rule();
    const std::string text = to_text(rule);
    const Result<Rule> back = parse_rule(text);
    ASSERT_TRUE(back) << "SEED=" << seed << " " << text << ": " << back.error().message;
    ASSERT_EQ(*back, rule) << "SEED=" << seed << " " << text << "\n" << to_text(*back);
    ASSERT_EQ(to_text(*back), text) << "SEED=" << seed;
  }
}

TEST(RuleParser, ParsesAndPrintsEachField) {
  for (const ItemInfo& item : items()) {
    EXPECT_EQ(canonical_item(std::string(item.name)), item.name);
    for (const FieldInfo& field : item.fields) {
      const char* value = field.format == Format::kMac        ? "02:00:00:00:00:01"
                          : field.format == Format::kIpv4     ? "10.0.0.1"
                          : field.format == Format::kIpv6     ? "fd00::1"
                          : field.format == Format::kEndpoint ? "vm1/net0"
                                                              : "1";
      const std::string text =
          std::string(item.name) + " " + std::string(field.name) + " is " + value;
      const Result<Rule> rule = parse_rule("transfer pattern " + text + " / end actions end");
      ASSERT_TRUE(rule) << text << ": " << rule.error().message;
      const PatternItem& parsed = rule->pattern.at(0);
      EXPECT_EQ(item_info(parsed.item).name, item.name);
      if (field.format == Format::kEndpoint) {
        EXPECT_EQ(parsed.endpoint, "vm1/net0");
      } else {
        ASSERT_EQ(parsed.fields.size(), 1u) << text;
        EXPECT_EQ(item.fields[parsed.fields[0].field].name, field.name);
        EXPECT_EQ(parsed.fields[0].mask, full_mask(field));
      }
    }
  }
}

TEST(RuleParser, ParsesAndPrintsEachAction) {
  for (const ActionInfo& action : actions()) {
    std::string text(action.name);
    if (!action.argument.empty()) {
      text += " " + std::string(action.argument) + " ";
      text += action.format == Format::kMac        ? "02:00:00:00:00:01"
              : action.format == Format::kIpv4     ? "10.0.0.1"
              : action.format == Format::kIpv6     ? "fd00::1"
              : action.format == Format::kEndpoint ? "vm1/net0"
              : action.format == Format::kHex      ? "0x88a8"
                                                   : "7";
    }
    EXPECT_EQ(canonical_action(text), text);
  }
}

TEST(RuleParser, ReadsValuesInAllFormsOfTestpmd) {
  EXPECT_EQ(canonical_item("tcp dst is 0x10"), "tcp dst is 16");
  EXPECT_EQ(canonical_item("tcp dst is 010"), "tcp dst is 8");
  EXPECT_EQ(canonical_item("tcp dst is +5"), "tcp dst is 5");
  EXPECT_EQ(canonical_item("eth src is 0200:0000:00AB"), "eth src is 02:00:00:00:00:ab");
  EXPECT_EQ(canonical_item("ipv4 src is 0x0a000001"), "ipv4 src is 10.0.0.1");
  EXPECT_EQ(canonical_item("ipv6 src is FD00:0::1"), "ipv6 src is fd00::1");
  EXPECT_EQ(canonical_item("eth type is 2048"), "eth type is 0x0800");
  EXPECT_EQ(canonical_item("port_id id is 0x2"), "port_id id is 2");
}

TEST(RuleParser, PrintsShortestFormOfMasksPrefixesAndRanges) {
  EXPECT_EQ(canonical_item("ipv4 src spec 10.1.2.3 src mask 255.255.0.0"),
            "ipv4 src spec 10.1.0.0 src prefix 16");
  EXPECT_EQ(canonical_item("ipv4 src spec 10.1.2.3 src mask 255.0.255.0"),
            "ipv4 src spec 10.0.2.0 src mask 255.0.255.0");
  EXPECT_EQ(canonical_item("ipv4 src spec 10.1.2.3 src prefix 32"), "ipv4 src is 10.1.2.3");
  EXPECT_EQ(canonical_item("ipv4 src spec 10.1.2.3 src prefix 0"), "ipv4");
  EXPECT_EQ(canonical_item("ipv6 dst spec fd00::1 dst prefix 64"),
            "ipv6 dst spec fd00:: dst prefix 64");
  EXPECT_EQ(canonical_item("eth dst spec 01:00:00:00:00:00 dst mask 01:00:00:00:00:00"),
            "eth dst spec 01:00:00:00:00:00 dst mask 01:00:00:00:00:00");
  EXPECT_EQ(canonical_item("tcp dst is 80 dst last 90"),
            "tcp dst spec 80 dst last 90 dst mask 0xffff");
  EXPECT_EQ(canonical_item("tcp dst is 80 dst last 80"), "tcp dst is 80");
  EXPECT_EQ(canonical_item("tcp dst is 80 dst last 0"), "tcp dst is 80");
  EXPECT_EQ(canonical_item("tcp flags spec 0x12 flags mask 0x02"),
            "tcp flags spec 0x02 flags mask 0x02");
  EXPECT_EQ(canonical_item("vlan vid spec 0x123 vid prefix 4"), "vlan vid spec 256 vid mask 0xf00");
}

TEST(RuleParser, LaterParameterOverridesEarlierOne) {
  EXPECT_EQ(canonical_item("tcp dst is 80 dst is 81"), "tcp dst is 81");
  EXPECT_EQ(canonical_item("tcp dst is 80 dst spec 82"), "tcp dst is 82");
  EXPECT_EQ(canonical_item("tcp dst is 80 dst mask 0"), "tcp");
  EXPECT_EQ(canonical_item("vlan tci is 0x2005 vid is 7"), "vlan tci is 0x2007");
  EXPECT_EQ(canonical_item("vlan vid is 7 pcp is 1"), "vlan pcp is 1 vid is 7");
  EXPECT_EQ(canonical_action("mark id 5 id 6"), "mark id 6");
  EXPECT_EQ(canonical("ingress group 1 group 2 ingress pattern end actions end"),
            "ingress group 2 pattern end actions end");
}

TEST(RuleParser, ItemWithoutMaskHasDefaultMaskOfRteFlow) {
  EXPECT_EQ(canonical_item("tcp dst spec 80"), "tcp src is 0 dst is 80");
  EXPECT_EQ(canonical_item("ipv4 src spec 10.0.0.1 proto spec 6"),
            "ipv4 src is 10.0.0.1 dst is 0.0.0.0");
  EXPECT_EQ(canonical_item("vlan vid spec 5"), "vlan vid is 5");
  EXPECT_EQ(canonical_item("vlan tci spec 0x2005"), "vlan tci spec 0x0005 tci mask 0x0fff");
  EXPECT_EQ(canonical_item("vxlan vni spec 5"), "vxlan vni is 5");
  EXPECT_EQ(canonical_item("icmp ident spec 5"), "icmp type is 0 code is 0");
  EXPECT_EQ(canonical_item("represented_port ethdev_port_id spec vm1/net0"),
            "represented_port ethdev_port_id is vm1/net0");
}

TEST(RuleParser, ActionWithoutArgumentHasZero) {
  EXPECT_EQ(canonical_action("jump"), "jump group 0");
  EXPECT_EQ(canonical_action("port_id"), "port_id id 0");
  EXPECT_EQ(canonical_action("set_mac_src"), "set_mac_src mac_addr 00:00:00:00:00:00");
  EXPECT_EQ(canonical_action("count identifier 0"), "count");
}

struct Refused {
  const char* text;
  uint32_t column;
  const char* token;
  const char* expected;  // a part of the text
};

TEST(RuleParser, ErrorsHaveColumnTokenAndExpectation) {
  const Refused cases[] = {
      {"", 1, "", "ingress"},
      {"ingress", 8, "", "pattern"},
      {"sideways pattern end actions end", 1, "sideways", "transfer"},
      {"pattern end actions end", 1, "pattern", "ingress, egress or transfer"},
      {"ingress egress pattern end actions end", 9, "egress", "only one"},
      {"ingress group x pattern end actions end", 15, "x", "a number up to 4294967295"},
      {"ingress group 4294967296 pattern", 15, "4294967296", "a number"},
      {"ingress group -1 pattern", 15, "-1", "a number"},
      {"ingress pattern foo / end actions end", 17, "foo", "eth, vlan"},
      {"ingress pattern eth end actions end", 21, "end", "dst, src, type, has_vlan or /"},
      {"ingress pattern eth / / end", 23, "/", "end"},
      {"ingress pattern eth src / end", 25, "/", "is, spec, last, mask or prefix"},
      {"ingress pattern eth src is / end", 28, "/", "a MAC address"},
      {"ingress pattern eth src is 2:0:0:0:0:1 / end", 28, "2:0:0:0:0:1", "a MAC address"},
      {"ingress pattern eth type is 65536 / end", 29, "65536", "65535"},
      {"ingress pattern eth type is 08 / end", 29, "08", "65535"},
      {"ingress pattern eth type is 0x / end", 29, "0x", "65535"},
      {"ingress pattern vlan vid is 4096 / end", 29, "4096", "4095"},
      {"ingress pattern vxlan vni is 16777216 / end", 30, "16777216", "16777215"},
      {"ingress pattern ipv4 src is 1.2.3 / end", 29, "1.2.3", "an IPv4 address"},
      {"ingress pattern ipv6 src is 10 / end", 29, "10", "an IPv6 address"},
      {"ingress pattern ipv4 src is 1.2.3.4 src prefix 33 / end", 48, "33", "at most 32"},
      {"ingress pattern ipv4 src mask 255.0.0.0 / end", 17, "ipv4", "is or spec"},
      {"ingress pattern tcp dst last 9 / end", 17, "tcp", "is or spec"},
      {"transfer pattern port_id id last 9 / end", 29, "last", "is, spec"},
      {"transfer pattern port_id id is 9 id mask 5 / end", 42, "5", "4294967295"},
      {"transfer pattern represented_port ethdev_port_id is 65536 / end", 53, "65536",
       "a port number"},
      {"transfer pattern represented_port ethdev_port_id is /x / end", 53, "/x", "a port number"},
      {"ingress pattern end", 20, "", "actions"},
      {"ingress pattern end / actions", 21, "/", "actions"},
      {"ingress pattern end actions", 28, "", "drop"},
      {"ingress pattern end actions drop", 33, "", "/"},
      {"ingress pattern end actions drop end", 34, "end", "/"},
      {"ingress pattern end actions fly / end", 29, "fly", "normal"},
      {"ingress pattern end actions mark 5 / end", 34, "5", "id or /"},
      {"ingress pattern end actions port_id original 1 / end", 37, "original", "id or /"},
      {"ingress pattern end actions set_ttl ttl_value 256 / end", 47, "256", "255"},
      {"ingress pattern end actions drop / end / end", 40, "/", "the end of the line"},
  };
  for (const Refused& c : cases) {
    const Result<Rule> rule = parse_rule(c.text);
    ASSERT_FALSE(rule) << c.text;
    EXPECT_EQ(rule.error().column, c.column) << c.text;
    EXPECT_EQ(rule.error().token, c.token) << c.text;
    EXPECT_NE(rule.error().expected.find(c.expected), std::string::npos)
        << c.text << ": " << rule.error().expected;
    EXPECT_FALSE(rule.error().message.empty()) << c.text;
  }
}

TEST(RuleParser, RefusesEachPrefixOfRule) {
  testing::RandomRule random(7);
  for (int i = 0; i < 40; ++i) {
    const std::string text = to_text(random.rule());
    for (size_t length = 0; length < text.size(); ++length) {
      const Result<Rule> rule = parse_rule(std::string_view(text).substr(0, length));
      ASSERT_FALSE(rule) << text.substr(0, length);
      EXPECT_GE(rule.error().column, 1u);
      EXPECT_LE(rule.error().column, length + 1);
    }
  }
}

TEST(RuleParser, AcceptsOrRefusesGarbage) {
  testing::RandomRule random(11);
  for (int i = 0; i < 5000; ++i) {
    std::string text = i % 2 == 0 ? to_text(random.rule()) : std::string();
    for (uint64_t n = 1 + random.below(5); n > 0; --n) {
      const size_t at = random.below(text.size() + 1);
      if (random.below(2) == 0 && at < text.size()) {
        text[at] = static_cast<char>(random.below(256));
      } else {
        text.insert(at, 1, static_cast<char>(random.below(256)));
      }
    }
    const Result<Rule> rule = parse_rule(text);
    if (rule) {
      const std::string again = to_text(*rule);
      const Result<Rule> back = parse_rule(again);
      ASSERT_TRUE(back) << again;
      EXPECT_EQ(*back, *rule) << again;
    } else {
      for (const char c : rule.error().token + rule.error().message) {
        ASSERT_TRUE(c >= 0x20 && c <= 0x7e) << "errors must be fit to be shown";
      }
    }
  }
}

TEST(RuleParser, RefusesTextsOverLimits) {
  const auto with_items = [](size_t n) {
    std::string text = "ingress pattern ";
    for (size_t i = 0; i < n; ++i) text += "void / ";
    return text + "end actions drop / end";
  };
  const auto with_actions = [](size_t n) {
    std::string text = "ingress pattern end actions ";
    for (size_t i = 0; i < n; ++i) text += "count / ";
    return text + "end";
  };
  EXPECT_TRUE(parse_rule(with_items(kMaxItems)));
  EXPECT_FALSE(parse_rule(with_items(kMaxItems + 1)));
  EXPECT_TRUE(parse_rule(with_actions(kMaxActions)));
  EXPECT_FALSE(parse_rule(with_actions(kMaxActions + 1)));
  std::string text = "ingress pattern end actions end";
  text.resize(kMaxRuleText, ' ');
  EXPECT_TRUE(parse_rule(text));
  EXPECT_FALSE(parse_rule(text + " "));
  EXPECT_FALSE(parse_rule(std::string(kMaxRuleText, 'x')));
}

TEST(RuleParser, ForEachEndpointNameRewritesNames) {
  Result<Rule> rule = parse_rule(
      "transfer pattern represented_port ethdev_port_id is 0 / eth / end actions port_id id 1 / "
      "drop / end");
  ASSERT_TRUE(rule);
  for_each_endpoint_name(*rule, [](std::string& name) { name = "vm" + name; });
  EXPECT_EQ(to_text(*rule),
            "transfer pattern represented_port ethdev_port_id is vm0 / eth / end actions port_id "
            "id vm1 / drop / end");
  const Rule& constant = *rule;
  std::string all;
  for_each_endpoint_name(constant, [&](const std::string& name) { all += name + ";"; });
  EXPECT_EQ(all, "vm0;vm1;");
}

TEST(RuleParser, ReferencePageNamesEachItemFieldAndAction) {
  const std::string page = rule_reference_markdown();
  for (const ItemInfo& item : items()) {
    EXPECT_NE(page.find("### `" + std::string(item.name) + "`"), std::string::npos) << item.name;
    for (const FieldInfo& field : item.fields) {
      EXPECT_NE(page.find("| `" + std::string(field.name) + "` |"), std::string::npos)
          << field.name;
    }
  }
  for (const ActionInfo& action : actions()) {
    EXPECT_NE(page.find("| `" + std::string(action.name) + "` |"), std::string::npos)
        << action.name;
  }
}

}  // namespace
}  // namespace godwit::dataplane
