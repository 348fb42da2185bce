// SPDX-License-Identifier: Apache-2.0
//
// The moves from this host that have not begun. A move waits while max_preparing others are being
// prepared, or while frames kept in its VM's last move return to that VM. Owns their statuses; it
// starts nothing itself.
//
// Thread safety: the control thread only.
#pragma once

#include <deque>
#include <functional>
#include <optional>
#include <string>
#include <string_view>

#include "migration/moves/move_status.h"

namespace godwit::migration {

inline constexpr size_t kMaxQueued = 65536;

class MoveQueue {
 public:
  struct Entry {
    MoveStatus status;
    std::string address;  // of the peer
  };
  using MayBegin = std::function<bool(const std::string& vm)>;

  [[nodiscard]] bool full() const { return entries_.size() >= kMaxQueued; }
  [[nodiscard]] bool contains(std::string_view vm) const;
  // Returns whether a move of a VM that satisfies `may_begin` waits.
  [[nodiscard]] bool ready(const MayBegin& may_begin) const;
  [[nodiscard]] size_t count_of_evacuation(std::string_view id) const;
  // In the order in which the moves were queued.
  [[nodiscard]] const std::deque<Entry>& entries() const { return entries_; }

  void push(Entry entry) { entries_.push_back(std::move(entry)); }
  // Removes and returns the first move of a VM that satisfies `may_begin`, if there is one.
  std::optional<Entry> pop(const MayBegin& may_begin);
  // Removes and returns the move of `vm`, if it waits.
  std::optional<Entry> remove(std::string_view vm);
  void clear() { entries_.clear(); }

 private:
  std::deque<Entry> entries_;
};

}  // namespace godwit::migration
