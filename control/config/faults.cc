// SPDX-License-Identifier: Apache-2.0
#include "control/config/faults.h"

#include "migration/moves/destination_machine.h"
#include "migration/moves/source_machine.h"

namespace godwit::control {

using migration::MoveRole;

std::vector<std::string> fault_points() {
  std::vector<std::string> out;
  // Zero is kNone, which is no action.
  for (size_t i = 1; i < static_cast<size_t>(migration::SourceAction::kCount); ++i) {
    out.push_back("source " + std::string(name_of(static_cast<migration::SourceAction>(i))));
  }
  for (size_t i = 1; i < static_cast<size_t>(migration::DestinationAction::kCount); ++i) {
    out.push_back("destination " +
                  std::string(name_of(static_cast<migration::DestinationAction>(i))));
  }
  // A MoveRecord has the state of its move when it was written, by the name of name_of(SourceState)
  // or name_of(DestinationState). Moves write records in few of their states. `done` and `aborted`
  // are the outcomes of a SettledMove. No action writes a record of a source in doubt at present,
  // so `journal source in-doubt` is never reached.
  for (const char* state : {"prepared", "claimed", "in-doubt", "done", "aborted"})
    out.push_back("journal source " + std::string(state));
  for (const char* state : {"prepared", "active", "open", "done", "aborted"})
    out.push_back("journal destination " + std::string(state));
  out.insert(out.end(), {"journal delta", "journal policy"});
  return out;
}

void Faults::reached(std::string_view point, bool after) {
  for (FaultConfig& fault : faults_) {
    if (fault.after != after || fault.at != point) continue;
    if (fault.skip == 0) {
      kill_(std::string(after ? "after " : "before ") + fault.at);
    } else {
      --fault.skip;
    }
  }
}

void Faults::reached(const migration::JournalBatch& batch, bool after) {
  // Returns the name of the fault point.
  const auto point = [](MoveRole role, const std::string& what) {
    return "journal " + std::string(name_of(role)) + " " + what;
  };
  for (const migration::MoveRecord& move : batch.moves)
    reached(point(move.role, move.state), after);
  for (const migration::SettledMove& move : batch.settled)
    reached(point(move.role, move.done ? "done" : "aborted"), after);
  if (!batch.deltas.empty()) reached("journal delta", after);
  // A batch that has only policy or epochs.
  const bool moves = !batch.moves.empty() || !batch.settled.empty() || !batch.deltas.empty();
  if (!moves && !batch.empty()) reached("journal policy", after);
}

}  // namespace godwit::control
