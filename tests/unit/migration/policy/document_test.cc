// SPDX-License-Identifier: Apache-2.0
#include "migration/policy/document.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "migration/moves/fabric/announce.h"
#include "migration/policy/document_json.h"

namespace godwit::migration {
namespace {

Document sample() {
  Document d;
  d.vm = "vm7";
  d.host = "host-a";
  d.epoch = {3, "host-a"};
  dataplane::Profile p;
  p.name = "vm7/net0";
  p.macs = {*parse_mac("02:00:00:00:00:07")};
  p.ipv4s = {*parse_ipv4("10.0.0.7")};
  p.ipv6s = {*parse_ipv6("fd00::7")};
  p.vlans = {0, 10};
  d.profiles = {p};
  d.rules = {{"vm7/net0", 0, "ingress pattern eth / end actions drop / end", 5, 500},
             {"vm7/net0", 4, "egress pattern eth / end actions count / end", 0, 0}};
  d.uplink_rules = {
      {"physnet1", 9,
       "ingress pattern eth / end actions represented_port ethdev_port_id vm7/net0 / end", 1, 2}};
  d.uplinks = {"physnet1"};
  d.digest = digest_of(d);
  return d;
}

TEST(Document, RoundTripsThroughJson) {
  const Document d = sample();
  const auto back = document_from_text(to_json(d).dump());
  ASSERT_TRUE(back) << back.error().message;
  EXPECT_EQ(back->rules, d.rules);
  EXPECT_EQ(back->uplink_rules, d.uplink_rules);
  EXPECT_EQ(back->profiles, d.profiles);
  EXPECT_EQ(back->epoch, d.epoch);
  EXPECT_EQ(back->digest, d.digest);
}

TEST(Document, Digest_CoversProfilesAndRules_NotCounts) {
  const Document d = sample();
  Document other = d;
  other.rules[0].packets = 77;
  other.profiles[0].features = 1;
  other.host = "host-b";
  other.epoch = {9, "host-b"};
  EXPECT_EQ(digest_of(other), d.digest);
  other = d;
  other.rules[0].text += " ";
  EXPECT_NE(digest_of(other), d.digest);
  other = d;
  std::swap(other.rules[0], other.rules[1]);
  EXPECT_NE(digest_of(other), d.digest);
  other = d;
  other.profiles[0].mtu = 9000;
  EXPECT_NE(digest_of(other), d.digest);
}

TEST(Document, CutAnywhere_IsRefused) {
  const std::string text = to_json(sample()).dump();
  for (size_t size = 0; size < text.size(); ++size) {
    EXPECT_FALSE(document_from_text(text.substr(0, size))) << size;
  }
}

TEST(Document, AlteredByte_IsRefusedOrHarmless) {
  const std::string text = to_json(sample()).dump();
  const Document d = sample();
  for (size_t i = 0; i < text.size(); ++i) {
    for (char c : {'0', '9', 'x', '"', ']'}) {
      std::string altered = text;
      altered[i] = c;
      const auto parsed = document_from_text(altered);
      // Host, epoch, counts and features are not policy: all else is held by the digest.
      if (parsed) {
        EXPECT_EQ(digest_of(*parsed), d.digest) << i;
      }
    }
  }
}

TEST(Document, Error_NamesThePlaceAndTheExpectation) {
  const auto refuse = [](auto change, const std::string& where) {
    nlohmann::json json = to_json(sample());
    change(json);
    const auto parsed = document_from_json(json);
    ASSERT_FALSE(parsed) << where;
    EXPECT_EQ(parsed.error().token, where);
    EXPECT_FALSE(parsed.error().expected.empty()) << where;
  };
  refuse([](auto& j) { j["extra"] = 1; }, "/extra");
  refuse([](auto& j) { j["format"] = 2; }, "/format");
  refuse([](auto& j) { j.erase("vm"); }, "/vm");
  refuse([](auto& j) { j["epoch"]["counter"] = -1; }, "/epoch/counter");
  refuse([](auto& j) { j["profiles"][0]["macs"][0] = "02"; }, "/profiles/0/macs/0");
  refuse([](auto& j) { j["profiles"][0]["mtu"] = 67; }, "/profiles/0/mtu");
  refuse([](auto& j) { j["profiles"][0]["vlans"][1] = 4095; }, "/profiles/0/vlans/1");
  refuse([](auto& j) { j["profiles"] = nlohmann::json::array(); }, "/profiles");
  refuse([](auto& j) { j["rules"][1]["id"] = "4"; }, "/rules/1/id");
  refuse([](auto& j) { j["rules"][1]["x"] = 0; }, "/rules/1/x");
  refuse([](auto& j) { j["profiles"][0]["name"] = "other/net0"; }, "other/net0");
}

TEST(Document, DeepNesting_IsRefused) {
  EXPECT_FALSE(document_from_text(std::string(1'000'000, '[')));
  const auto crowded = document_from_text("[" + std::string(3'000'000, ',') + "]");
  ASSERT_FALSE(crowded);
  EXPECT_EQ(crowded.error().message, "document: more than 1048576 elements");
  EXPECT_FALSE(document_from_text(""));
}

TEST(Announcements, CoverEachAddressOnEachVlan_WithTheNonce) {
  const auto frames = announcements(sample().profiles[0], 0x1122334455667788u);
  ASSERT_EQ(frames.size(), 6u);  // 2 VLANs x (RARP, ARP, NA)
  size_t with_nonce = 0;
  for (const auto& frame : frames) {
    EXPECT_GE(frame.size(), 60u);
    EXPECT_EQ(std::vector<uint8_t>(frame.begin() + 6, frame.begin() + 12),
              (std::vector<uint8_t>{2, 0, 0, 0, 0, 7}));
    if (const auto message = read_fabric_message(frame)) {
      EXPECT_EQ(message->kind, FabricMessage::Kind::kAnnouncement);
      EXPECT_EQ(message->nonce, 0x1122334455667788u);
      EXPECT_EQ(message->address, fabric_addresses(sample().profiles[0])[with_nonce]);
      ++with_nonce;
    }
    for (size_t cut = 0; cut < 54; ++cut) EXPECT_FALSE(read_fabric_message({frame.data(), cut}));
  }
  EXPECT_EQ(with_nonce, 2u);
}

TEST(Announcements, Probe_IsUnicast_AndItsEchoIsBroadcast) {
  const MacAddress vm{{2, 0, 0, 0, 0, 7}}, uplink{{2, 0, 0, 0, 0, 0xaa}};
  using Kind = FabricMessage::Kind;
  for (const uint16_t vlan : {uint16_t{0}, uint16_t{20}}) {
    const FabricAddress address{vlan, vm};
    const auto asked = probe(address, uplink, 0xfedcba9876543210u),
               answered = echo(address, 0xfedcba9876543210u);
    EXPECT_TRUE(std::equal(vm.bytes.begin(), vm.bytes.end(), asked.begin()));
    EXPECT_TRUE(std::equal(uplink.bytes.begin(), uplink.bytes.end(), asked.begin() + 6))
        << "or the fabric would learn the VM there again";
    EXPECT_EQ(answered[0], 0xff);
    EXPECT_TRUE(std::equal(vm.bytes.begin(), vm.bytes.end(), answered.begin() + 6));
    for (const auto& [frame, kind] :
         {std::pair{asked, Kind::kProbe}, std::pair{answered, Kind::kEcho}}) {
      EXPECT_EQ(frame.size(), 60u);
      const auto message = read_fabric_message(frame);
      ASSERT_TRUE(message);
      EXPECT_EQ(message->kind, kind);
      EXPECT_EQ(message->address, address);
      EXPECT_EQ(message->nonce, 0xfedcba9876543210u);
    }
  }
}

}  // namespace
}  // namespace godwit::migration
