// SPDX-License-Identifier: Apache-2.0
//
// What a Engine is made of: its lists of moves, and what it does with them. engine.cc has the
// operator's calls and the lists, engine_peers.cc what is said to those who connect. Private to
// these two.
//
// Thread safety: everything on the control thread.
#pragma once

#include <deque>
#include <memory>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "base/log_limit.h"
#include "migration/engine/engine.h"
#include "migration/journal/journal.h"
#include "migration/link/peer_ping.h"
#include "migration/moves/destination_move.h"
#include "migration/moves/move_context.h"
#include "migration/moves/pull_request.h"
#include "migration/moves/source_move.h"

namespace godwit::migration {

struct Engine::Impl {
  MemoryJournal nothing;  // where there is no journal
  MoveContext context;
  std::unique_ptr<Timer> gate_timer, flush_timer;
  std::vector<std::shared_ptr<SourceMove>> outgoing;
  std::vector<std::shared_ptr<DestinationMove>> incoming;
  struct Queued {
    MoveStatus status;
    std::string address;
  };
  std::deque<Queued> queued;  // moves from here that wait: for others to be prepared, or for what
                              // goes back to their VM
  std::vector<std::shared_ptr<PullRequest>> pulls;
  std::vector<std::shared_ptr<PeerPing>> pings;
  std::deque<EvacuationStatus>
      evacuations;  // total, done, failed and rules are kept; the rest is counted when asked
  struct Stuck {
    MoveStatus status;
    MoveRole role;
  };
  std::vector<Stuck> stuck;  // of the journal, but they cannot be taken up
  std::deque<MoveStatus> finished;
  bool sweep_waits = false;
  std::set<std::shared_ptr<PeerSession>> strangers;
  LogLimit stranger_log{[this](const std::string& line) { context.log(line); }};
  std::vector<dataplane::Frame> taken;
  std::shared_ptr<int> alive = std::make_shared<int>(0);

  // engine.cc
  Impl(Network& network, MigrationOptions options, dataplane::PolicyStore& store,
       dataplane::Ports& ports, dataplane::PacketGate& gate, const Clock& clock, MoveLog log,
       Journal* journal, MoveTables tables);
  ~Impl();
  void flush_later();
  [[nodiscard]] bool may_move_in(const std::string& peer) const;
  [[nodiscard]] bool may_move_out(const std::string& peer) const;
  // A move that the journal has.
  void take_up(const MoveRecord& record);
  // Whether the VM has a port here: it is ours, or a move is about to make it so.
  bool here(const std::string& vm) const;
  std::shared_ptr<DestinationMove> find_incoming(const std::string& vm,
                                                 const std::string& id) const;
  [[nodiscard]] bool moving(const std::string& vm) const;
  // A move of it has not ended, or waits.
  [[nodiscard]] bool undecided(const std::string& vm) const;
  // Its move from here has ended, and what was kept for it is still on its way back to it.
  [[nodiscard]] bool going_back(std::string_view vm) const;
  Result<std::string> listed_address(const std::string& peer) const;
  // What speaks against any move to `peer`; else its address.
  Result<std::string> address_of(const std::string& peer) const;
  // Begins, or queues: behind those that are being prepared, or until what was kept in the VM's
  // last move has gone back. An error: nothing has begun.
  Result<std::string> start(const std::string& vm, const std::string& peer, const std::string& id,
                            const std::string& evacuation);
  size_t preparing() const;
  // The first that could begin; end(): none.
  std::deque<Queued>::iterator next_in_turn();
  void begin_queued();
  // A move that has not begun ends.
  void give_up(MoveStatus status, const std::string& why);
  bool known(const std::string& id) const;
  // The finished ones first.
  std::vector<MoveStatus> statuses() const;
  // Redirected frames to the sessions, as long as these take them.
  void pump();
  void remember(MoveStatus status);
  // Moves that are over go to the list of the finished. Not called from within a move's own step.
  void sweep();
  void sweep_later();

  // engine_peers.cc
  // Somebody connected. Until it says which move it means it is one of a bounded number of
  // strangers.
  void welcome(std::shared_ptr<PeerSession> session);
  void introduce(const std::shared_ptr<PeerSession>& session, wire::Envelope& message);
  std::string refuse_offer(const wire::Envelope& message, const std::string& peer) const;
  // From here on the session's messages go to the move.
  void own(const std::shared_ptr<PeerSession>& session,
           const std::shared_ptr<DestinationMove>& move);
  // A source that comes back after this switch has settled the move, or has never heard of it.
  void answer_unknown(const std::shared_ptr<PeerSession>& session, const wire::Envelope& message);
  // A destination that has lost us. A move that goes on takes the session, and answers by what it
  // says next.
  void answer_ask(const std::shared_ptr<PeerSession>& session, const wire::Envelope& message);
  // A peer has the VM in force by an epoch that is newer than any seen here. False: it runs here,
  // and is ours by one that is newer still.
  bool give_way(const std::string& vm, const std::string& peer, const Epoch& its);
  void answer_pull(const std::shared_ptr<PeerSession>& session, const wire::Envelope& message);
};

}  // namespace godwit::migration
