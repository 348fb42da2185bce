// SPDX-License-Identifier: Apache-2.0
//
// The connections that peers open to this host. A connection is pending until its first message
// says which move it belongs to; this object owns the pending ones. It introduces each: an offer
// makes a move to this host, a source that reconnects gets its move, and a pull starts a move from
// this host. Messages about moves that are not in progress go to LateAnswers.
//
// Bounds: at most kMaxPendingConnections. The network limits connections by address as well.
//
// Thread safety: the control thread only.
#pragma once

#include <functional>
#include <memory>
#include <set>
#include <string>

#include "base/log_limit.h"
#include "base/result.h"
#include "migration/engine/late_answers.h"
#include "migration/engine/move_registry.h"
#include "migration/engine/move_starter.h"
#include "migration/engine/peer_directory.h"
#include "migration/link/network.h"
#include "migration/moves/destination_move.h"
#include "migration/moves/move_context.h"

namespace godwit::migration {

inline constexpr size_t kMaxPendingConnections = 4096;

class IncomingLinks {
 public:
  // `retire` puts ended moves away and begins queued ones. It is called after each message of a
  // move.
  IncomingLinks(MoveContext& context, const PeerDirectory& peers, MoveRegistry& moves,
                MoveStarter& starter, std::function<void()> retire);

  // Opens the listening socket, if the options name an address. Returns an error if the address
  // would need encryption or cannot be bound.
  Result<void> listen();
  // Closes the listening socket and all pending connections.
  void stop();

 private:
  using SessionPtr = std::shared_ptr<PeerSession>;

  void accept(SessionPtr session);
  void on_pending_closed(const SessionPtr& session, const std::string& reason);
  void introduce(const SessionPtr& session, wire::Envelope& message);
  void answer_hello(const SessionPtr& session, const wire::Hello& hello);
  // Gives a move the session that its source has opened again, and the first message of it.
  void resume(const SessionPtr& session, const std::shared_ptr<DestinationMove>& move,
              wire::Envelope& message);
  void on_offer(const SessionPtr& session, wire::Envelope& message);
  // Returns why the offer is refused; empty if it is not. No move exists for the offer yet.
  [[nodiscard]] std::string check_offer(const wire::Envelope& offer, const std::string& peer) const;
  // Answers an offer by its refusal. The session takes no more messages.
  void refuse(const SessionPtr& session, const wire::Envelope& offer, const std::string& reason);
  // Passes the session's further messages to the move.
  void assign(const SessionPtr& session, const std::shared_ptr<DestinationMove>& move);
  void on_ask(const SessionPtr& session, const wire::Envelope& message);
  void on_pull(const SessionPtr& session, const wire::Envelope& message);

  MoveContext& context_;
  const PeerDirectory& peers_;
  MoveRegistry& moves_;
  MoveStarter& starter_;
  const std::function<void()> retire_;
  LateAnswers late_answers_;
  std::set<SessionPtr> pending_;
  LogLimit pending_log_;
  std::shared_ptr<int> alive_ = std::make_shared<int>(0);  // watched by callbacks that outlive this
};

}  // namespace godwit::migration
