// SPDX-License-Identifier: Apache-2.0
//
// The migration engine: owns the moves of this host, their sessions with peers and their timers. It
// passes commands, port events and peers' messages to the moves. The state machines of the moves
// (migration/moves/) decide, and act on the policy store, the ports and the packet gate.
//
// Thread safety: the control thread only. The network and the journal outlive the engine.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/clock.h"
#include "base/result.h"
#include "dataplane/packet_gate.h"
#include "dataplane/policy/policy_store.h"
#include "dataplane/ports.h"
#include "migration/engine/evacuation_status.h"
#include "migration/engine/reports.h"
#include "migration/journal/records.h"
#include "migration/link/network.h"
#include "migration/link/peer_ping.h"
#include "migration/moves/migration_options.h"
#include "migration/moves/move_status.h"
#include "migration/policy/document.h"

namespace godwit::migration {

class Journal;
enum class MoveRole : uint8_t;

// Returns whether the VM of a stored move waits, after a restart, for what the peer or the rings
// say.
[[nodiscard]] bool holds_vm(const MoveRecord& record);

class Engine {
 public:
  // Without a journal the engine remembers nothing after the process ends.
  Engine(Network& network, MigrationOptions options, dataplane::PolicyStore& store,
         dataplane::Ports& ports, dataplane::PacketGate& gate, const Clock& clock, MoveLog log,
         Journal* journal = nullptr, MoveTables tables = {});
  ~Engine();
  Engine(const Engine&) = delete;
  Engine& operator=(const Engine&) = delete;

  // Called before and after each action of a move is carried out. The state tables in
  // migration/moves/ name the actions.
  using Watcher = std::function<void(MoveRole role, std::string_view action, bool after)>;
  void watch(Watcher watcher);

  // Replaces the peers, the allow lists, both timeouts, max_preparing and max_incoming. The other
  // options stay. Moves in progress go on; a move with a host that is no longer a peer waits until
  // it is one again.
  void reload(const MigrationOptions& options);

  // Recovers the moves of the journal after a restart. Call it once the ports exist, and before
  // listen(). A VM that may have been handed over is parked until the peer, or the VM's rings, show
  // where it runs.
  void recover();
  // Opens the listening socket, if one is configured.
  Result<void> listen();
  // Closes all sockets. Aborts the moves in progress that can still be aborted.
  void stop();

  // Migration by hand. An error lists every reason, one a line, and then nothing has changed.
  Result<Document> export_vm(const std::string& vm);
  Result<RewriteReport> rewrite_vm(const std::string& vm);
  Result<ImportReport> import_vm(const Document& document,
                                 const std::map<std::string, ImportBinding>& bindings);

  // Starts a move of the VM to the peer and returns the move's id at once; status() shows the
  // progress. The state is "queued" at first while others are being prepared, or while frames of
  // the VM's last move return to it.
  Result<std::string> start(const std::string& vm, const std::string& peer);
  // Starts a move of every VM that is local. Returns an error if there is none. The report lists
  // the VMs that cannot move, with the reasons.
  Result<EvacuationReport> start_all(const std::string& peer);
  // Asks `from` to move the VM to this host. Returns the id that the move will have.
  Result<std::string> pull(const std::string& vm, const std::string& from);
  Result<void> cancel(const std::string& vm);
  // Returns the moves of the VM, or of all VMs, and the newest 1024 that have ended.
  [[nodiscard]] std::vector<MoveStatus> status(const std::string& vm = {}) const;
  // Returns a move by its id, or by a prefix that only one id has.
  Result<MoveStatus> show(const std::string& id) const;
  [[nodiscard]] std::vector<EvacuationStatus> evacuations() const;
  // Returns the time by the clock of all times in statuses.
  [[nodiscard]] uint64_t now_ns() const;
  [[nodiscard]] std::vector<PeerStatus> peers() const;
  // Pings a peer `count` times in a session of its own. Calls `done` once, later. Returns an error,
  // and never calls `done`, if no ping can be sent.
  Result<void> ping(const std::string& peer, uint64_t count, PeerPing::Done done);

  // Called by the daemon's wiring.
  void on_port_event(const dataplane::PortEvent& event);
  // Takes the redirected frames and announcements that wait in the gate.
  void on_gate_ready();
  // Returns whether the VM is moving. Other commands, such as endpoint changes, refuse then.
  [[nodiscard]] bool moving(const std::string& vm) const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace godwit::migration
