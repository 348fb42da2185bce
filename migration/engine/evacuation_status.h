// SPDX-License-Identifier: Apache-2.0
//
// The progress of an evacuation: the moves of one host's VMs to a peer that one
// `migrate start --all` command starts.
//
// Thread safety: the control thread only.
#pragma once

#include <cstdint>
#include <string>

namespace godwit::migration {

// Times are CLOCK_MONOTONIC nanoseconds.
struct EvacuationStatus {
  std::string id, peer;
  uint64_t total = 0, done = 0, failed = 0;                      // moves
  uint64_t queued = 0, preparing = 0, prepared = 0, moving = 0;  // moves that have not ended
  uint64_t rules = 0;                                            // imported by the moves done
  uint64_t started_ns = 0;
  uint64_t ended_ns = 0;  // zero until the last move ends

  [[nodiscard]] bool over() const { return done + failed == total; }
  // Returns how many moves end in a second; zero until one has ended.
  [[nodiscard]] double per_second(uint64_t now_ns) const;
  // Returns how long the remaining moves take at that rate; zero while the rate is unknown.
  [[nodiscard]] double seconds_left(uint64_t now_ns) const;
};

}  // namespace godwit::migration
