// SPDX-License-Identifier: Apache-2.0
//
// The progress of an evacuation: all VMs of one host that one command moves to a peer.
//
// Thread safety: the control thread only.
#pragma once

#include <cstdint>
#include <string>

namespace godwit::migration {

// `migrate start --all`: the moves of one host's VMs to a peer.
struct EvacuationStatus {
  std::string id, peer;
  uint64_t total = 0, done = 0, failed = 0;
  uint64_t queued = 0, preparing = 0, prepared = 0, moving = 0;  // of those that are not over
  uint64_t rules = 0;                                            // that arrived
  uint64_t started_ns = 0, ended_ns = 0;                         // ended 0: it goes on

  [[nodiscard]] bool over() const { return done + failed == total; }
  // Moves that ended, a second, and how long the others take at that rate; 0 while nothing is
  // known.
  [[nodiscard]] double per_second(uint64_t now_ns) const;
  [[nodiscard]] double seconds_left(uint64_t now_ns) const;
};

}  // namespace godwit::migration
