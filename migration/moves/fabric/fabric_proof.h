// SPDX-License-Identifier: Apache-2.0
//
// The source's proof that the fabric has learned the VM's new place (announce.h explains why the
// announcement alone does not show it).
//
// When the announcement of every address has come in by an uplink, the source probes each address
// through its own uplink, again and again, until each has been echoed. on_proof is called once,
// when the last echo comes.
//
// Thread safety: the control thread only.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <set>

#include "migration/link/network.h"
#include "migration/moves/fabric/announce.h"
#include "migration/moves/move_context.h"
#include "migration/policy/document.h"

namespace godwit::migration {

class FabricProof {
 public:
  struct Handlers {
    std::function<bool()> wanted;  // returns whether the move waits for the proof now
    std::function<void()> on_proof;
  };

  // `document` names the VM's addresses, and outlives this object.
  FabricProof(MoveContext& context, const Document& document, Handlers handlers);

  // Messages with another nonce belong to other moves.
  void set_nonce(uint64_t nonce) { nonce_ = nonce; }
  // Takes an announcement or an echo that came in by an uplink.
  void on_message(const FabricMessage& message);
  // Begins to probe if the announcement is complete and the proof is wanted. To be called when it
  // becomes wanted.
  void begin_probing();
  // Returns whether the announcement of every address has come in.
  [[nodiscard]] bool announced() const { return announced_; }
  void stop() { timer_->cancel(); }

 private:
  void probe_again(size_t round);
  [[nodiscard]] bool all_heard() const;

  MoveContext& context_;
  const Document& document_;
  const Handlers handlers_;
  uint64_t nonce_ = 0;
  std::set<FabricAddress> heard_;  // announced
  bool announced_ = false;
  std::set<FabricAddress> unproven_;  // probed, and not echoed yet
  std::unique_ptr<Timer> timer_;
};

}  // namespace godwit::migration
