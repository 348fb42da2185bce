// SPDX-License-Identifier: Apache-2.0
//
// The classifier: of the rules in one table and group, which one does a packet hit?
//
// What it holds are RuleEntry objects that it borrows: the owner keeps each alive until remove()
// has returned AND a grace period has passed. What it returns is the first matching entry in Order
// among those visible at the caller's generation.
//
// Versions. An entry is visible at generation g when visible_from <= g < visible_until. Both are
// kNever while it is staged; the writer stores them just before the store that publishes the state
// with that generation. So entries are inserted and removed in place, before and after, while
// workers look up.
//
// Thread safety: one writer (the control thread) calls insert() and remove(); any number of readers
// call lookup() at the same time, without locks, between quiescent states. Memory that readers may
// still see goes to the Reclaimer.
//
// Bounds. Rules are never multiplied, and whatever they are, one costs some 250 bytes at most, and
// a lookup among n at most one step for each 256 of them and some 8 for each of a bounded number of
// levels: no set of rules, and no packet, makes it worse. Hashes are keyed, so that nobody can
// choose rules that collide. What would exceed the Limits is refused.
//
// How it works inside is nobody's business but classifier*.cc's.
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <memory>
#include <span>

#include "base/ids.h"
#include "base/rcu.h"
#include "base/result.h"
#include "dataplane/packet/flow_key.h"
#include "dataplane/rules/action_program.h"
#include "dataplane/rules/match.h"
#include "dataplane/rules/rule.h"

namespace godwit::dataplane {

inline constexpr uint64_t kNever = std::numeric_limits<uint64_t>::max();

// Which of two matching rules wins: the lower one. Priority, then ingress before transfer, then the
// older.
struct Order {
  uint32_t priority = 0;
  uint8_t direction_rank = 0;  // 0 ingress or egress, 1 transfer
  uint64_t sequence = 0;       // age: grows with each rule created on this switch
  constexpr auto operator<=>(const Order&) const = default;
};

// A rule as workers see it. Constant once inserted, but for the two generations.
struct RuleEntry {
  mutable uint32_t place =
      0;  // for the writer of the classifier that it is in; far from what each lookup reads
  Match match;
  Order order;
  uint32_t group = 0;
  ActionProgram actions;
  CounterId counter;
  EndpointId owner;
  RuleId id;
  std::atomic<uint64_t> visible_from{kNever};
  std::atomic<uint64_t> visible_until{kNever};

  [[nodiscard]] bool visible(uint64_t generation) const {
    return visible_from.load(std::memory_order_relaxed) <= generation &&
           generation < visible_until.load(std::memory_order_relaxed);
  }
};

// The secret of a classifier's hashes.
using HashKey = std::array<uint64_t, 2>;
[[nodiscard]] HashKey random_hash_key();  // from the system's random numbers
// What gives each classifier its key. Only what must be the same in every run (instruction counts)
// names another.
using HashKeySource = HashKey (*)();

// How much one classifier may hold.
struct ClassifierLimits {
  size_t rules = size_t{16} << 20;
  size_t memory_bytes = size_t{4} << 30;  // of its own structures
};

// What one lookup looks at, at most; for tests of bounds, and for finding out why a table is slow.
struct LookupWork {
  size_t tables = 0;   // hash tables probed
  size_t records = 0;  // rules in the leaves reached
  size_t blocks = 0;   // of up to 256 rules in the bit matrices reached
};

class Classifier {
 public:
  explicit Classifier(Reclaimer& reclaimer, const HashKey& key = random_hash_key(),
                      ClassifierLimits limits = {});
  ~Classifier();
  Classifier(const Classifier&) = delete;
  Classifier& operator=(const Classifier&) = delete;

  // Writer. Refuses, unchanged, what would exceed its limits, with the reason. Takes bounded time,
  // whatever it holds.
  Result<void> insert(const RuleEntry& entry);
  // Writer. All of them or none; much cheaper than one by one where they are many compared with
  // what is in here. Not bounded in time: for tables that are built aside.
  Result<void> insert_all(std::span<const RuleEntry* const> entries);
  // Writer. The entry must be in here; it is no longer reached by lookups that start afterwards.
  void remove(const RuleEntry& entry);

  // Readers. The winner for `key` at `generation` among entries strictly after `after` in Order, or
  // nullptr. `after` == nullptr: all entries.
  [[nodiscard]] const RuleEntry* lookup(const FlowKey& key, uint64_t generation,
                                        const Order* after = nullptr) const;
  // The same for a batch (at most 32): out[i] for *keys[i].
  void lookup_batch(std::span<const FlowKey* const> keys, uint64_t generation,
                    std::span<const RuleEntry*> out) const;

  [[nodiscard]] LookupWork work(const FlowKey& key, uint64_t generation) const;

  [[nodiscard]] size_t size() const;          // entries inserted
  [[nodiscard]] size_t memory_bytes() const;  // of its own structures, not of the entries

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace godwit::dataplane
