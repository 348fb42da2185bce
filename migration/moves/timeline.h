// SPDX-License-Identifier: Apache-2.0
//
// What a move went through, step by step, and how a number of moves that were asked for together get on. Both are kept for
// `migrate show` and `migrate status`; nothing is decided by them.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace godwit::migration {

struct MoveStatus;

// One change of a move's state. Times are CLOCK_MONOTONIC nanoseconds.
struct MoveStep {
  uint64_t ns = 0;
  std::string state;  // entered
  std::string on;     // the event that led to it, empty for the first
  std::string why;    // in words, where there are some
};

// A guest may stop and go on as often as it likes: the first ones and the last are kept.
inline constexpr size_t kMaxSteps = 64;

void note_step(MoveStatus& status, uint64_t now_ns, std::string_view state, std::string_view on, const std::string& why);

// `migrate start --all`: the moves of one host's VMs to a peer.
struct EvacuationStatus {
  std::string id, peer;
  uint64_t total = 0, done = 0, failed = 0;
  uint64_t queued = 0, preparing = 0, prepared = 0, moving = 0;  // of those that are not over
  uint64_t rules = 0;                                            // that arrived
  uint64_t started_ns = 0, ended_ns = 0;                         // ended 0: it goes on

  [[nodiscard]] bool over() const { return done + failed == total; }
  // Moves that ended, a second, and how long the others take at that rate; 0 while nothing is known.
  [[nodiscard]] double per_second(uint64_t now_ns) const;
  [[nodiscard]] double seconds_left(uint64_t now_ns) const;
};

}  // namespace godwit::migration
