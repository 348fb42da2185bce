// SPDX-License-Identifier: Apache-2.0
//
// One move as `migrate status` and `migrate show` display it. The status decides nothing.
//
// Thread safety: the control thread only.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace godwit::migration {

// One change of a move's state. Times are CLOCK_MONOTONIC nanoseconds.
struct MoveStep {
  uint64_t ns = 0;
  std::string state;  // entered
  std::string on;     // the event that led to it, empty for the first
  std::string why;    // in words, where there are some
};

// A guest may stop and go on as often as it likes: the first ones and the last are kept.
inline constexpr size_t kMaxSteps = 64;

// One move, as `migrate status` shows it. Times are CLOCK_MONOTONIC nanoseconds, 0 = not yet.
struct MoveStatus {
  std::string vm, peer, role, state, id,
      error;          // role "source" | "destination"; error empty = none
  std::string doubt;  // what is not known yet, and who can say it; empty: nothing
  uint64_t rules_exported = 0, rules_rewritten = 0, rules_imported = 0;
  uint64_t redirected = 0;  // this move's frames
  uint64_t parked = 0, park_overflow = 0,
           redirect_duplicate = 0;  // the whole switch's, while the move went on
  uint64_t freeze_ns = 0, handover_ns = 0, active_ns = 0, proof_ns = 0, done_ns = 0;
  uint64_t rings_running_ns = 0, first_packet_ns = 0;
  std::string evacuation;       // the id of the `migrate start --all` that it is part of
  uint64_t deadline_ns = 0;     // of the step that it is in; 0: it may take as long as it takes
  std::vector<MoveStep> steps;  // oldest first
  uint64_t steps_left_out = 0;  // from the middle of them
};

void note_step(MoveStatus& status, uint64_t now_ns, std::string_view state, std::string_view on,
               const std::string& why);

}  // namespace godwit::migration
