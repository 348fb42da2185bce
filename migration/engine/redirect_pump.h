// SPDX-License-Identifier: Apache-2.0
//
// Moves redirected frames from the packet gate to the moves that they belong to. The frames of all
// moves share the gate's ring. Therefore one slow peer delays the frames of every move, and their
// order stays.
//
// Thread safety: the control thread only.
#pragma once

#include <memory>
#include <vector>

#include "dataplane/packet_gate.h"
#include "migration/engine/move_registry.h"
#include "migration/link/network.h"
#include "migration/moves/move_context.h"

namespace godwit::migration {

class RedirectPump {
 public:
  RedirectPump(MoveContext& context, const MoveRegistry& moves)
      : context_(context), moves_(moves), retry_timer_(context.network.timer()) {}

  // Takes frames while every session has room, and retries a millisecond later if one has none. A
  // frame whose move has ended is dropped as `redirect_closed`.
  void run();

 private:
  MoveContext& context_;
  const MoveRegistry& moves_;
  std::unique_ptr<Timer> retry_timer_;
  std::vector<dataplane::Frame> taken_;  // reused by each run()
};

}  // namespace godwit::migration
