// SPDX-License-Identifier: Apache-2.0
//
// The evacuations of this host: each `migrate start --all` with its progress. Owns the totals of
// the last kMaxEvacuations. How many moves are queued, being prepared and on their way is counted
// from the moves when a caller asks.
//
// Thread safety: the control thread only.
#pragma once

#include <deque>
#include <string>
#include <vector>

#include "base/clock.h"
#include "migration/engine/evacuation_status.h"
#include "migration/moves/move_status.h"

namespace godwit::migration {

inline constexpr size_t kMaxEvacuations = 16;

class Evacuations {
 public:
  explicit Evacuations(const Clock& clock) : clock_(clock) {}

  // Adds an evacuation to `peer` that has no moves yet.
  void begin(const std::string& id, const std::string& peer);
  // Sets the number of moves of the evacuation that began last. One without moves is forgotten.
  void set_total(size_t moves);
  // Counts a move that has ended, if it is part of an evacuation.
  void count(const MoveStatus& ended);

  [[nodiscard]] const std::deque<EvacuationStatus>& all() const { return evacuations_; }

 private:
  const Clock& clock_;
  std::deque<EvacuationStatus> evacuations_;  // oldest first
};

}  // namespace godwit::migration
