// SPDX-License-Identifier: Apache-2.0
//
// Starts moves. It decides whether a move may begin, begins it or queues it, and asks other hosts
// to start moves to this one. The moves that it starts belong to the registry, and those that wait
// to the queue.
//
// Thread safety: the control thread only.
#pragma once

#include <string>

#include "base/result.h"
#include "migration/engine/evacuations.h"
#include "migration/engine/move_queue.h"
#include "migration/engine/move_registry.h"
#include "migration/engine/peer_directory.h"
#include "migration/engine/reports.h"
#include "migration/moves/move_context.h"

namespace godwit::migration {

class MoveStarter {
 public:
  MoveStarter(MoveContext& context, const PeerDirectory& peers, MoveRegistry& moves,
              MoveQueue& queue, Evacuations& evacuations)
      : context_(context), peers_(peers), moves_(moves), queue_(queue), evacuations_(evacuations) {}

  // Begins a move of the VM to the peer, and returns its id, which is `id`. Queues it instead while
  // max_preparing others are being prepared, or while frames of the VM's last move return to it.
  // Returns an error, and begins nothing, if the VM cannot move.
  Result<std::string> start(const std::string& vm, const std::string& peer, const std::string& id,
                            const std::string& evacuation);
  // Does the same with an id of its own.
  Result<std::string> start(const std::string& vm, const std::string& peer);
  // Starts a move of every local VM. Returns an error if there is none. The report lists the VMs
  // that cannot move, with the reasons.
  Result<EvacuationReport> start_all(const std::string& peer);
  // Asks `from` to move the VM to this host. Returns the id that the move will have.
  Result<std::string> pull(const std::string& vm, const std::string& from);
  // Begins queued moves, in order, while fewer than max_preparing are being prepared.
  void begin_queued();

 private:
  [[nodiscard]] std::string new_move_id() const;
  [[nodiscard]] MoveQueue::MayBegin may_begin() const;

  MoveContext& context_;
  const PeerDirectory& peers_;
  MoveRegistry& moves_;
  MoveQueue& queue_;
  Evacuations& evacuations_;
};

}  // namespace godwit::migration
