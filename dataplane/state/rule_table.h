// SPDX-License-Identifier: Apache-2.0
//
// RuleTable: the rules of one partition, which is either one direction of an endpoint or the shared
// transfer rules. It has a classifier for each group. Readers find the group in a small sorted
// array, which is replaced (RCU) when a group appears.
//
// Thread safety: one writer, the control thread, changes a table in place. Any number of workers
// read it between quiescent states.
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <span>
#include <utility>
#include <vector>

#include "base/rcu.h"
#include "base/result.h"
#include "dataplane/classifier/classifier.h"
#include "dataplane/packet/flow_key.h"

namespace godwit::dataplane {

// The bytes of a flow key that the rules of a table match on: 0xff for each such byte. A mask
// depends on the rules only, never on packets.
struct KeyMask {
  FlowKey bytes;
  uint16_t words = 0;  // bit i is set if word i of `bytes` is not zero
};
static_assert(kFlowKeyWords <= 16);

class RuleTable {
 public:
  explicit RuleTable(Reclaimer& reclaimer, HashKeySource keys = random_hash_key);
  ~RuleTable();
  RuleTable(const RuleTable&) = delete;
  RuleTable& operator=(const RuleTable&) = delete;

  // Readers. Returns the classifier of a group, or nullptr if the group has never had a rule.
  [[nodiscard]] const Classifier* group(uint32_t number) const {
    if (number == 0) return root_.load(std::memory_order_acquire);
    const Groups* groups = groups_.load(std::memory_order_acquire);
    for (const auto& [id, classifier] : *groups) {
      if (id == number) return classifier;
    }
    return nullptr;
  }

  // Readers. Returns the generation at which a rule of this table last became visible or invisible.
  [[nodiscard]] uint64_t changed() const { return changed_.load(std::memory_order_relaxed); }
  // Readers. Returns a mask that covers every rule that is visible at the state that the reader
  // holds: a rule is in the table before it is published, and leaves it a grace period after.
  [[nodiscard]] const KeyMask& looks_at() const { return *mask_.load(std::memory_order_acquire); }

  // Writer. Inserts the entry. Returns an error, and changes nothing, if its group is full.
  Result<void> insert(const RuleEntry& entry);
  // Writer. Inserts all entries or none. This is much faster than single insertions, but its time
  // is not bounded: use it for tables that are built aside.
  Result<void> insert_all(std::span<const RuleEntry* const> entries);
  // Writer. Removes an entry that is present.
  void remove(const RuleEntry& entry);
  // Writer. Sets changed(). Call it before the store that publishes `generation`.
  void note_change(uint64_t generation) { changed_.store(generation, std::memory_order_relaxed); }
  [[nodiscard]] size_t size() const { return size_; }
  [[nodiscard]] size_t memory_bytes() const;

 private:
  using Groups = std::vector<std::pair<uint32_t, const Classifier*>>;
  // Makes the classifier of a new group visible to readers.
  void link(uint32_t group, std::unique_ptr<Classifier> made);
  // Counts the bytes on which a rule matches when it is added (`more`) or removed, and publishes a
  // new mask if that changes it.
  void count_bytes(const Match& match, bool more);

  Reclaimer& reclaimer_;
  HashKeySource keys_;
  std::map<uint32_t, std::unique_ptr<Classifier>> owned_;
  std::atomic<const Classifier*> root_{nullptr};  // of group 0
  std::atomic<const Groups*> groups_;             // other groups, sorted by number
  std::atomic<const KeyMask*> mask_;
  std::atomic<uint64_t> changed_{0};
  std::array<uint32_t, kFlowKeyBytes> looked_at_{};  // rules that match on each byte
  size_t size_ = 0;
};

}  // namespace godwit::dataplane
