// SPDX-License-Identifier: Apache-2.0
//
// Fault points: places where a switch kills itself as `kill -9` would, for tests of its restart.
// They come from the configuration's section `faults`. A switch with fault points logs a warning
// when it starts.
//
//   source ACTION, destination ACTION             an action of a move (migration/moves/)
//   journal source STATE                          a batch with a move's record in that state
//   journal destination STATE                     the same at the destination
//   journal source|destination done|aborted       a batch with the end of a move
//   journal delta                                 a batch with a staged rule change
//   journal policy                                a batch of policy alone
//
// A switch kills itself before or after the action, or before or after it writes the batch.
//
// Thread safety: the control thread only.
#pragma once

#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "control/config/host_config.h"
#include "migration/journal/journal.h"

namespace godwit::control {

// Returns the names of all fault points.
[[nodiscard]] std::vector<std::string> fault_points();

// The fault points of one switch.
class Faults {
 public:
  // `where` is "before POINT" or "after POINT". The function does not return in a real switch.
  using Kill = std::function<void(const std::string& where)>;
  Faults(std::vector<FaultConfig> faults, Kill kill)
      : faults_(std::move(faults)), kill_(std::move(kill)) {}
  // Calls `kill` if the point is configured and all passes to skip are used up. `after` is false
  // when the switch is about to act or to write, and true when it has done so. A fault point
  // applies to one of the two.
  void reached(std::string_view point, bool after);
  // Does the same for every point of the batch: the state of each move, the end of each move,
  // staged rule changes, or policy alone.
  void reached(const migration::JournalBatch& batch, bool after);

 private:
  std::vector<FaultConfig> faults_;
  Kill kill_;
};

}  // namespace godwit::control
