// SPDX-License-Identifier: Apache-2.0
//
// What every move needs of the switch around it. Owned by the Engine; control thread only.
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
  const MigrationOptions options;
  dataplane::PolicyStore& store;
  dataplane::Ports& ports;
  dataplane::PacketGate& gate;
  const Clock& clock;
  MoveLog log;
  Journal& journal;
  const MoveTables tables;  // by what the machines decide
  std::map<std::string, Epoch>
      epochs;  // newest seen of each VM; the journal has them as far as they are settled
  uint16_t next_window = 1;  // Location::dedupe of the next move to here
  bool announcements_hidden =
      false;  // the fabric brought none in the last move from here that came to its end

  // The uplink to the other hosts, or an invalid id: the configured one, else the only one.
  [[nodiscard]] EndpointId uplink() const;
  [[nodiscard]] Epoch newest_epoch(const std::string& vm) const {
    const auto found = epochs.find(vm);
    return found == epochs.end() ? Epoch{} : found->second;
  }
  [[nodiscard]] std::string socket_for(
      const std::string& endpoint) const;  // by the template; empty: none
  [[nodiscard]] std::string address_of(
      const std::string& peer) const;  // as configured; empty: no such peer

  // For what is a fact: kept until it is written.
  void keep(JournalBatch batch);
  // How a move ended, with the VM's epoch; `policy`: also its policy as it is now, beside what
  // `batch` has of other endpoints.
  void settle(SettledMove settled, bool policy, JournalBatch batch = {});
  // A message by another epoch than the VM's: not acted upon, and said so.
  void absorb(const std::string& move, const std::string& vm, const std::string& what,
              const Epoch& its, const Epoch& ours) const;

  // Takes what workers redirected, and gives each frame to the move it belongs to.
  std::function<void()> pump;
  // A move has got on: soon, what is over is put aside and what waits its turn begins.
  std::function<void()> changed;
  // The journal has something that it could not write.
  std::function<void(const std::string& why)> journal_waits;
  // Engine::watch().
  std::function<void(MoveRole role, std::string_view action, bool after)> watcher;
  void watch(MoveRole role, std::string_view action, bool after) const {
    if (watcher) watcher(role, action, after);
  }
};

}  // namespace godwit::migration
