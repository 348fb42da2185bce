// SPDX-License-Identifier: Apache-2.0
#include "migration/link/codec.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cctype>
#include <fstream>
#include <random>
#include <sstream>

namespace godwit::migration {
namespace {

std::span<const uint8_t> bytes_of(const std::string& text) {
  return {reinterpret_cast<const uint8_t*>(text.data()), text.size()};
}

// The bytes of an example in docs/design/migration-protocol.md: what follows its mark, indented, up
// to each line's words.
std::string example(const std::string& name) {
  std::ifstream page(GODWIT_SOURCE_ROOT "/docs/design/migration-protocol.md");
  std::string line, out;
  while (std::getline(page, line) && line != "<!-- bytes: " + name + " -->") {
  }
  bool began = false;
  while (std::getline(page, line) && (!began || line.starts_with("    "))) {
    if (!line.starts_with("    ")) continue;
    began = true;
    std::istringstream words(line);
    for (std::string word; words >> word && word.size() == 2 && std::isxdigit(word[0]) != 0 &&
                           std::isxdigit(word[1]) != 0;) {
      out.push_back(static_cast<char>(std::stoi(word, nullptr, 16)));
    }
  }
  return out;
}

TEST(Wire, Messages_MatchTheDocumentedExamples) {
  wire::Envelope hello;
  *hello.mutable_hello() = make_hello("host-a");
  const std::string framed = frame_message(hello);
  EXPECT_EQ(framed, example("hello"));
  EXPECT_EQ(*frame_length(bytes_of(framed).first(4), kMaxHelloBytes), 19u);
  auto back = parse_message(bytes_of(example("hello")).subspan(4));
  ASSERT_TRUE(back);
  EXPECT_TRUE(agree_on_version(back->hello()));

  wire::Envelope handover;
  handover.set_vm("vm7");
  handover.set_move("1234");
  to_wire(Epoch{1, "host-a"}, *handover.mutable_epoch());
  to_wire(Epoch{2, "host-b"}, *handover.mutable_handover()->mutable_epoch());
  handover.mutable_handover()->set_digest("abc");
  EXPECT_EQ(frame_message(handover), example("handover"));
}

TEST(Wire, Length_OverLimit_IsRefusedBeforeAllocation) {
  const uint8_t huge[] = {0xff, 0xff, 0xff, 0xff};
  const uint8_t zero[] = {0, 0, 0, 0};
  EXPECT_FALSE(frame_length(huge, kMaxMessageBytes));
  EXPECT_FALSE(frame_length(zero, kMaxMessageBytes));
}

TEST(Wire, Entries_OverLimit_AreRefusedBeforeParsing) {
  const auto refused = [](int number, size_t entries, const std::string& entry) {
    std::string body;
    for (size_t i = 0; i < entries; ++i) body += entry;
    std::string bytes;
    const auto varint = [&](uint64_t value) {
      for (; value > 127; value >>= 7) bytes.push_back(static_cast<char>((value & 127) | 128));
      bytes.push_back(static_cast<char>(value));
    };
    varint(static_cast<uint64_t>(number) << 3 | 2);
    varint(body.size());
    bytes += body;
    const auto parsed = parse_message(bytes_of(bytes));
    return parsed ? std::string() : parsed.error().message;
  };
  const std::string empty_entry("\x0a\x00", 2);
  EXPECT_EQ(refused(20, kMaxRedirectFrames, empty_entry), "");
  EXPECT_EQ(refused(20, 100000, empty_entry), "peer: redirect of 100000 entries, at most 65");
  EXPECT_EQ(refused(13, 1000, empty_entry), "peer: refused of 1000 entries, at most 128");
  EXPECT_EQ(refused(11, 30'000'000, std::string("\x22\x00", 2)).substr(0, 32),
            "peer: offer of 30000000 entries,");
  EXPECT_EQ(refused(23, 600, empty_entry), "peer: done of 1200 bytes, at most 1024");
  for (const BodyLimit& limit : kBodyLimits)
    EXPECT_NE(refused(limit.number, limit.fields + 1, std::string("\xfa\x01\x00", 3)), "")
        << limit.name;
}

// An offer with this body.
std::string offer_bytes(const std::string& body) {
  std::string bytes;
  const auto varint = [&](uint64_t value) {
    for (; value > 127; value >>= 7) bytes.push_back(static_cast<char>((value & 127) | 128));
    bytes.push_back(static_cast<char>(value));
  };
  varint(11 << 3 | 2);
  varint(body.size());
  return bytes + body;
}
std::string field(int number, const std::string& content) {
  std::string out(1, static_cast<char>(number << 3 | 2));
  size_t value = content.size();
  for (; value > 127; value >>= 7) out.push_back(static_cast<char>((value & 127) | 128));
  out.push_back(static_cast<char>(value));
  return out + content;
}
std::string repeated(const std::string& entry, size_t times) {
  std::string out;
  out.reserve(entry.size() * times);
  for (size_t i = 0; i < times; ++i) out += entry;
  return out;
}
std::string refusal(const std::string& bytes) {
  const auto parsed = parse_message(bytes_of(bytes));
  return parsed ? std::string() : parsed.error().message;
}

TEST(Wire, NestedEntries_OverLimit_AreRefusedBeforeParsing) {
  const std::string empty_mac = field(2, "");
  EXPECT_EQ(refusal(offer_bytes(field(3, repeated(empty_mac, 32'000'000)))),
            "peer: profile of 64000000 bytes, 0 to 65536 are possible");
  EXPECT_EQ(refusal(offer_bytes(field(3, repeated(empty_mac, 6000)))),
            "peer: profile of 6000 entries, at most 5135");
  EXPECT_EQ(refusal(offer_bytes(repeated(field(3, ""), 65))),
            "peer: more than 64 entries of profile");
  EXPECT_EQ(refusal(offer_bytes(repeated(field(4, ""), 1000))),
            "peer: rule of 0 bytes, 16 to 131072 are possible");
  EXPECT_EQ(refusal(offer_bytes(repeated(field(6, "physnet1"), 65))),
            "peer: more than 64 entries of uplink");
  EXPECT_EQ(refusal(offer_bytes(field(6, std::string(64, 'u')))),
            "peer: uplink of 64 bytes, 1 to 63 are possible");
  // Two bodies in one message count together.
  EXPECT_EQ(refusal(repeated(offer_bytes(repeated(field(3, ""), 40)), 2)),
            "peer: more than 64 entries of profile");
}

TEST(Wire, EveryRepeatedField_HasALimit) {
  // The fields of wire.proto that can repeat, by body and number. Those that are missing from
  // kEntryLimits are limited by the body's fields alone.
  std::ifstream file(GODWIT_SOURCE_ROOT "/migration/link/wire.proto");
  size_t count = 0;
  for (std::string line; std::getline(file, line);) count += line.find("repeated ") < 30 ? 1 : 0;
  // Offer: profiles, rules, uplink_rules, uplinks. Within a profile: macs, ipv4s, ipv6s, vlans.
  // Alone in their bodies: refused.reasons, redirect.frames.
  EXPECT_EQ(count, std::size(kEntryLimits) + 4 + 2);
}

TEST(Wire, WordsOfAPeer_ArePrintable) {
  const auto sent = [](const wire::Envelope& message) {
    return parse_message(bytes_of(frame_message(message)).subspan(4));
  };
  wire::Envelope message;
  message.set_vm("vm7");
  message.set_move("1234");
  message.mutable_refused()->add_reasons("no\n2026-11-28 \x1b[31minfo forged");
  message.mutable_refused()->add_reasons(std::string(5000, 'x'));
  auto parsed = sent(message);
  ASSERT_TRUE(parsed);
  EXPECT_EQ(parsed->refused().reasons(0), "no?2026-11-28 ?[31minfo forged");
  EXPECT_EQ(parsed->refused().reasons(1), std::string(kMaxReasonBytes, 'x') + "...");
  message.mutable_abort()->set_reason("a\nb");
  EXPECT_EQ(sent(message)->abort().reason(), "a?b");
  message.mutable_revoked()->set_reason("a\rb");
  EXPECT_EQ(sent(message)->revoked().reason(), "a?b");
  message.mutable_prepared()->set_digest("a\nb");
  EXPECT_EQ(sent(message)->prepared().digest(), "a?b");
  message.mutable_handover()->set_digest("a\nb");
  EXPECT_EQ(sent(message)->handover().digest(), "a?b");
  message.mutable_delta()->mutable_destroyed()->set_owner("vm7/net0\n");
  EXPECT_FALSE(sent(message));
  message.mutable_done();
  EXPECT_TRUE(sent(message));
  message.set_move("12\n34");
  EXPECT_FALSE(sent(message));
  message.set_move("1234");
  message.set_vm("vm7\x1b");
  EXPECT_FALSE(sent(message));
}

TEST(Wire, EveryBody_HasLimits) {
  // Each number of the Envelope's oneof is in the table: one that is not would be taken as an
  // unknown field.
  for (int number = wire::Envelope::kHello; number <= wire::Envelope::kPong; ++number) {
    EXPECT_EQ(std::ranges::count(kBodyLimits, number, &BodyLimit::number), 1) << number;
  }
}

TEST(Wire, Hello_OfOtherProtocolOrVersion_IsRefusedByItsOwnReason) {
  wire::Hello hello = make_hello("b");
  hello.set_magic(1);
  EXPECT_FALSE(agree_on_version(hello));
  hello = make_hello("b");
  hello.set_version_low(kVersionHigh + 1);
  hello.set_version_high(kVersionHigh + 5);
  EXPECT_FALSE(agree_on_version(hello));
  hello = make_hello("b");
  hello.set_version_high(kVersionHigh + 5);
  EXPECT_EQ(*agree_on_version(hello), kVersionHigh);
  EXPECT_FALSE(agree_on_version(make_hello("")));
}

wire::Envelope offer() {
  Document d;
  d.vm = "vm7";
  d.host = "a";
  dataplane::Profile p;
  p.name = "vm7/net0";
  p.macs = {*parse_mac("02:00:00:00:00:07")};
  p.ipv6s = {*parse_ipv6("fd00::7")};
  p.vlans = {4};
  d.profiles = {p};
  d.rules = {{"vm7/net0", 3, "ingress pattern eth / end actions drop / end", 1, 2}};
  d.digest = digest_of(d);
  wire::Envelope message;
  message.set_vm("vm7");
  message.set_move("1234");
  to_wire(d, *message.mutable_offer());
  return message;
}

TEST(Wire, Offer_RoundTrips_AndItsDigestIsChecked) {
  wire::Envelope message = offer();
  auto parsed = parse_message(bytes_of(frame_message(message)).subspan(4));
  ASSERT_TRUE(parsed);
  auto document = from_wire("vm7", parsed->offer());
  ASSERT_TRUE(document) << document.error().message;
  EXPECT_EQ(document->rules.at(0).id, 3u);
  EXPECT_FALSE(from_wire("vm8", parsed->offer()));
  parsed->mutable_offer()->mutable_rules(0)->set_text(
      "ingress pattern eth / end actions count / end");
  EXPECT_FALSE(from_wire("vm7", parsed->offer()));
}

TEST(Wire, EndpointNamedTwice_IsRefused) {
  wire::Envelope message = offer();
  wire::Offer& offer = *message.mutable_offer();
  *offer.add_profiles() = offer.profiles(0);
  const auto document = from_wire("vm7", offer);
  ASSERT_FALSE(document);
  EXPECT_EQ(document.error().message, "peer: vm7/net0 is in the offer twice");
}

TEST(Wire, Values_OutOfRange_AreRefused) {
  const auto refused = [](auto change) {
    wire::Envelope message = offer();
    change(*message.mutable_offer());
    return !from_wire("vm7", message.offer()).has_value();
  };
  EXPECT_TRUE(refused([](auto& o) { o.mutable_profiles(0)->set_mtu(67); }));
  EXPECT_TRUE(refused([](auto& o) { o.mutable_profiles(0)->set_mtu(70000); }));
  EXPECT_TRUE(refused([](auto& o) { o.mutable_profiles(0)->set_queues(0); }));
  EXPECT_TRUE(refused([](auto& o) { o.mutable_profiles(0)->add_vlans(4095); }));
  EXPECT_TRUE(refused([](auto& o) { o.mutable_profiles(0)->add_macs("12345"); }));
  EXPECT_TRUE(refused([](auto& o) { o.mutable_profiles(0)->set_name("9"); }));
  EXPECT_TRUE(refused([](auto& o) { o.add_uplinks("bad name"); }));
  EXPECT_TRUE(refused([](auto& o) { o.clear_profiles(); }));
  EXPECT_TRUE(refused([](auto& o) { o.mutable_rules(0)->set_owner(std::string(64, 'a')); }));
}

TEST(Wire, EpochCounter_OverLimit_IsRefused) {
  const auto parsed = [](const wire::Envelope& message) {
    return parse_message(bytes_of(frame_message(message)).subspan(4)).has_value();
  };
  wire::Envelope message = offer();
  message.mutable_epoch()->set_counter(kMaxEpochCounter);
  message.mutable_offer()->mutable_epoch()->set_counter(kMaxOfferedCounter);
  EXPECT_TRUE(parsed(message));
  message.mutable_offer()->mutable_epoch()->set_counter(uint64_t{1} << 63);
  EXPECT_FALSE(parsed(message));
  message = offer();
  message.mutable_epoch()->set_counter(kMaxEpochCounter + 1);
  EXPECT_FALSE(parsed(message));
  message.clear_body();
  message.clear_epoch();
  message.mutable_handover()->mutable_epoch()->set_counter(UINT64_MAX);
  EXPECT_FALSE(parsed(message));
  EXPECT_EQ(next_epoch({kMaxEpochCounter, "a"}, "b"), (Epoch{kMaxEpochCounter, "b"}));
  EXPECT_EQ(next_epoch({1, "a"}, "b"), (Epoch{2, "b"}));
}

TEST(Wire, Frame_WithChecksumOutside_IsRefused) {
  wire::Frame frame;
  frame.set_data(std::string(60, 'x'));
  EXPECT_TRUE(from_wire(frame));
  frame.set_flags(dataplane::Packet::kPartialChecksum);
  frame.set_csum_start(34);
  frame.set_csum_offset(16);
  EXPECT_TRUE(from_wire(frame));
  frame.set_csum_start(0xffffffff);
  EXPECT_FALSE(from_wire(frame));
  frame.set_csum_start(50);
  EXPECT_FALSE(from_wire(frame));
  frame.set_flags(0x80);
  EXPECT_FALSE(from_wire(frame));
  frame.set_flags(0);
  frame.set_data("short");
  EXPECT_FALSE(from_wire(frame));
  frame.set_data(std::string(20000, 'x'));
  EXPECT_FALSE(from_wire(frame));
}

TEST(Wire, Message_CutOrAltered_IsParsedOrRefused) {
  const uint64_t seed = std::random_device{}();
  SCOPED_TRACE("seed " + std::to_string(seed));
  std::mt19937_64 rng(seed);
  const std::string good = frame_message(offer()).substr(4);
  for (size_t cut = 0; cut < good.size(); ++cut) {
    auto parsed = parse_message(bytes_of(good).first(cut));
    if (parsed && parsed->has_offer()) {
      EXPECT_FALSE(from_wire("vm7", parsed->offer())) << cut;
    }
  }
  for (int i = 0; i < 20000; ++i) {
    std::string bad = good;
    for (uint64_t n = 1 + rng() % 4; n > 0; --n) bad[rng() % bad.size()] = static_cast<char>(rng());
    auto parsed = parse_message(bytes_of(bad));
    if (parsed && parsed->has_offer()) (void)from_wire(parsed->vm(), parsed->offer());
  }
}

}  // namespace
}  // namespace godwit::migration
