// SPDX-License-Identifier: Apache-2.0
#include "dataplane/state/rule_table.h"

#include <algorithm>

namespace godwit::dataplane {

RuleTable::RuleTable(Reclaimer& reclaimer, HashKeySource keys)
    : reclaimer_(reclaimer), keys_(keys), groups_(new Groups), mask_(new KeyMask) {}

RuleTable::~RuleTable() {
  delete groups_.load(std::memory_order_relaxed);
  delete mask_.load(std::memory_order_relaxed);
}

void RuleTable::count_bytes(const Match& match, bool more) {
  bool other = false;
  const auto count = [&](size_t byte, uint8_t mask) {
    if (mask == 0) return;
    other |= more ? looked_at_[byte]++ == 0 : --looked_at_[byte] == 0;
  };
  for (size_t w = 0; w < kFlowKeyWords; ++w) {
    if (match.mask.word(w) == 0) continue;
    for (size_t b = w * 8; b < w * 8 + 8; ++b) count(b, match.mask.bytes()[b]);
  }
  for (const KeyRange& range : match.ranges) {
    for (size_t b = 0; b < range.size; ++b) count(range.offset + b, range.mask[b]);
  }
  if (!other) return;
  auto next = std::make_unique<KeyMask>();
  for (size_t b = 0; b < kFlowKeyBytes; ++b) {
    if (looked_at_[b] == 0) continue;
    next->bytes.bytes()[b] = 0xff;
    next->words = static_cast<uint16_t>(next->words | 1u << b / 8);
  }
  std::unique_ptr<const KeyMask> old(mask_.exchange(next.release(), std::memory_order_acq_rel));
  reclaimer_.retire(std::move(old));
}

void RuleTable::link(uint32_t group, std::unique_ptr<Classifier> made) {
  const Classifier* classifier = made.get();
  owned_.emplace(group, std::move(made));
  if (group == 0) {
    root_.store(classifier, std::memory_order_release);
    return;
  }
  auto next = std::make_unique<Groups>(*groups_.load(std::memory_order_relaxed));
  next->emplace_back(group, classifier);
  std::ranges::sort(*next);
  std::unique_ptr<const Groups> old(groups_.exchange(next.release(), std::memory_order_acq_rel));
  reclaimer_.retire(std::move(old));
}

Result<void> RuleTable::insert(const RuleEntry& entry) {
  const auto found = owned_.find(entry.group);
  if (found == owned_.end()) {
    auto made = std::make_unique<Classifier>(reclaimer_, keys_());
    if (auto inserted = made->insert(entry); !inserted) return inserted;
    link(entry.group, std::move(made));
  } else if (auto inserted = found->second->insert(entry); !inserted) {
    return inserted;
  }
  count_bytes(entry.match, true);
  ++size_;
  return {};
}

Result<void> RuleTable::insert_all(std::span<const RuleEntry* const> entries) {
  std::map<uint32_t, std::vector<const RuleEntry*>> groups;
  for (const RuleEntry* entry : entries) groups[entry->group].push_back(entry);
  for (auto at = groups.begin(); at != groups.end(); ++at) {
    const auto found = owned_.find(at->first);
    std::unique_ptr<Classifier> made;
    if (found == owned_.end()) made = std::make_unique<Classifier>(reclaimer_, keys_());
    Classifier& classifier = made != nullptr ? *made : *found->second;
    if (auto inserted = classifier.insert_all(at->second); !inserted) {
      for (auto undone = groups.begin(); undone != at; ++undone) {
        for (const RuleEntry* entry : undone->second) remove(*entry);
      }
      return inserted;
    }
    if (made != nullptr) link(at->first, std::move(made));
    for (const RuleEntry* entry : at->second) count_bytes(entry->match, true);
    size_ += at->second.size();
  }
  return {};
}

void RuleTable::remove(const RuleEntry& entry) {
  const auto found = owned_.find(entry.group);
  if (found == owned_.end()) return;
  found->second->remove(entry);
  count_bytes(entry.match, false);
  --size_;
}

size_t RuleTable::memory_bytes() const {
  size_t bytes = 0;
  for (const auto& [group, classifier] : owned_) bytes += classifier->memory_bytes();
  return bytes;
}

}  // namespace godwit::dataplane
