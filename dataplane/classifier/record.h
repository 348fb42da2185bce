// SPDX-License-Identifier: Apache-2.0
//
// Record: a rule as the tree compares it. It has the rule's masked value in compact form, up to two
// ranges on 16-bit fields, its order and its entry, in one cache line.
//
// Thread safety: constant once a reader can reach it.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>

#include "dataplane/classifier/bits.h"
#include "dataplane/classifier/layout.h"
#include "dataplane/classifier/rule_entry.h"

namespace godwit::dataplane::classifier {

inline constexpr uint64_t kMaxSequence = (uint64_t{1} << 56) - 1;

// The part of a Record that a lookup reads once the rule's masked value fits.
struct Meta {
  const RuleEntry* entry = nullptr;
  uint64_t age = 0;  // direction_rank, then sequence: Order without the priority
  uint32_t priority = 0;
  bool verify = false;  // the entry's Match has conditions that the record does not have
  uint8_t ranges = 0;   // 0..2 ranges on 16-bit fields that the mask does not cover entirely
  std::array<uint8_t, 2> range_at{};
  std::array<uint16_t, 2> low{};
  std::array<uint16_t, 2> high{};

  // Compares with the record of an entry that may be gone: the entry's memory may hold another rule
  // by now.
  [[nodiscard]] bool same_rule(const Meta& other) const {
    return entry == other.entry && age == other.age && priority == other.priority;
  }
  [[nodiscard]] bool before(const Meta& other) const {
    return priority != other.priority ? priority < other.priority : age < other.age;
  }
  [[nodiscard]] bool ranges_hold(const Bits& key) const {
    for (size_t i = 0; i < ranges; ++i) {
      const uint16_t at = key.be16_at(range_at[i]);
      if (at < low[i] || at > high[i]) return false;
    }
    return true;
  }
};
static_assert(sizeof(Meta) == 32);

// Allocated at a multiple of 64 bytes. The mask includes the prefix that both ends of each range
// have in common.
struct Record : Meta {
  Bits value;
  Bits mask;

  [[nodiscard]] bool masked_value_fits(const Bits& key) const {
    return (((key.word[0] & mask.word[0]) ^ value.word[0]) |
            ((key.word[1] & mask.word[1]) ^ value.word[1])) == 0;
  }
};
static_assert(sizeof(Record) == 64);

inline uint64_t age_of(const Order& order) {
  return uint64_t{order.direction_rank} << 56 | std::min(order.sequence, kMaxSequence);
}

[[nodiscard]] Record make_record(const RuleEntry& entry, const Layout& layout);

}  // namespace godwit::dataplane::classifier
