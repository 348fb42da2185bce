// SPDX-License-Identifier: Apache-2.0
//
// The `peer ping` commands in progress. Owns a PeerPing for each, at most kMaxPingsAtOnce.
//
// Thread safety: the control thread only.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "base/result.h"
#include "migration/engine/peer_directory.h"
#include "migration/link/peer_ping.h"
#include "migration/moves/move_context.h"

namespace godwit::migration {

inline constexpr size_t kMaxPingsAtOnce = 64;

class PeerPings {
 public:
  PeerPings(const MoveContext& context, const PeerDirectory& peers)
      : context_(context), peers_(peers) {}

  // Sends `count` pings to the peer in a session of their own. Calls `done` once, later. Returns an
  // error, and never calls `done`, if the peer has no usable address or too many pings are in
  // progress.
  Result<void> begin(const std::string& peer, uint64_t count, PeerPing::Done done);
  void stop();

 private:
  const MoveContext& context_;
  const PeerDirectory& peers_;
  std::vector<std::shared_ptr<PeerPing>> pings_;
};

}  // namespace godwit::migration
