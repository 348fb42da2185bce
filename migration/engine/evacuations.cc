// SPDX-License-Identifier: Apache-2.0
#include "migration/engine/evacuations.h"

namespace godwit::migration {

void Evacuations::begin(const std::string& id, const std::string& peer) {
  EvacuationStatus& evacuation = evacuations_.emplace_back();
  evacuation.id = id;
  evacuation.peer = peer;
  evacuation.started_ns = clock_.now_ns();
}

void Evacuations::set_total(size_t moves) {
  evacuations_.back().total = moves;
  if (moves == 0) evacuations_.pop_back();
  if (evacuations_.size() > kMaxEvacuations) evacuations_.pop_front();
}

void Evacuations::count(const MoveStatus& ended) {
  for (EvacuationStatus& evacuation : evacuations_) {
    if (ended.evacuation.empty() || evacuation.id != ended.evacuation) continue;
    ++(ended.error.empty() ? evacuation.done : evacuation.failed);
    evacuation.rules += ended.error.empty() ? ended.rules_imported : 0;
    if (evacuation.over()) evacuation.ended_ns = clock_.now_ns();
  }
}

}  // namespace godwit::migration
