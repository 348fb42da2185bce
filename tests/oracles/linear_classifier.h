// SPDX-License-Identifier: Apache-2.0
//
// The slow, obviously correct classifier: it compares every entry with every key, and the first
// match in Order wins. Tests compare the fast classifier with it. Not thread safe.
#pragma once

#include <algorithm>
#include <vector>

#include "dataplane/classifier/classifier.h"

namespace godwit::testing {

class LinearClassifier {
 public:
  void insert(const dataplane::RuleEntry& entry) { entries_.push_back(&entry); }
  void remove(const dataplane::RuleEntry& entry) { std::erase(entries_, &entry); }

  [[nodiscard]] const dataplane::RuleEntry* lookup(const dataplane::FlowKey& key,
                                                   uint64_t generation,
                                                   const dataplane::Order* after = nullptr) const {
    const dataplane::RuleEntry* best = nullptr;
    for (const dataplane::RuleEntry* entry : entries_) {
      if (!entry->visible(generation) || !entry->match.matches(key)) continue;
      if (after != nullptr && entry->order <= *after) continue;
      if (best == nullptr || entry->order < best->order) best = entry;
    }
    return best;
  }

  // Returns all visible matches in Order. A series of lookups with `after` must return the same.
  [[nodiscard]] std::vector<const dataplane::RuleEntry*> all(const dataplane::FlowKey& key,
                                                             uint64_t generation) const {
    std::vector<const dataplane::RuleEntry*> matches;
    for (const dataplane::RuleEntry* entry : entries_) {
      if (entry->visible(generation) && entry->match.matches(key)) matches.push_back(entry);
    }
    std::sort(matches.begin(), matches.end(),
              [](const auto* a, const auto* b) { return a->order < b->order; });
    return matches;
  }

  [[nodiscard]] size_t size() const { return entries_.size(); }

 private:
  std::vector<const dataplane::RuleEntry*> entries_;
};

}  // namespace godwit::testing
