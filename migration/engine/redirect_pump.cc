// SPDX-License-Identifier: Apache-2.0
#include "migration/engine/redirect_pump.h"

#include <algorithm>
#include <cstdint>

namespace godwit::migration {

namespace {

constexpr size_t kTakeAtOnce = 256;
constexpr uint64_t kRetryMs = 1;

}  // namespace

void RedirectPump::run() {
  const auto& moves = moves_.outgoing();
  for (;;) {
    const bool room = std::ranges::all_of(moves, [](const auto& move) { return move->can_take(); });
    if (!room) {
      retry_timer_->set(kRetryMs, [this] { run(); });
      break;
    }
    taken_.clear();
    if (context_.gate.take_redirected(taken_, kTakeAtOnce) == 0) break;
    for (const dataplane::Frame& frame : taken_) {
      const auto move = std::ranges::find_if(
          moves, [&](const auto& m) { return !m->over() && m->owns(frame.endpoint); });
      if (move != moves.end()) {
        (*move)->redirect(frame);
      } else {
        context_.gate.drop(frame, dataplane::Drop::k_redirect_closed);
      }
    }
  }
  for (const auto& move : moves) move->flush_redirect();
}

}  // namespace godwit::migration
