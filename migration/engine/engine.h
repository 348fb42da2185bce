// SPDX-License-Identifier: Apache-2.0
//
// The migration driver: owns the moves, their sessions with peers and their timers (network.h), feeds what happens to
// the state machines (source.h, destination.h) and carries out what they decide on the policy store, the ports and the packet gate.
//
// Thread safety: everything on the control thread. The network outlives the driver.
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
#include "dataplane/pipeline/parking.h"
#include "dataplane/policy/policy_store.h"
#include "dataplane/ports.h"
#include "migration/moves/destination_machine.h"
#include "migration/policy/document.h"
#include "migration/link/network.h"
#include "migration/link/peer_ping.h"
#include "migration/moves/source_machine.h"
#include "migration/moves/timeline.h"

namespace godwit::migration {

class Journal;
enum class MoveRole : uint8_t;

// The tables by which moves decide. The simulator's mutants are other ones.
struct MoveTables {
  std::span<const SourceTransition> source = source_transitions();
  std::span<const DestinationTransition> destination = destination_transitions();
};

struct DriverOptions {
  std::string host;                          // this host's id
  std::string listen;                        // "address:port", empty: does not listen
  bool plaintext_anywhere = false;           // else peers in plain text only over loopback
  bool encrypted = false;                    // the network's sessions are: peers anywhere
  std::map<std::string, std::string> peers;  // host id -> "address:port"
  std::optional<std::set<std::string>> allow_in, allow_out;  // of the peers, who may move VMs here, and get them; none: all
  std::string vhost_template;                // "/run/x/{vm}-{nic}.sock"
  std::string uplink;                        // endpoint that leads to the other hosts
  uint64_t prepare_timeout_ms = 10000;
  uint64_t window_timeout_ms = 2000;         // longest redirect window when no proof comes
  uint64_t max_preparing = 8;                // moves from here that are being prepared together; the others queue
  uint64_t max_incoming = 256;               // moves to here at once; further offers are refused
  dataplane::ParkLimits ahead;               // sent ahead of a VM and kept here, each move; the same waits for it at the destination
};

// One move, as `migrate status` shows it. Times are CLOCK_MONOTONIC nanoseconds, 0 = not yet.
struct MoveStatus {
  std::string vm, peer, role, state, id, error;  // role "source" | "destination"; error empty = none
  std::string doubt;                             // what is not known yet, and who can say it; empty: nothing
  uint64_t rules_exported = 0, rules_rewritten = 0, rules_imported = 0;
  uint64_t redirected = 0;                                         // this move's frames
  uint64_t parked = 0, park_overflow = 0, redirect_duplicate = 0;  // the whole switch's, while the move went on
  uint64_t freeze_ns = 0, handover_ns = 0, active_ns = 0, proof_ns = 0, done_ns = 0;
  uint64_t rings_running_ns = 0, first_packet_ns = 0;
  std::string evacuation;            // the id of the `migrate start --all` that it is part of
  uint64_t deadline_ns = 0;          // of the step that it is in; 0: it may take as long as it takes
  std::vector<MoveStep> steps;       // oldest first
  uint64_t steps_left_out = 0;       // from the middle of them
};

struct PeerStatus {
  std::string host, address;
  bool may_move_in = false, may_move_out = false;  // VMs, from there to here and from here to there
  bool connected = false;
  std::string error;  // of the last attempt
  std::vector<LinkInfo> sessions;
};

// By hand (`migration export|rewrite|import`): DESIGN 7.1.
struct RewriteReport {
  uint64_t transmit_rules_removed = 0;
  uint64_t receive_rules_rewritten = 0;
  uint64_t uplink_rules_removed = 0;
  std::map<std::string, uint16_t> old_ports;  // endpoint -> the port it had
};
struct ImportBinding {
  std::string socket_path;       // make a vhost port there, or
  PortId port;        // use this one; neither: the template
};
struct ImportReport {
  uint64_t rules_imported = 0;
  uint64_t receive_rules_rewritten = 0;
  uint64_t uplink_rules_added = 0;
  std::map<std::string, uint16_t> new_ports;
  Epoch epoch;
};

struct EvacuationReport {
  std::string id;
  std::vector<std::pair<std::string, std::string>> started;  // VM, move
  std::vector<std::pair<std::string, std::string>> refused;  // VM, reason
};

inline constexpr size_t kMaxFinished = 1024;

class Driver {
 public:
  using Log = std::function<void(const std::string& line)>;
  // `journal` null: nothing outlives the process.
  Driver(Network& network, DriverOptions options, dataplane::PolicyStore& store, dataplane::Ports& ports,
         dataplane::PacketGate& gate, const Clock& clock, Log log, Journal* journal = nullptr, MoveTables tables = {});
  ~Driver();
  Driver(const Driver&) = delete;
  Driver& operator=(const Driver&) = delete;

  // Sees each action of a move (source.h, destination.h) before and after it is carried out.
  using Watcher = std::function<void(MoveRole role, std::string_view action, bool after)>;
  void watch(Watcher watcher);

  // After a restart, when ports are there and before listen(): takes up the moves of the journal. VMs that may have been
  // handed over are parked until the peer, or their rings, say where they run.
  void recover();
  Result<void> listen();  // opens the listening socket, if one is configured
  void stop();            // closes all sockets; moves in progress are aborted as far as they can be

  // By hand. Errors list every reason, one a line, and nothing has changed.
  Result<Document> export_vm(const std::string& vm);
  Result<RewriteReport> rewrite_vm(const std::string& vm);
  Result<ImportReport> import_vm(const Document& document, const std::map<std::string, ImportBinding>& bindings);

  // Between peers. start() returns the move's id at once; status() tells how it goes: "queued" at first while others are being
  // prepared, or while frames of a move that has just ended go back to the VM.
  Result<std::string> start(const std::string& vm, const std::string& peer);
  // Every VM that is local here; an error if there is none. What cannot be moved is told with its reason.
  Result<EvacuationReport> start_all(const std::string& peer);
  // Asks `from` to move the VM here, with the id that is returned.
  Result<std::string> pull(const std::string& vm, const std::string& from);
  Result<void> cancel(const std::string& vm);
  [[nodiscard]] std::vector<MoveStatus> status(const std::string& vm = {}) const;  // and the last kMaxFinished finished
  // A move by its id or the beginning of it, if only one has it.
  Result<MoveStatus> show(const std::string& id) const;
  [[nodiscard]] std::vector<EvacuationStatus> evacuations() const;
  [[nodiscard]] uint64_t now_ns() const;  // by the clock of all of these times
  [[nodiscard]] std::vector<PeerStatus> peers() const;
  // Asks a peer `count` times whether it is there, in a session of its own. `done` is called once, later; not if this is an error.
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
