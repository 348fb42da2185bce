// SPDX-License-Identifier: Apache-2.0
//
// RuleEntry: one installed rule as the workers see it. The policy store owns the entries; a
// Classifier borrows them.
//
// Thread safety: an entry is constant once it is inserted, except for its two generations, which
// are atomic, and `place`, which belongs to the writer of the classifier that holds it.
#pragma once

#include <atomic>
#include <compare>
#include <cstdint>
#include <limits>

#include "base/ids.h"
#include "dataplane/rules/action_program.h"
#include "dataplane/rules/match.h"

namespace godwit::dataplane {

// A generation that no state reaches.
inline constexpr uint64_t kNever = std::numeric_limits<uint64_t>::max();

// Decides which of two matching rules wins: the lower Order. The priority counts first, then the
// direction (ingress before transfer), then the age (the older rule).
struct Order {
  uint32_t priority = 0;
  uint8_t direction_rank = 0;  // 0 for ingress and egress, 1 for transfer
  uint64_t sequence = 0;       // grows with each rule created on this switch
  constexpr auto operator<=>(const Order&) const = default;
};

struct RuleEntry {
  // Index in the list of the classifier's writer. First in the structure, so that the writer does
  // not dirty a cache line that lookups read.
  mutable uint32_t place = 0;
  Match match;
  Order order;
  uint32_t group = 0;
  ActionProgram actions;
  CounterId counter;
  EndpointId owner;
  RuleId id;
  std::atomic<uint64_t> visible_from{kNever};
  std::atomic<uint64_t> visible_until{kNever};

  // Returns whether visible_from <= generation < visible_until.
  [[nodiscard]] bool visible(uint64_t generation) const {
    return visible_from.load(std::memory_order_relaxed) <= generation &&
           generation < visible_until.load(std::memory_order_relaxed);
  }
};

}  // namespace godwit::dataplane
