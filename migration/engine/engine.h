// SPDX-License-Identifier: Apache-2.0
//
// The migration driver: owns the moves, their sessions with peers and their timers (network.h),
// feeds what happens to the state machines (source.h, destination.h) and carries out what they
// decide on the policy store, the ports and the packet gate.
//
// Thread safety: everything on the control thread. The network outlives the engine.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/clock.h"
#include "base/result.h"
#include "dataplane/packet_gate.h"
#include "dataplane/policy/policy_store.h"
#include "dataplane/ports.h"
#include "migration/engine/evacuation.h"
#include "migration/engine/reports.h"
#include "migration/link/network.h"
#include "migration/link/peer_ping.h"
#include "migration/moves/migration_options.h"
#include "migration/moves/move_status.h"
#include "migration/policy/document.h"

namespace godwit::migration {

class Journal;
enum class MoveRole : uint8_t;

inline constexpr size_t kMaxFinished = 1024;

class Engine {
 public:
  // `journal` null: nothing outlives the process.
  Engine(Network& network, MigrationOptions options, dataplane::PolicyStore& store,
         dataplane::Ports& ports, dataplane::PacketGate& gate, const Clock& clock, MoveLog log,
         Journal* journal = nullptr, MoveTables tables = {});
  ~Engine();
  Engine(const Engine&) = delete;
  Engine& operator=(const Engine&) = delete;

  // Sees each action of a move (source.h, destination.h) before and after it is carried out.
  using Watcher = std::function<void(MoveRole role, std::string_view action, bool after)>;
  void watch(Watcher watcher);

  // After a restart, when ports are there and before listen(): takes up the moves of the journal.
  // VMs that may have been handed over are parked until the peer, or their rings, say where they
  // run.
  void recover();
  Result<void> listen();  // opens the listening socket, if one is configured
  void stop();            // closes all sockets; moves in progress are aborted as far as they can be

  // By hand. Errors list every reason, one a line, and nothing has changed.
  Result<Document> export_vm(const std::string& vm);
  Result<RewriteReport> rewrite_vm(const std::string& vm);
  Result<ImportReport> import_vm(const Document& document,
                                 const std::map<std::string, ImportBinding>& bindings);

  // Between peers. start() returns the move's id at once; status() tells how it goes: "queued" at
  // first while others are being prepared, or while frames of a move that has just ended go back to
  // the VM.
  Result<std::string> start(const std::string& vm, const std::string& peer);
  // Every VM that is local here; an error if there is none. What cannot be moved is told with its
  // reason.
  Result<EvacuationReport> start_all(const std::string& peer);
  // Asks `from` to move the VM here, with the id that is returned.
  Result<std::string> pull(const std::string& vm, const std::string& from);
  Result<void> cancel(const std::string& vm);
  [[nodiscard]] std::vector<MoveStatus> status(
      const std::string& vm = {}) const;  // and the last kMaxFinished finished
  // A move by its id or the beginning of it, if only one has it.
  Result<MoveStatus> show(const std::string& id) const;
  [[nodiscard]] std::vector<EvacuationStatus> evacuations() const;
  [[nodiscard]] uint64_t now_ns() const;  // by the clock of all of these times
  [[nodiscard]] std::vector<PeerStatus> peers() const;
  // Asks a peer `count` times whether it is there, in a session of its own. `done` is called once,
  // later; not if this is an error.
  Result<void> ping(const std::string& peer, uint64_t count, PeerPing::Done done);

  // From the daemon's wiring.
  void on_port_event(const dataplane::PortEvent& event);
  void on_gate_ready();  // redirected frames or announcements wait
  // Which VM is moving, so that other commands can refuse (empty: none). E.g. endpoint changes.
  [[nodiscard]] bool moving(const std::string& vm) const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace godwit::migration
