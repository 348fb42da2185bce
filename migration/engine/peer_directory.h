// SPDX-License-Identifier: Apache-2.0
//
// The configured peers: their addresses, and which of them may exchange VMs with this host. Owns
// nothing; it reads the options and the network of the MoveContext at each call, so a reload takes
// effect at once.
//
// Thread safety: the control thread only.
#pragma once

#include <string>
#include <vector>

#include "base/result.h"
#include "migration/engine/reports.h"
#include "migration/moves/move_context.h"

namespace godwit::migration {

class PeerDirectory {
 public:
  explicit PeerDirectory(const MoveContext& context) : context_(context) {}

  // Returns whether VMs may move from the peer to this host.
  [[nodiscard]] bool may_move_in(const std::string& peer) const;
  // Returns whether VMs may move from this host to the peer.
  // Returns whether the peer may ask for a VM of this host.
  [[nodiscard]] bool may_pull(const std::string& peer) const;
  [[nodiscard]] bool may_move_out(const std::string& peer) const;
  // Returns an error unless VMs may move from this host to the peer.
  [[nodiscard]] Result<void> check_move_out(const std::string& peer) const;

  // Returns the peer's address. Returns an error if the peer is not configured, or if plain text to
  // its address is not allowed.
  [[nodiscard]] Result<std::string> address(const std::string& peer) const;
  // Returns the peer's address. Returns an error also if this host has no uplink, since no VM can
  // move in either direction then.
  [[nodiscard]] Result<std::string> address_for_move(const std::string& peer) const;

  // Lists the peers with their open sessions. `moves` says which peers take part in a move.
  [[nodiscard]] std::vector<PeerStatus> statuses(const std::vector<MoveStatus>& moves) const;

 private:
  const MoveContext& context_;
};

}  // namespace godwit::migration
