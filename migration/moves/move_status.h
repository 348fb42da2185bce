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
  std::string on;     // the event that led to it; empty for the first state
  std::string why;    // in words; may be empty
};

// A guest may stop and run again without bound. The first steps and the last ones are kept.
inline constexpr size_t kMaxSteps = 64;

// When a move came to each of its steps on this host. Times are CLOCK_MONOTONIC nanoseconds, zero
// until then.
struct MoveTimes {
  uint64_t freeze_ns = 0;    // source: the VM was parked
  uint64_t handover_ns = 0;  // the handover was sent, or came
  uint64_t active_ns = 0;    // the policy was in force at the destination
  uint64_t proof_ns = 0;     // source: the proof came, or the wait for it ended
  uint64_t done_ns = 0;
  uint64_t rings_running_ns = 0;  // destination: the VM's rings ran
  uint64_t first_packet_ns = 0;   // destination: the first packet was delivered to the VM
};

struct MoveStatus {
  std::string vm, peer;
  std::string role;  // "source" or "destination"
  std::string state, id;
  std::string error;  // empty if there is none
  std::string doubt;  // what is not known yet, and which host can tell; may be empty
  uint64_t rules_exported = 0, rules_rewritten = 0, rules_imported = 0;
  uint64_t redirected = 0;  // this move's frames
  uint64_t parked = 0, park_overflow = 0,
           redirect_duplicate = 0;  // of the whole switch, during the move
  MoveTimes times;
  std::string evacuation;       // the id of its `migrate start --all`; may be empty
  uint64_t deadline_ns = 0;     // of the present state; zero without a deadline
  std::vector<MoveStep> steps;  // oldest first
  uint64_t steps_left_out = 0;  // from the middle of them
};

// Returns the status of a move that begins.
[[nodiscard]] MoveStatus new_status(const std::string& role, const std::string& vm,
                                    const std::string& peer, const std::string& id);
// Appends a step. Drops one from the middle if there are kMaxSteps already.
void note_step(MoveStatus& status, uint64_t now_ns, std::string_view state, std::string_view on,
               const std::string& why);

}  // namespace godwit::migration
