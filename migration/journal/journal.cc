// SPDX-License-Identifier: Apache-2.0
#include "migration/journal/journal.h"

#include <algorithm>
#include <utility>

#include "migration/journal/storable.h"

namespace godwit::migration {

std::string Journal::key(const std::string& id, MoveRole role) {
  return std::string(name_of(role)) + " " + id;
}

const SettledMove* Journal::settled(const std::string& id, MoveRole role) const {
  const auto found = settled_.find(key(id, role));
  return found == settled_.end() ? nullptr : &found->second;
}

void Journal::remember(const JournalBatch& batch) {
  for (const auto& [vm, epoch] : batch.epochs) epochs_[vm] = epoch;
  for (const SettledMove& move : batch.settled) {
    std::string which = key(move.id, move.role);
    if (settled_.insert_or_assign(which, move).second) settled_order_.push_back(std::move(which));
  }
  while (settled_order_.size() > kMaxSettled) {
    settled_.erase(settled_order_.front());
    settled_order_.pop_front();
  }
}

Result<void> Journal::store_watched(const JournalBatch& batch) {
  if (watcher_) watcher_(batch, false);
  auto stored = store(batch);
  if (stored && watcher_) watcher_(batch, true);
  return stored;
}

Result<void> Journal::flush() {
  while (!kept_.empty()) {
    if (auto stored = store_watched(kept_.front()); !stored) return stored;
    kept_.pop_front();
  }
  return {};
}

Result<void> Journal::write(const JournalBatch& batch) {
  const bool cut = std::ranges::any_of(
      batch.settled, [](const SettledMove& move) { return move.why.size() > kMaxWhyBytes; });
  if (cut) {
    JournalBatch shorter = batch;
    for (SettledMove& move : shorter.settled) cut_texts(move);
    return write(shorter);
  }
  if (auto good = storable(batch); !good) return good;
  if (auto flushed = flush(); !flushed) return flushed;
  if (auto stored = store_watched(batch); !stored) return stored;
  remember(batch);
  return {};
}

Result<void> Journal::write_or_keep(JournalBatch batch) {
  for (SettledMove& move : batch.settled) cut_texts(move);
  remember(batch);
  kept_.push_back(std::move(batch));
  return flush();
}

}  // namespace godwit::migration
