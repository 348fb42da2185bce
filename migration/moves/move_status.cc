// SPDX-License-Identifier: Apache-2.0
#include "migration/moves/move_status.h"

namespace godwit::migration {

MoveStatus new_status(const std::string& role, const std::string& vm, const std::string& peer,
                      const std::string& id) {
  MoveStatus status;
  status.role = role;
  status.vm = vm;
  status.peer = peer;
  status.id = id;
  return status;
}

void note_step(MoveStatus& status, uint64_t now_ns, std::string_view state, std::string_view on,
               const std::string& why) {
  if (status.steps.size() >= kMaxSteps) {
    status.steps.erase(status.steps.begin() + kMaxSteps / 2);
    ++status.steps_left_out;
  }
  status.steps.push_back({now_ns, std::string(state), std::string(on), why});
}

}  // namespace godwit::migration
