// SPDX-License-Identifier: Apache-2.0
//
// The switch as a move sees it. The Engine owns one context for all its moves.
//
// Thread safety: the control thread only.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>

#include "base/clock.h"
#include "dataplane/packet_gate.h"
#include "dataplane/policy/policy_store.h"
#include "dataplane/ports.h"
#include "migration/journal/journal.h"
#include "migration/link/network.h"
#include "migration/moves/migration_options.h"
#include "migration/moves/move_status.h"
#include "migration/policy/document.h"

namespace godwit::migration {

struct MoveContext {
  Network& network;
  MigrationOptions options;  // Engine::reload() changes some
  dataplane::PolicyStore& store;
  dataplane::Ports& ports;
  dataplane::PacketGate& gate;
  const Clock& clock;
  MoveLog log;
  Journal& journal;
  const MoveTables tables;
  // The newest epoch seen of each VM. The map may be ahead of the journal, which has the epochs of
  // settled moves.
  std::map<std::string, Epoch> epochs;
  uint16_t next_window = 1;  // number for Location::dedupe of the next move to this host; skips 0
  // Set by the last move from here that reached hold(): true if the announcements of some addresses
  // had not come back. The next move then waits less before its first barrier.
  bool announcements_hidden = false;

  // Returns the configured uplink or, if none is configured, the only one. Returns an invalid id if
  // there is no such uplink.
  [[nodiscard]] EndpointId uplink() const;
  // Returns the newest epoch seen of the VM, or Epoch{} if there is none.
  [[nodiscard]] Epoch newest_epoch(const std::string& vm) const {
    const auto found = epochs.find(vm);
    return found == epochs.end() ? Epoch{} : found->second;
  }
  // Returns the path by vhost_template, or an empty one without a template.
  [[nodiscard]] std::string socket_for(const std::string& endpoint) const;
  // Returns the configured address, or an empty one for an unknown peer.
  [[nodiscard]] std::string address_of(const std::string& peer) const;

  // Writes facts, which cannot be refused: the batch is kept until the journal takes it.
  void keep(JournalBatch batch);
  // Writes how a move ended, with the VM's epoch. `policy` adds the VM's present policy to what
  // `batch` has of other endpoints.
  void settle(SettledMove settled, bool policy, JournalBatch batch = {});
  // Logs that a message is not acted upon because its epoch is not newer. The caller drops the
  // message.
  void absorb(const std::string& move, const std::string& vm, const std::string& what,
              const Epoch& its, const Epoch& ours) const;

  // Takes the frames that workers redirected, and gives each to its move.
  std::function<void()> pump;
  // Called when a move has changed its state. Soon after, moves that are over are put aside and
  // queued ones begin.
  std::function<void()> changed;
  // Called when the journal keeps a batch that it could not write.
  std::function<void(const std::string& why)> journal_waits;
  // See Engine::watch().
  std::function<void(MoveRole role, std::string_view action, bool after)> watcher;
  void watch(MoveRole role, std::string_view action, bool after) const {
    if (watcher) watcher(role, action, after);
  }
};

}  // namespace godwit::migration
