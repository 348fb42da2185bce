// SPDX-License-Identifier: Apache-2.0
#include "dataplane/forwarding_state.h"

#include <algorithm>

namespace godwit::dataplane {

RuleTable::RuleTable(Reclaimer& reclaimer) : reclaimer_(reclaimer), groups_(new Groups) {}

RuleTable::~RuleTable() { delete groups_.load(std::memory_order_relaxed); }

Result<void> RuleTable::insert(const RuleEntry& entry) {
  auto found = owned_.find(entry.group);
  if (found == owned_.end()) {
    auto made = std::make_unique<Classifier>(reclaimer_);
    if (auto inserted = made->insert(entry); !inserted) return inserted;
    const Classifier* classifier = made.get();
    owned_.emplace(entry.group, std::move(made));
    if (entry.group == 0) {
      root_.store(classifier, std::memory_order_release);
    } else {
      auto next = std::make_unique<Groups>(*groups_.load(std::memory_order_relaxed));
      next->emplace_back(entry.group, classifier);
      std::ranges::sort(*next);
      std::unique_ptr<const Groups> old(groups_.exchange(next.release(), std::memory_order_acq_rel));
      reclaimer_.retire(std::move(old));
    }
  } else if (auto inserted = found->second->insert(entry); !inserted) {
    return inserted;
  }
  ++size_;
  return {};
}

void RuleTable::remove(const RuleEntry& entry) {
  const auto found = owned_.find(entry.group);
  if (found == owned_.end()) return;
  found->second->remove(entry);
  --size_;
}

size_t RuleTable::memory_bytes() const {
  size_t bytes = 0;
  for (const auto& [group, classifier] : owned_) bytes += classifier->memory_bytes();
  return bytes;
}

}  // namespace godwit::dataplane
