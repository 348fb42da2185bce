// SPDX-License-Identifier: Apache-2.0
//
// The classifier answers one question for each packet: of the rules in one table and group, which
// matching rule comes first in Order?
//
// Entries. A classifier borrows RuleEntry objects. Their owner keeps each entry alive until
// remove() has returned and a grace period has passed.
//
// Versions. An entry is visible at generation g if visible_from <= g < visible_until. Both are
// kNever while the entry is staged. The writer sets them just before it publishes the state with
// that generation, so entries are inserted before, and removed after, while workers look up.
//
// Thread safety. One writer (the control thread) calls insert(), insert_all() and remove(). Any
// number of readers call the const functions at the same time, without locks, between quiescent
// states. Memory that readers may still see goes to the Reclaimer.
//
// Bounds. Rules are never multiplied. A rule costs at most some 250 bytes. A lookup among n rules
// takes at most one step for each 256 of them, and some 8 for each of a bounded number of levels;
// no set of rules and no packet makes it worse. Hashes are keyed, so nobody can choose rules that
// collide. An insertion that would exceed ClassifierLimits is refused.
//
// Callers should rely only on this header; dataplane/classifier/README.md explains the data
// structure.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>

#include "base/rcu.h"
#include "base/result.h"
#include "dataplane/classifier/rule_entry.h"
#include "dataplane/packet/flow_key.h"
#include "dataplane/rules/rule.h"

namespace godwit::dataplane {

// The secret of a classifier's hashes.
using HashKey = std::array<uint64_t, 2>;
// Returns a key from the system's random numbers.
[[nodiscard]] HashKey random_hash_key();
// The function from which each classifier gets its key. Runs that must repeat exactly (instruction
// counts) pass one that returns a constant.
using HashKeySource = HashKey (*)();

// How much one classifier may hold.
struct ClassifierLimits {
  size_t rules = size_t{16} << 20;
  size_t memory_bytes = size_t{4} << 30;  // of its own structures, without the entries
};

// Upper bounds of what one lookup examines, for tests of the bounds and to explain a slow table.
struct LookupWork {
  size_t tables = 0;   // hash tables probed
  size_t records = 0;  // rules in the leaves reached
  size_t blocks = 0;   // blocks of up to 256 rules in the bit matrices reached
};

class Classifier {
 public:
  explicit Classifier(Reclaimer& reclaimer, const HashKey& key = random_hash_key(),
                      ClassifierLimits limits = {});
  ~Classifier();
  Classifier(const Classifier&) = delete;
  Classifier& operator=(const Classifier&) = delete;

  // Writer. Inserts the entry in bounded time, whatever the classifier holds. Returns an error, and
  // changes nothing, if a limit would be exceeded.
  Result<void> insert(const RuleEntry& entry);
  // Writer. Inserts all entries, or none and returns an error. This is much faster than single
  // insertions if `entries` are many compared with size(). The time is not bounded: use it for
  // tables that are built aside.
  Result<void> insert_all(std::span<const RuleEntry* const> entries);
  // Writer. Removes an entry, which must be present. Lookups that start later do not reach it.
  void remove(const RuleEntry& entry);

  // Readers. Returns the first matching entry in Order that is visible at `generation`, or nullptr.
  // With `after`, considers only entries strictly after it.
  [[nodiscard]] const RuleEntry* lookup(const FlowKey& key, uint64_t generation,
                                        const Order* after = nullptr) const;
  // Looks up at most 32 keys at once: out[i] becomes the result for *keys[i].
  void lookup_batch(std::span<const FlowKey* const> keys, uint64_t generation,
                    std::span<const RuleEntry*> out) const;

  // Returns what a lookup of `key` examines.
  [[nodiscard]] LookupWork work(const FlowKey& key, uint64_t generation) const;

  [[nodiscard]] size_t size() const;  // entries inserted
  // Returns the memory of the classifier's own structures, without the entries.
  [[nodiscard]] size_t memory_bytes() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace godwit::dataplane
