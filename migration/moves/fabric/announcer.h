// SPDX-License-Identifier: Apache-2.0
//
// The destination's side of the fabric's learning: announces the VM in rounds, and echoes the
// probes of the source (announce.h).
//
// Thread safety: the control thread only.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>

#include "migration/link/network.h"
#include "migration/moves/fabric/announce.h"
#include "migration/moves/move_context.h"
#include "migration/policy/document.h"

namespace godwit::migration {

class Announcer {
 public:
  // `document` names the VM's addresses, and outlives this object.
  Announcer(MoveContext& context, const Document& document);

  // Marks the frames of this move.
  void set_nonce(uint64_t nonce) { nonce_ = nonce; }
  // Sends the first round now and the others at the times of kAnnounceAtMs.
  void announce() { send_round(0); }
  // Echoes a probe of this move for one of the VM's addresses. A full ring loses the echo; the
  // source probes again.
  void on_message(const FabricMessage& message);
  void stop() { timer_->cancel(); }

 private:
  void send_round(size_t round);

  MoveContext& context_;
  const Document& document_;
  uint64_t nonce_ = 0;
  std::unique_ptr<Timer> timer_;
};

}  // namespace godwit::migration
