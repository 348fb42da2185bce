// SPDX-License-Identifier: Apache-2.0
//
// Answers peers whose messages are about a move that is not in progress on this host: it has ended,
// or this host lost it in a crash, or never knew it. The answers come from the journal's settled
// moves and from the VM's epoch. A peer with a newer epoch owns the VM, so the VM's policy leaves
// this host unless the VM runs here. A VM that runs here gets an epoch that is newer still.
//
// Thread safety: the control thread only.
#pragma once

#include <memory>
#include <string>

#include "base/log_limit.h"
#include "migration/engine/move_registry.h"
#include "migration/link/network.h"
#include "migration/moves/move_context.h"

namespace godwit::migration {

class LateAnswers {
 public:
  LateAnswers(MoveContext& context, const MoveRegistry& moves)
      : context_(context),
        moves_(moves),
        unknown_log_([&context](const std::string& line) { context.log(line); }) {}

  // Answers a source that reconnects after its move has ended here, and closes the session once the
  // answer is sent. `done` and `abort` need no answer. A move that never was here with this peer is
  // unknown, and the message changes nothing.
  void answer_source(const std::shared_ptr<PeerSession>& session, const wire::Envelope& message);
  // Answers the `ask` of a destination that lost this source, and closes the session once the
  // answer is sent. Sends no answer while another move of the VM decides; the destination asks
  // again.
  void answer_destination(const std::shared_ptr<PeerSession>& session,
                          const wire::Envelope& message);

  // Returns whether a port of the VM has running rings.
  [[nodiscard]] bool runs(const std::string& vm) const;

 private:
  // Returns whether one of the VM's endpoints has a port on this host.
  [[nodiscard]] bool local(const std::string& vm) const;
  [[nodiscard]] bool any_port(const std::string& vm, bool dataplane::PortInfo::*is) const;
  // Returns whether a front-end is connected to a port of the VM: the VM may run again.
  [[nodiscard]] bool connected(const std::string& vm) const;
  // Yields the VM to the peer, whose epoch is newer than any seen here. Returns false if the VM
  // stays: it runs here, or its policy cannot be taken out.
  bool yield_to(const std::string& peer, const std::string& vm, const Epoch& newer);
  // Gives the running VM an epoch newer than the peer's, if the journal can store it.
  void claim(const std::string& peer, const std::string& vm, const Epoch& newer);
  // Returns how the move with the sender of the message ended, or null.
  [[nodiscard]] const SettledMove* settled(const wire::Envelope& message, MoveRole role,
                                           const std::string& peer) const;

  // Sends an answer about the move of the message, and closes the session once it is sent.
  void answer(const std::shared_ptr<PeerSession>& session, const wire::Envelope& to,
              wire::Envelope answer);
  // Answers a message about a move that this host does not have with the peer. Changes nothing.
  void answer_unknown(const std::shared_ptr<PeerSession>& session, const wire::Envelope& message);
  // Returns whether a move, and the claims that follow it, can have led to the peer's epoch.
  [[nodiscard]] static bool explained(const Epoch& its, const Epoch& ours);
  void note_epoch(const std::string& vm, const Epoch& newer);

  MoveContext& context_;
  const MoveRegistry& moves_;
  LogLimit unknown_log_;
};

}  // namespace godwit::migration
