// SPDX-License-Identifier: Apache-2.0
#include "migration/engine/evacuation_status.h"

namespace godwit::migration {

double EvacuationStatus::per_second(uint64_t now_ns) const {
  const uint64_t end = ended_ns != 0 ? ended_ns : now_ns;
  const uint64_t ended = done + failed;
  return ended == 0 || end <= started_ns
             ? 0
             : static_cast<double>(ended) * 1e9 / static_cast<double>(end - started_ns);
}

double EvacuationStatus::seconds_left(uint64_t now_ns) const {
  const double rate = per_second(now_ns);
  return rate == 0 ? 0 : static_cast<double>(total - done - failed) / rate;
}

}  // namespace godwit::migration
