// SPDX-License-Identifier: Apache-2.0
#include "dataplane/rules/match.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <functional>
#include <map>
#include <optional>
#include <string>

#include "dataplane/rules/flow_command.h"
#include "dataplane/rules/vocabulary.h"
#include "tests/builders/random_rule.h"

namespace godwit::dataplane {
namespace {

Result<Match> compile(const std::string& pattern, const std::string& direction = "ingress") {
  const Result<Rule> rule =
      parse_rule(direction + " pattern " + pattern + " end actions drop / end");
  EXPECT_TRUE(rule) << pattern << ": " << (rule ? "" : rule.error().message);
  if (!rule) return fail("does not parse");
  return compile_match(*rule);
}

bool hits(const std::string& pattern, const FlowKey& key) {
  const Result<Match> match = compile(pattern);
  EXPECT_TRUE(match) << pattern << ": " << (match ? "" : match.error().message);
  return match && match->matches(key);
}

MacAddress mac(const char* text) { return parse_mac(text).value(); }
Ipv4Address ipv4(const char* text) { return parse_ipv4(text).value(); }
be32 ipv4_be(const char* text) { return std::bit_cast<be32>(ipv4(text).bytes); }

FlowKey tcp_key() {
  FlowKey key;
  key.layers = to_be16(kLayerEth | kLayerIpv4 | kLayerTcp);
  key.eth.dst = mac("02:00:00:00:00:02");
  key.eth.src = mac("02:00:00:00:00:01");
  key.eth.type = to_be16(0x0800);
  key.ip.proto = 6;
  key.ip.ttl = 64;
  key.ipv4.src = ipv4_be("10.1.2.3");
  key.ipv4.dst = ipv4_be("10.1.2.4");
  key.l4.src = to_be16(1000);
  key.l4.dst = to_be16(80);
  key.l4.tcp_flags = 0x12;
  return key;
}

FlowKey qinq_key() {
  FlowKey key = tcp_key();
  key.layers = to_be16(kLayerEth | kLayerVlan | kLayerVlan2 | kLayerIpv4 | kLayerTcp);
  key.eth.type = to_be16(0x88a8);
  key.eth.vlan_tci = to_be16(0x2064);  // pcp 1, vid 100
  key.eth.vlan_inner_type = to_be16(0x8100);
  key.eth.vlan2_tci = to_be16(200);
  key.eth.vlan2_inner_type = to_be16(0x0800);
  return key;
}

TEST(Match, EmptyPatternMatchesEverything) {
  EXPECT_TRUE(hits("", FlowKey{}));
  EXPECT_TRUE(hits("", tcp_key()));
  EXPECT_TRUE(hits("void / eth /", tcp_key()));
}

TEST(Match, ItemsRequireTheirLayer) {
  EXPECT_TRUE(hits("eth / ipv4 / tcp /", tcp_key()));
  EXPECT_TRUE(hits("ipv4 / tcp /", tcp_key()));
  EXPECT_TRUE(hits("tcp /", tcp_key()));
  EXPECT_TRUE(hits("eth / ipv4 /", qinq_key()));
  for (const char* other :
       {"udp /", "sctp /", "icmp /", "icmp6 /", "vxlan /", "arp_eth_ipv4 /", "ipv6 /", "vlan /",
        "ipv6_ext /", "ipv6_frag_ext /", "eth / ipv4 / udp /"}) {
    EXPECT_FALSE(hits(other, tcp_key())) << other;
  }
}

TEST(Match, TwoVlanItemsMatchOuterAndInnerTag) {
  EXPECT_TRUE(hits("eth / vlan vid is 100 / vlan vid is 200 / ipv4 /", qinq_key()));
  EXPECT_FALSE(hits("eth / vlan vid is 200 / vlan vid is 100 /", qinq_key()));
  EXPECT_TRUE(hits("eth / vlan vid is 100 /", qinq_key()));
  EXPECT_TRUE(hits("vlan pcp is 1 dei is 0 /", qinq_key()));
  EXPECT_TRUE(hits("vlan tci is 0x2064 / vlan tci is 200 /", qinq_key()));
  EXPECT_TRUE(hits("vlan inner_type is 0x8100 / vlan inner_type is 0x0800 / ipv4 /", qinq_key()));
  EXPECT_TRUE(hits("eth has_vlan is 1 / vlan has_more_vlan is 1 /", qinq_key()));
  EXPECT_FALSE(hits("vlan has_more_vlan is 0 /", qinq_key()));
  EXPECT_FALSE(hits("eth has_vlan is 0 / ipv4 /", qinq_key()));
  EXPECT_TRUE(hits("eth has_vlan is 0 / ipv4 /", tcp_key()));
  FlowKey single = qinq_key();
  single.layers = to_be16(kLayerEth | kLayerVlan | kLayerIpv4 | kLayerTcp);
  EXPECT_FALSE(hits("vlan / vlan /", single));
  EXPECT_TRUE(
      hits("vlan vid last 101 vid spec 99 vid mask 0xfff / vlan vid spec 199 vid last 201 vid mask "
           "0xfff /",
           qinq_key()));
  EXPECT_FALSE(hits("vlan / vlan vid spec 201 vid last 202 vid mask 0xfff /", qinq_key()));
}

TEST(Match, MatchesMasksPrefixesAndWildcards) {
  EXPECT_TRUE(hits("ipv4 src spec 10.1.0.0 src prefix 16 /", tcp_key()));
  EXPECT_FALSE(hits("ipv4 src spec 10.2.0.0 src prefix 16 /", tcp_key()));
  EXPECT_TRUE(hits("ipv4 src spec 99.99.99.99 src mask 0.0.0.0 /", tcp_key()));
  EXPECT_TRUE(hits("tcp flags spec 0x02 flags mask 0x02 /", tcp_key()));
  EXPECT_FALSE(hits("tcp flags spec 0x01 flags mask 0x01 /", tcp_key()));
  EXPECT_TRUE(hits("eth dst spec 02:00:00:00:00:00 dst prefix 40 /", tcp_key()));
  EXPECT_FALSE(hits("tcp dst spec 80 /", tcp_key()))
      << "the default mask asks for source port 0 too";
}

TEST(Match, RangesIncludeBothEnds) {
  for (const auto& [port, inside] :
       {std::pair{79, false}, {80, true}, {85, true}, {90, true}, {91, false}}) {
    FlowKey key = tcp_key();
    key.l4.dst = to_be16(static_cast<uint16_t>(port));
    EXPECT_EQ(hits("tcp dst is 80 dst last 90 /", key), inside) << port;
  }
  // The example of rte_flow.h: the mask applies before the range.
  for (const auto& [address, inside] : {std::pair{"10.0.255.255", false},
                                        {"10.1.0.0", true},
                                        {"10.3.255.255", true},
                                        {"10.4.0.0", false}}) {
    FlowKey key = tcp_key();
    key.ipv4.src = ipv4_be(address);
    EXPECT_EQ(hits("ipv4 src spec 10.1.2.3 src last 10.3.4.5 src mask 255.255.0.0 /", key), inside)
        << address;
  }
  const Result<Match> single = compile("tcp dst is 80 dst last 80 /");
  ASSERT_TRUE(single);
  EXPECT_TRUE(single->ranges.empty());
}

TEST(Match, OriginNeedsTransferRule) {
  const Result<Match> match =
      compile("represented_port ethdev_port_id is vm1/net0 / eth /", "transfer");
  ASSERT_TRUE(match);
  EXPECT_EQ(match->origin, "vm1/net0");
  EXPECT_TRUE(compile("represented_port / eth /", "transfer").value().origin.empty());
  EXPECT_TRUE(compile("port_id id is a / port_representor port_id is a /", "transfer"));
  EXPECT_FALSE(compile("port_id id is a / port_representor port_id is b /", "transfer"));
  EXPECT_FALSE(compile("port_id id is a /", "ingress"));
  EXPECT_FALSE(compile("port_representor /", "egress"));
}

TEST(Match, RefusesImpossiblePatternsByItem) {
  const struct {
    const char* pattern;
    const char* item;
  } cases[] = {
      {"ipv4 / eth /", "eth"},
      {"eth / eth /", "eth"},
      {"tcp / ipv4 /", "ipv4"},
      {"ipv4 / vlan /", "vlan"},
      {"ipv4 / ipv4 /", "ipv4"},
      {"ipv4 / ipv6 /", "ipv6"},
      {"udp / tcp /", "tcp"},
      {"vlan / vlan / vlan /", "vlan"},
      {"udp / vxlan / eth /", "eth"},
      {"udp / vxlan / vxlan /", "vxlan"},
      {"tcp / vxlan /", "vxlan"},
      {"arp_eth_ipv4 / tcp /", "tcp"},
      {"ipv4 / ipv6_frag_ext /", "ipv6_frag_ext"},
      {"ipv4 / icmp6 /", "icmp6"},
      {"ipv6 / icmp /", "icmp"},
      {"eth type is 0x0806 / ipv4 /", "ipv4"},
      {"eth type is 0x0800 / vlan /", "vlan"},
      {"vlan inner_type is 0x86dd / ipv4 /", "ipv4"},
      {"ipv4 proto is 17 / tcp /", "tcp"},
      {"ipv6 proto is 6 / udp /", "udp"},
      {"eth has_vlan is 0 / vlan /", "vlan"},
      {"ipv6 has_frag_ext is 0 / ipv6_frag_ext /", "ipv6_frag_ext"},
      {"mark id is 1 / mark id is 2 /", "mark"},
      {"tcp dst is 90 dst last 80 /", "tcp"},
      {"vlan / vlan has_more_vlan is 0 /", "vlan"},
  };
  for (const auto& c : cases) {
    const Result<Match> match = compile(c.pattern);
    ASSERT_FALSE(match) << c.pattern;
    EXPECT_EQ(match.error().token, c.item) << c.pattern;
    EXPECT_NE(match.error().message.find(c.item), std::string::npos) << match.error().message;
  }
}

TEST(Match, AcceptsPossiblePatterns) {
  for (const char* pattern :
       {"eth type is 0x0800 / ipv4 /", "eth type is 0x8100 / ipv4 /",
        "eth type is 0x88a8 / vlan / vlan / ipv6 /",
        "eth type spec 0x0806 type mask 0x0fff / ipv4 /",
        "eth type is 0x0800 type last 0x0900 / vlan /", "vlan inner_type is 0x8100 / ipv4 /",
        "ipv6 proto is 44 / ipv6_frag_ext / tcp /", "ipv6 proto is 0 / udp /",
        "ipv6 / ipv6_ext / ipv6_frag_ext / icmp6 /", "ipv4 proto is 6 / tcp /",
        "ipv4 proto is 200 /", "ipv4 / udp / vxlan /", "vxlan vni is 5 /",
        "mark id is 5 / eth / mark id is 5 / ipv4 /", "eth / void / ipv4 / void / tcp /"}) {
    const Result<Match> match = compile(pattern);
    EXPECT_TRUE(match) << pattern << ": " << (match ? "" : match.error().message);
  }
}

TEST(Match, RefusesImpossibleIndices) {
  Rule rule;
  rule.attributes.direction = Direction::kIngress;
  rule.pattern.push_back({999, {}, {}});
  EXPECT_FALSE(compile_match(rule));
  rule.pattern = {{static_cast<uint16_t>(ItemKind::kTcp), {FieldMatch{77, {}, {}, {}, false}}, {}}};
  EXPECT_FALSE(compile_match(rule));
  rule.pattern.assign(33, PatternItem{});
  EXPECT_FALSE(compile_match(rule));
}

// The oracle reads each field from FlowKey by the name of its member and compares it alone.
using Bytes = std::string;
template <typename T>
Bytes raw(const T& member) {
  return Bytes(reinterpret_cast<const char*>(&member), sizeof(member));
}
Bytes small(uint64_t number) { return Bytes(1, static_cast<char>(number)); }
Bytes two(uint64_t number) {
  return Bytes{static_cast<char>(number >> 8), static_cast<char>(number)};
}

std::map<std::string, std::function<Bytes(const FlowKey&)>> readers(bool inner) {
  const auto tci = [inner](const FlowKey& k) {
    return (inner ? k.eth.vlan2_tci : k.eth.vlan_tci).host();
  };
  return {
      {"eth.dst", [](const FlowKey& k) { return raw(k.eth.dst); }},
      {"eth.src", [](const FlowKey& k) { return raw(k.eth.src); }},
      {"eth.type", [](const FlowKey& k) { return raw(k.eth.type); }},
      {"eth.has_vlan", [](const FlowKey& k) { return small(k.has(kLayerVlan)); }},
      {"vlan.tci", [tci](const FlowKey& k) { return two(tci(k)); }},
      {"vlan.pcp", [tci](const FlowKey& k) { return small(tci(k) >> 13u); }},
      {"vlan.dei", [tci](const FlowKey& k) { return small(tci(k) >> 12u & 1u); }},
      {"vlan.vid", [tci](const FlowKey& k) { return two(tci(k) & 0xfffu); }},
      {"vlan.inner_type",
       [inner](const FlowKey& k) {
         return raw(inner ? k.eth.vlan2_inner_type : k.eth.vlan_inner_type);
       }},
      {"vlan.has_more_vlan", [](const FlowKey& k) { return small(k.has(kLayerVlan2)); }},
      {"arp_eth_ipv4.sha", [](const FlowKey& k) { return raw(k.arp.sha); }},
      {"arp_eth_ipv4.spa", [](const FlowKey& k) { return raw(k.ipv4.src); }},
      {"arp_eth_ipv4.tha", [](const FlowKey& k) { return raw(k.arp.tha); }},
      {"arp_eth_ipv4.tpa", [](const FlowKey& k) { return raw(k.ipv4.dst); }},
      {"ipv4.tos", [](const FlowKey& k) { return raw(k.ip.tos); }},
      {"ipv4.fragment_offset", [](const FlowKey& k) { return raw(k.ip.fragment); }},
      {"ipv4.ttl", [](const FlowKey& k) { return raw(k.ip.ttl); }},
      {"ipv4.proto", [](const FlowKey& k) { return raw(k.ip.proto); }},
      {"ipv4.src", [](const FlowKey& k) { return raw(k.ipv4.src); }},
      {"ipv4.dst", [](const FlowKey& k) { return raw(k.ipv4.dst); }},
      {"ipv6.tc", [](const FlowKey& k) { return raw(k.ip.tos); }},
      {"ipv6.flow",
       [](const FlowKey& k) {
         return small(k.ip.ipv6_flow.host() >> 16 & 0xf) + two(k.ip.ipv6_flow.host());
       }},
      {"ipv6.proto", [](const FlowKey& k) { return raw(k.ip.ipv6_next); }},
      {"ipv6.hop", [](const FlowKey& k) { return raw(k.ip.ttl); }},
      {"ipv6.src", [](const FlowKey& k) { return raw(k.ipv6.src); }},
      {"ipv6.dst", [](const FlowKey& k) { return raw(k.ipv6.dst); }},
      {"ipv6.has_frag_ext", [](const FlowKey& k) { return small(k.has(kLayerFragment)); }},
      {"ipv6_frag_ext.frag_data", [](const FlowKey& k) { return raw(k.ip.fragment); }},
      {"tcp.src", [](const FlowKey& k) { return raw(k.l4.src); }},
      {"tcp.dst", [](const FlowKey& k) { return raw(k.l4.dst); }},
      {"tcp.flags", [](const FlowKey& k) { return raw(k.l4.tcp_flags); }},
      {"udp.src", [](const FlowKey& k) { return raw(k.l4.src); }},
      {"udp.dst", [](const FlowKey& k) { return raw(k.l4.dst); }},
      {"sctp.src", [](const FlowKey& k) { return raw(k.l4.src); }},
      {"sctp.dst", [](const FlowKey& k) { return raw(k.l4.dst); }},
      {"icmp.type", [](const FlowKey& k) { return raw(k.l4.icmp_type); }},
      {"icmp.code", [](const FlowKey& k) { return raw(k.l4.icmp_code); }},
      {"icmp.ident", [](const FlowKey& k) { return raw(k.l4.icmp_ident); }},
      {"icmp.seq", [](const FlowKey& k) { return raw(k.l4.icmp_seq); }},
      {"icmp6.type", [](const FlowKey& k) { return raw(k.l4.icmp_type); }},
      {"icmp6.code", [](const FlowKey& k) { return raw(k.l4.icmp_code); }},
      {"vxlan.vni",
       [](const FlowKey& k) {
         return small(k.l4.vxlan_vni.host() >> 24) + two(k.l4.vxlan_vni.host() >> 8);
       }},
      {"mark.id", [](const FlowKey& k) { return raw(k.mark); }},
  };
}

uint16_t layers_of(const std::string& item, bool inner) {
  static const std::map<std::string, uint16_t> layers = {
      {"arp_eth_ipv4", kLayerArp},
      {"ipv4", kLayerIpv4},
      {"ipv6", kLayerIpv6},
      {"tcp", kLayerTcp},
      {"udp", kLayerUdp},
      {"sctp", kLayerSctp},
      {"icmp", kLayerIcmp},
      {"icmp6", kLayerIcmp6},
      {"vxlan", kLayerVxlan},
      {"vlan", kLayerVlan},
      {"ipv6_ext", kLayerIpv6 | kLayerIpv6Ext},
      {"ipv6_frag_ext", kLayerIpv6 | kLayerFragment}};
  if (inner) return kLayerVlan2 | kLayerVlan;
  const auto found = layers.find(item);
  return found == layers.end() ? 0 : found->second;
}

bool slow_match(const Rule& rule, const FlowKey& key) {
  int vlans = 0;
  for (const PatternItem& item : rule.pattern) {
    const ItemInfo& info = item_info(item.item);
    const std::string name(info.name);
    const bool inner = name == "vlan" && vlans++ == 1;
    if (!key.has(layers_of(name, inner))) return false;
    const auto read = readers(inner);
    for (const FieldMatch& field : item.fields) {
      Bytes value = read.at(name + "." + std::string(info.fields[field.field].name))(key);
      Bytes low(field.spec.begin(), field.spec.begin() + static_cast<long>(value.size()));
      Bytes high(field.last.begin(), field.last.begin() + static_cast<long>(value.size()));
      if (!field.has_last) high = low;
      for (size_t i = 0; i < value.size(); ++i) {
        const auto mask = static_cast<char>(field.mask[i]);
        value[i] = static_cast<char>(value[i] & mask);
        low[i] = static_cast<char>(low[i] & mask);
        high[i] = static_cast<char>(high[i] & mask);
      }
      if (value < low || value > high) return false;
    }
  }
  return true;
}

FlowKey random_key(testing::RandomRule& random) {
  FlowKey key;
  for (size_t i = 0; i < kFlowKeyBytes; ++i)
    key.bytes()[i] = static_cast<uint8_t>(random.below(256));
  return key;
}

// Returns a key that the rule should match, sometimes with one bit inverted.
FlowKey near_key(testing::RandomRule& random, const Rule& rule) {
  FlowKey key = random_key(random);
  int vlans = 0;
  uint16_t layers = key.layers.host();
  for (const PatternItem& item : rule.pattern) {
    const ItemInfo& info = item_info(item.item);
    const bool inner = info.name == "vlan" && vlans++ == 1;
    layers = static_cast<uint16_t>(layers | layers_of(std::string(info.name), inner));
  }
  key.layers = to_be16(layers);
  vlans = 0;
  for (const PatternItem& item : rule.pattern) {
    const ItemInfo& info = item_info(item.item);
    const bool inner = info.name == "vlan" && vlans++ == 1;
    for (const FieldMatch& field : item.fields) {
      const FieldInfo& described = info.fields[field.field];
      FieldBytes value = get_field(described, {key.bytes(), kFlowKeyBytes}, inner ? kInnerVlan : 0);
      const FieldBytes& wanted = field.has_last && random.below(2) == 0 ? field.last : field.spec;
      for (size_t i = 0; i < value.size(); ++i) {
        value[i] = static_cast<uint8_t>((value[i] & ~field.mask[i]) | wanted[i]);
      }
      if (described.key_offset == offsetof(FlowKey, layers) && inner) continue;
      put_field(described, value, {key.bytes(), kFlowKeyBytes}, inner ? kInnerVlan : 0);
    }
  }
  if (random.below(2) == 0) {
    const size_t bit = random.below(kFlowKeyBytes * 8);
    key.bytes()[bit / 8] = static_cast<uint8_t>(key.bytes()[bit / 8] ^ (1u << bit % 8));
  }
  return key;
}

Rule random_stack(testing::RandomRule& random) {
  static const std::vector<std::vector<std::vector<ItemKind>>> kChoices = {
      {{}, {ItemKind::kEth}},
      {{}, {}, {ItemKind::kVlan}, {ItemKind::kVlan, ItemKind::kVlan}},
      {{},
       {ItemKind::kArpEthIpv4},
       {ItemKind::kIpv4},
       {ItemKind::kIpv6},
       {ItemKind::kIpv6, ItemKind::kIpv6FragExt},
       {ItemKind::kIpv6Ext}},
      {{},
       {ItemKind::kTcp},
       {ItemKind::kUdp},
       {ItemKind::kSctp},
       {ItemKind::kIcmp},
       {ItemKind::kIcmp6},
       {ItemKind::kUdp, ItemKind::kVxlan}},
      {{}, {}, {ItemKind::kMark}},
  };
  Rule rule;
  rule.attributes.direction = Direction::kIngress;
  for (const auto& choices : kChoices) {
    for (const ItemKind kind : choices[random.below(choices.size())]) {
      rule.pattern.push_back(random.item(static_cast<uint16_t>(kind), true));
    }
  }
  return rule;
}

TEST(Match, AgreesWithSlowMatchOnRandomRulesAndKeys) {
  const uint64_t seed = std::getenv("SEED") ? std::strtoull(std::getenv("SEED"), nullptr, 0) : 4242;
  testing::RandomRule random(seed);
  int compiled = 0, matched = 0, missed = 0;
  for (int i = 0; i < 1500; ++i) {
    const Rule rule = random_stack(random);
    const Result<Match> match = compile_match(rule);
    if (!match) continue;
    ++compiled;
    for (size_t word = 0; word < kFlowKeyWords; ++word) {
      ASSERT_EQ(match->value.word(word) & ~match->mask.word(word), 0u) << to_text(rule);
    }
    for (int k = 0; k < 6; ++k) {
      const FlowKey key = k == 0 ? random_key(random) : near_key(random, rule);
      const bool expected = slow_match(rule, key);
      (expected ? matched : missed)++;
      ASSERT_EQ(match->matches(key), expected) << "SEED=" << seed << " " << to_text(rule);
    }
  }
  EXPECT_GT(compiled, 500);
  EXPECT_GT(matched, 500);
  EXPECT_GT(missed, 500);
}

}  // namespace
}  // namespace godwit::dataplane
