// SPDX-License-Identifier: Apache-2.0
//
// Random rules for the classifier, and keys that hit them. There are two kinds of sets:
//   random_entry, random_key  Every kind of field, with few values, so that rules overlap and keys
//                             hit: IPv4 and IPv6 prefixes, ranges of any size, masks with holes,
//                             VLAN, MAC, mark.
//   access_list, list_key     Access lists: IPv4 addresses from a tree of networks; ports that are
//                             one value, a range, or any.
// A seed gives the same result on each platform, because nothing here depends on the library's
// distributions.
//
// Thread safety: each thread uses its own Random.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory>
#include <random>

#include "dataplane/classifier/classifier.h"

namespace godwit::testing {

using dataplane::FlowKey;
using dataplane::KeyRange;
using dataplane::kFlowKeyWords;
using dataplane::kLayerEth;
using dataplane::kLayerIpv4;
using dataplane::kLayerIpv6;
using dataplane::kLayerTcp;
using dataplane::kLayerUdp;
using dataplane::kLayerVlan;
using dataplane::kNever;
using dataplane::L4Fields;
using dataplane::Match;
using dataplane::RuleEntry;
using Random = std::mt19937_64;

inline uint32_t pick(Random& random, uint32_t below) {
  return static_cast<uint32_t>(random() % below);
}

inline void mask_bytes(FlowKey& key, const FlowKey& mask) {
  for (size_t i = 0; i < kFlowKeyWords; ++i) key.set_word(i, key.word(i) & mask.word(i));
}

inline void prefix(uint8_t* bytes, size_t bits) {
  for (size_t i = 0; i < bits; ++i)
    bytes[i / 8] = static_cast<uint8_t>(bytes[i / 8] | (0x80u >> (i % 8)));
}

// Returns a key with few different values, so that rules overlap and keys hit.
inline FlowKey random_key(Random& random) {
  FlowKey key;
  key.eth.dst.bytes = {2, 0, 0, 0, 0, static_cast<uint8_t>(pick(random, 4))};
  key.eth.src.bytes = {2, 0, 0, 0, 1, static_cast<uint8_t>(pick(random, 4))};
  const bool six = pick(random, 3) == 0;
  uint16_t layers = kLayerEth | (six ? kLayerIpv6 : kLayerIpv4);
  const uint32_t address[2] = {
      0x0a000000u | pick(random, 4) << 16 | pick(random, 3) << 8 | pick(random, 5),
      0xc0a80000u | pick(random, 3) << 12 | pick(random, 9)};
  if (six) {
    for (size_t i = 0; i < 2; ++i) {
      auto& bytes = (i == 0 ? key.ipv6.src : key.ipv6.dst).bytes;
      bytes[0] = 0xfd;
      for (size_t b = 0; b < 4; ++b)
        bytes[12 + b] = bytes[4 + b] = static_cast<uint8_t>(address[i] >> (24 - 8 * b));
    }
  } else {
    key.ipv4.src = to_be32(address[0]);
    key.ipv4.dst = to_be32(address[1]);
  }
  const bool tcp = pick(random, 2) == 0;
  layers = static_cast<uint16_t>(layers | (tcp ? kLayerTcp : kLayerUdp));
  key.ip.proto = tcp ? 6 : 17;
  key.ip.ttl = static_cast<uint8_t>(pick(random, 3) + 62);
  key.l4.src = to_be16(
      static_cast<uint16_t>(pick(random, 4) == 0 ? pick(random, 65536) : 1020 + pick(random, 8)));
  key.l4.dst = to_be16(static_cast<uint16_t>(pick(random, 12) + 76));
  key.layers = to_be16(layers);
  if (pick(random, 5) == 0) {
    key.eth.vlan_tci = to_be16(static_cast<uint16_t>(pick(random, 3)));
    key.layers = to_be16(static_cast<uint16_t>(layers | kLayerVlan));
  }
  if (pick(random, 6) == 0) key.mark = to_be32(pick(random, 3));
  return key;
}

inline void random_range(Random& random, Match& match, const FlowKey& key, size_t offset,
                         size_t size, uint32_t spread) {
  KeyRange range;
  range.offset = static_cast<uint8_t>(offset);
  range.size = static_cast<uint8_t>(size);
  const bool holed = pick(random, 5) == 0;  // A mask with holes.
  for (size_t i = 0; i < size; ++i) {
    range.mask[i] = holed ? static_cast<uint8_t>(random()) : 0xff;
    range.low[i] = range.high[i] = static_cast<uint8_t>(key.bytes()[offset + i] & range.mask[i]);
  }
  uint8_t& low = range.low[size - 1];
  uint8_t& high = range.high[size - 1];
  low = static_cast<uint8_t>((low - std::min<uint32_t>(low, pick(random, spread))) &
                             range.mask[size - 1]);
  if (pick(random, 3) == 0) high = range.mask[size - 1];
  if (pick(random, 4) == 0) range.low[0] = 0;
  match.ranges.push_back(range);
}

// Returns a rule that at least one result of random_key() matches.
inline void random_match(Random& random, Match& match) {
  const FlowKey key = random_key(random);
  FlowKey& mask = match.mask;
  const bool six = key.has(kLayerIpv6);
  if (pick(random, 10) != 0) mask.layers = to_be16(six ? kLayerIpv6 : kLayerIpv4);
  if (six) {
    if (pick(random, 2) == 0) prefix(mask.ipv6.src.bytes.data(), pick(random, 129));
    if (pick(random, 2) == 0) prefix(mask.ipv6.dst.bytes.data(), pick(random, 129));
  } else {
    if (pick(random, 2) == 0) prefix(mask.bytes() + offsetof(FlowKey, ipv4.src), pick(random, 33));
    if (pick(random, 2) == 0) prefix(mask.bytes() + offsetof(FlowKey, ipv4.dst), pick(random, 33));
  }
  if (pick(random, 3) == 0) mask.ip.proto = 0xff;
  if (pick(random, 3) == 0) mask.l4.dst = to_be16(0xffff);
  if (pick(random, 5) == 0) mask.l4.src = to_be16(0xffff);
  if (pick(random, 8) == 0) mask.eth.vlan_tci = to_be16(0x0fff);
  if (pick(random, 8) == 0) mask.eth.dst.bytes.fill(0xff);
  if (pick(random, 12) == 0) mask.mark = to_be32(0xffffffff);
  if (pick(random, 20) == 0) mask.set_word(pick(random, kFlowKeyWords), random());
  if (pick(random, 4) == 0) random_range(random, match, key, offsetof(FlowKey, l4.dst), 2, 6);
  if (pick(random, 8) == 0) random_range(random, match, key, offsetof(FlowKey, l4.src), 2, 200);
  if (pick(random, 16) == 0) random_range(random, match, key, offsetof(FlowKey, ip.ttl), 1, 3);
  if (pick(random, 16) == 0) random_range(random, match, key, offsetof(FlowKey, ipv4.dst), 4, 9);
  if (pick(random, 24) == 0) random_range(random, match, key, offsetof(FlowKey, ipv6.src), 16, 9);
  match.value = key;
  mask_bytes(match.value, mask);
}

inline std::unique_ptr<RuleEntry> random_entry(Random& random, uint64_t sequence) {
  auto entry = std::make_unique<RuleEntry>();
  random_match(random, entry->match);
  entry->order = {pick(random, 2) == 0 ? pick(random, 4) : pick(random, 1000),
                  static_cast<uint8_t>(pick(random, 2)), sequence};
  entry->id = RuleId{static_cast<uint32_t>(sequence)};
  return entry;
}

inline void make_visible(RuleEntry& entry, uint64_t from, uint64_t until = kNever) {
  entry.visible_until.store(until, std::memory_order_relaxed);
  entry.visible_from.store(from, std::memory_order_relaxed);
}

// Returns an address of an access list. `depth`, at most 4, is the level in the tree of networks. A
// level has 8 bits and 12 branches.
inline uint32_t list_address(Random& random, uint32_t depth) {
  uint32_t address = 0;
  for (uint32_t level = 0; level < 4; ++level) {
    const uint32_t branch =
        level < depth ? pick(random, level == 3 ? 256 : 12) * (level == 3 ? 1 : 37) + level : 0;
    address = address << 8 | (branch & 0xff);
  }
  return address;
}

inline void list_port(Random& random, Match& match, be16 L4Fields::*field, size_t offset) {
  static constexpr uint16_t kServices[] = {20,  21,  22,  25,  53,  80,   110,  123,
                                           143, 161, 389, 443, 993, 1521, 3306, 8080};
  const uint32_t kind = pick(random, 10);
  if (kind < 4) return;
  if (kind < 8) {
    match.mask.l4.*field = to_be16(0xffff);
    match.value.l4.*field = to_be16(kServices[pick(random, std::size(kServices))]);
    return;
  }
  KeyRange range;
  range.offset = static_cast<uint8_t>(offset);
  range.size = 2;
  range.mask[0] = range.mask[1] = 0xff;
  const uint32_t low = kind == 8 ? 1024 : pick(random, 60000);
  const uint32_t high = kind == 8 ? 65535 : low + 1 + pick(random, 300);
  range.low[0] = static_cast<uint8_t>(low >> 8);
  range.low[1] = static_cast<uint8_t>(low);
  range.high[0] = static_cast<uint8_t>(high >> 8);
  range.high[1] = static_cast<uint8_t>(high);
  match.ranges.push_back(range);
}

// Returns `size` rules, visible from generation 1 on; the first match wins. The result is a deque,
// because entries must not move.
inline std::deque<RuleEntry> access_list(uint64_t seed, size_t size) {
  Random random(seed);
  std::deque<RuleEntry> rules;
  for (size_t i = 0; i < size; ++i) {
    RuleEntry& entry = rules.emplace_back();
    Match& match = entry.match;
    match.mask.layers = match.value.layers = to_be16(kLayerIpv4);
    static constexpr uint32_t kLengths[] = {0, 8, 16, 22, 24, 24, 27, 30, 32, 32, 32, 32};
    const uint32_t from = kLengths[pick(random, std::size(kLengths))];
    const uint32_t to = kLengths[pick(random, std::size(kLengths))];
    match.value.ipv4.src = to_be32(list_address(random, 4));
    match.value.ipv4.dst = to_be32(list_address(random, 4));
    prefix(match.mask.bytes() + offsetof(FlowKey, ipv4.src), from);
    prefix(match.mask.bytes() + offsetof(FlowKey, ipv4.dst), to);
    if (pick(random, 5) != 0) {
      match.mask.ip.proto = 0xff;
      match.value.ip.proto = pick(random, 3) == 0 ? 17 : 6;
    }
    if (pick(random, 8) == 0) list_port(random, match, &L4Fields::src, offsetof(FlowKey, l4.src));
    list_port(random, match, &L4Fields::dst, offsetof(FlowKey, l4.dst));
    mask_bytes(match.value, match.mask);
    entry.order = {static_cast<uint32_t>(i), 0, i};
    entry.id = RuleId{static_cast<uint32_t>(i)};
    make_visible(entry, 1);
  }
  return rules;
}

// Returns a key that `rule` matches. An earlier rule may match it too.
inline FlowKey list_key(Random& random, const RuleEntry& rule) {
  FlowKey key;
  key.eth.type = to_be16(0x0800);
  key.ipv4.src = to_be32(list_address(random, 4));
  key.ipv4.dst = to_be32(list_address(random, 4));
  key.ip.proto = 6;
  key.ip.ttl = 64;
  key.l4.src = to_be16(static_cast<uint16_t>(32768 + pick(random, 28000)));
  key.l4.dst = to_be16(static_cast<uint16_t>(pick(random, 65536)));
  const Match& match = rule.match;
  for (size_t i = 0; i < kFlowKeyWords; ++i)
    key.set_word(i, (key.word(i) & ~match.mask.word(i)) | match.value.word(i));
  for (const KeyRange& range : match.ranges) {
    const auto low = static_cast<uint32_t>(range.low[0] << 8 | range.low[1]);
    const auto high = static_cast<uint32_t>(range.high[0] << 8 | range.high[1]);
    const uint32_t port = low + pick(random, high - low + 1);
    key.bytes()[range.offset] = static_cast<uint8_t>(port >> 8);
    key.bytes()[range.offset + 1] = static_cast<uint8_t>(port);
  }
  key.layers = to_be16(
      static_cast<uint16_t>(kLayerEth | kLayerIpv4 | (key.ip.proto == 17 ? kLayerUdp : kLayerTcp)));
  return key;
}

}  // namespace godwit::testing
