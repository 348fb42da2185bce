// SPDX-License-Identifier: Apache-2.0
#include "migration/engine/move_queue.h"

#include <algorithm>
#include <utility>

namespace godwit::migration {

bool MoveQueue::contains(std::string_view vm) const {
  return std::ranges::any_of(entries_, [&](const Entry& e) { return e.status.vm == vm; });
}

bool MoveQueue::ready(const MayBegin& may_begin) const {
  return std::ranges::any_of(entries_, [&](const Entry& e) { return may_begin(e.status.vm); });
}

size_t MoveQueue::count_of_evacuation(std::string_view id) const {
  return static_cast<size_t>(
      std::ranges::count_if(entries_, [&](const Entry& e) { return e.status.evacuation == id; }));
}

std::optional<MoveQueue::Entry> MoveQueue::pop(const MayBegin& may_begin) {
  const auto found =
      std::ranges::find_if(entries_, [&](const Entry& e) { return may_begin(e.status.vm); });
  if (found == entries_.end()) return std::nullopt;
  Entry next = std::move(*found);
  entries_.erase(found);
  return next;
}

std::optional<MoveQueue::Entry> MoveQueue::remove(std::string_view vm) {
  return pop([&](const std::string& queued) { return queued == vm; });
}

}  // namespace godwit::migration
