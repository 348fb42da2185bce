// SPDX-License-Identifier: Apache-2.0
//
// Fault points: places where a switch ends as kill -9 would end it, for tests of what it finds when
// it starts again. They come from the configuration's section `faults`, there are none without it,
// and a switch that has some says so.
//
//   source ACTION, destination ACTION      what a side of a move does
//   (migration/moves/source_machine.h, destination.h): before or after it journal source STATE,
//   journal destination STATE    a batch with a move's record in that state journal source
//   done|aborted, journal destination ..   a batch with how a move ended journal delta, journal
//   policy          a batch with a staged rule change; one of policy alone
//
// Thread safety: the control thread only.
#pragma once

#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "control/config/config.h"
#include "migration/journal/journal.h"

namespace godwit::control {

// All names that `before` and `after` take.
[[nodiscard]] std::vector<std::string> fault_points();

class Faults {
 public:
  using Kill = std::function<void(const std::string& where)>;
  Faults(std::vector<FaultConfig> faults, Kill kill)
      : faults_(std::move(faults)), kill_(std::move(kill)) {}
  void reached(std::string_view point, bool after);
  void reached(const migration::JournalBatch& batch, bool after);

 private:
  std::vector<FaultConfig> faults_;
  Kill kill_;
};

}  // namespace godwit::control
