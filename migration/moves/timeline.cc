// SPDX-License-Identifier: Apache-2.0
#include "migration/moves/timeline.h"

#include "migration/engine/engine.h"

namespace godwit::migration {

void note_step(MoveStatus& status, uint64_t now_ns, std::string_view state, std::string_view on, const std::string& why) {
  if (status.steps.size() >= kMaxSteps) {
    status.steps.erase(status.steps.begin() + kMaxSteps / 2);
    ++status.steps_left_out;
  }
  status.steps.push_back({now_ns, std::string(state), std::string(on), why});
}

double EvacuationStatus::per_second(uint64_t now_ns) const {
  const uint64_t end = ended_ns != 0 ? ended_ns : now_ns;
  const uint64_t ended = done + failed;
  return ended == 0 || end <= started_ns ? 0 : static_cast<double>(ended) * 1e9 / static_cast<double>(end - started_ns);
}

double EvacuationStatus::seconds_left(uint64_t now_ns) const {
  const double rate = per_second(now_ns);
  return rate == 0 ? 0 : static_cast<double>(total - done - failed) / rate;
}

}  // namespace godwit::migration
