// SPDX-License-Identifier: Apache-2.0
//
// Frames made by scapy, in the form described in tests/builders/scapy_packets.py. The parser
// must read the same fields as scapy. Each rewriting action, written as in a rule, must produce the
// frame and the checksums that scapy produces.
#include <gtest/gtest.h>

#include <cstddef>
#include <cstdlib>
#include <fstream>
#include <sstream>
#include <string>
#include <vector>

#include "dataplane/packet/checksum.h"
#include "dataplane/packet/parse.h"
#include "dataplane/pipeline/packet_rewrite.h"
#include "dataplane/rules/flow_command.h"
#include "dataplane/rules/vocabulary.h"
#include "tests/builders/packet_builder.h"
#include "tests/oracles/frame_check.h"

namespace godwit::dataplane {
namespace {

using testing::Frame;
using testing::TestPacket;

struct Expectation {
  std::string action;  // with its value but without the name of the value
  Frame frame;         // empty if the action is refused
};
struct Sample {
  std::string name;
  Frame frame;
  std::vector<std::pair<std::string, std::string>> key;
  std::vector<Expectation> expectations;
};

Frame from_hex(const std::string& hex) {
  Frame bytes;
  for (size_t i = 0; i + 1 < hex.size(); i += 2) {
    bytes.push_back(static_cast<uint8_t>(std::stoul(hex.substr(i, 2), nullptr, 16)));
  }
  return bytes;
}

std::vector<Sample> read_samples() {
  const char* named = std::getenv("GODWIT_SCAPY_FRAMES");
  std::ifstream file(named != nullptr ? named : GODWIT_SCAPY_FRAMES_FILE);
  std::vector<Sample> samples;
  for (std::string line; std::getline(file, line);) {
    std::istringstream words(line);
    std::string kind, first;
    words >> kind;
    if (kind == "frame") {
      std::string hex;
      words >> first >> hex;
      samples.push_back({first, from_hex(hex), {}, {}});
      continue;
    }
    if (samples.empty()) return {};
    Sample& sample = samples.back();
    if (kind == "key") {
      std::string value;
      words >> first >> value;
      sample.key.emplace_back(first, value);
      continue;
    }
    Expectation expectation;
    if (kind == "rewrite") {
      words >> first;
      expectation.frame = from_hex(first);
    }
    words >> std::ws;
    std::getline(words, expectation.action);
    sample.expectations.push_back(std::move(expectation));
  }
  return samples;
}

const std::vector<Sample>& samples() {
  static const std::vector<Sample> all = read_samples();
  return all;
}

struct Place {
  const char* name;
  size_t offset;
  size_t size;
};
#define PLACE(name, member) \
  { #name, offsetof(FlowKey, member), sizeof(FlowKey::member) }
constexpr Place kPlaces[] = {
    PLACE(eth_dst, eth.dst),
    PLACE(eth_type, eth.type),
    PLACE(eth_src, eth.src),
    PLACE(vlan_tci, eth.vlan_tci),
    PLACE(vlan_inner_type, eth.vlan_inner_type),
    PLACE(vlan2_tci, eth.vlan2_tci),
    PLACE(vlan2_inner_type, eth.vlan2_inner_type),
    PLACE(layers, layers),
    PLACE(mark, mark),
    PLACE(ip_proto, ip.proto),
    PLACE(ip_ttl, ip.ttl),
    PLACE(ip_tos, ip.tos),
    PLACE(ipv6_next, ip.ipv6_next),
    PLACE(ip_fragment, ip.fragment),
    PLACE(ipv6_flow, ip.ipv6_flow),
    PLACE(ipv4_src, ipv4.src),
    PLACE(ipv4_dst, ipv4.dst),
    PLACE(ipv6_src, ipv6.src),
    PLACE(ipv6_dst, ipv6.dst),
    PLACE(l4_src, l4.src),
    PLACE(l4_dst, l4.dst),
    PLACE(tcp_flags, l4.tcp_flags),
    PLACE(icmp_type, l4.icmp_type),
    PLACE(icmp_code, l4.icmp_code),
    PLACE(icmp_ident, l4.icmp_ident),
    PLACE(icmp_seq, l4.icmp_seq),
    PLACE(vxlan_vni, l4.vxlan_vni),
    PLACE(arp_sha, arp.sha),
    PLACE(arp_opcode, arp.opcode),
    PLACE(arp_tha, arp.tha),
};
#undef PLACE

// Returns the key that scapy expects. Fields that it does not name are zero.
FlowKey expected_key(const Sample& sample) {
  FlowKey key;
  for (const auto& [name, value] : sample.key) {
    bool known = false;
    for (const Place& place : kPlaces) {
      if (name != place.name) continue;
      known = true;
      Frame bytes(place.size);
      if (value.starts_with("x:")) {
        bytes = from_hex(value.substr(2));
      } else {
        uint64_t number = std::stoull(value);
        for (size_t i = place.size; i-- > 0; number >>= 8) bytes[i] = static_cast<uint8_t>(number);
        EXPECT_EQ(number, 0u) << name << " does not fit";
      }
      EXPECT_EQ(bytes.size(), place.size) << name;
      std::copy(bytes.begin(), bytes.end(), key.bytes() + place.offset);
    }
    EXPECT_TRUE(known) << "no field " << name;
  }
  return key;
}

// Returns the op of an action without value names: "set_ttl 17" is "set_ttl ttl_value 17" in a
// rule.
Op op_of(const std::string& text) {
  const size_t blank = text.find(' ');
  const std::string name = text.substr(0, blank);
  std::string action = name;
  if (blank != std::string::npos) {
    const auto index = find_action(name);
    EXPECT_TRUE(index) << name;
    action += " " + std::string(action_info(index.value_or(0)).argument) + text.substr(blank);
  }
  const auto rule = parse_rule("ingress pattern eth / end actions " + action + " / end");
  EXPECT_TRUE(rule) << action;
  if (!rule) return {};
  const auto program =
      compile_actions(*rule, [](std::string_view) -> Result<EndpointId> { return fail("none"); });
  EXPECT_TRUE(program) << action;
  return program && program->ops.size() == 1 ? program->ops[0] : Op{};
}

TEST(Scapy, Samples_AreNumerous) {
  size_t rewrites = 0;
  for (const Sample& sample : samples()) rewrites += sample.expectations.size();
  EXPECT_GE(samples().size(), 40u) << "of " << GODWIT_SCAPY_FRAMES_FILE;
  EXPECT_GE(rewrites, 500u);
}

TEST(Scapy, Parse_EachFrame_MatchesScapysFields) {
  for (const Sample& sample : samples()) {
    SCOPED_TRACE(sample.name);
    TestPacket test(sample.frame);
    Parsed parsed;
    const auto drop = parse(test.packet, parsed);
    ASSERT_EQ(drop, std::nullopt) << drop_name(*drop);
    const FlowKey expected = expected_key(sample);
    for (const Place& place : kPlaces) {
      EXPECT_EQ(
          Frame(parsed.key.bytes() + place.offset, parsed.key.bytes() + place.offset + place.size),
          Frame(expected.bytes() + place.offset, expected.bytes() + place.offset + place.size))
          << place.name;
    }
  }
}

TEST(Scapy, Rewrite_EachAction_MatchesScapysFrame) {
  for (const Sample& sample : samples()) {
    for (const Expectation& expectation : sample.expectations) {
      SCOPED_TRACE(sample.name + ": " + expectation.action);
      const Op op = op_of(expectation.action);
      TestPacket test(sample.frame);
      Parsed parsed;
      ASSERT_EQ(parse(test.packet, parsed), std::nullopt);
      const auto drop = apply_rewrite(op, test.packet, parsed);
      if (!expectation.frame.empty()) {
        EXPECT_EQ(drop, std::nullopt);
        EXPECT_EQ(test.bytes(), expectation.frame);
        continue;
      }
      const bool last_hop =
          op.code == OpCode::kDecTtl && parsed.l3_offset != 0 && !parsed.key.has(kLayerArp);
      EXPECT_EQ(drop, last_hop ? Drop::k_ttl_exceeded : Drop::k_rewrite_impossible);
      EXPECT_EQ(test.bytes(), sample.frame);
    }
  }
}

TEST(Scapy, Rewrite_PartialChecksum_CompletesToScapysChecksum) {
  size_t tried = 0;
  for (const Sample& sample : samples()) {
    const testing::L4Place place = testing::find_l4(sample.frame);
    const bool unsummed = place.proto == 17 && place.checksum_at != 0 &&
                          testing::at16(sample.frame, place.checksum_at) == 0;
    if (place.checksum_at == 0 || unsummed || place.proto == 1) continue;
    for (const Expectation& expectation : sample.expectations) {
      if (expectation.frame.empty()) continue;
      SCOPED_TRACE(sample.name + ": " + expectation.action);
      TestPacket test(sample.frame);
      leave_checksum_undone(test);
      Parsed parsed;
      ASSERT_EQ(parse(test.packet, parsed), std::nullopt);
      ASSERT_EQ(apply_rewrite(op_of(expectation.action), test.packet, parsed), std::nullopt);
      ASSERT_EQ(finish_partial_checksum(test.packet), std::nullopt);
      EXPECT_EQ(test.bytes(), expectation.frame);
      ++tried;
    }
  }
  EXPECT_GT(tried, 150u);
}

}  // namespace
}  // namespace godwit::dataplane
