// SPDX-License-Identifier: Apache-2.0
//
// `migrate pull`: asks the host that has a VM to move it here. That host then starts a move like
// any other, with the id of the request. The request ends when the offer has come, or with the
// reason why none comes.
//
// Thread safety: the control thread only.
#pragma once

#include <memory>
#include <string>

#include "migration/link/peer_link.h"
#include "migration/moves/move_context.h"

namespace godwit::migration {

class PullRequest : public std::enable_shared_from_this<PullRequest> {
 public:
  PullRequest(MoveContext& context, std::string vm, std::string from, std::string id,
              const std::string& address);

  // Connects and asks. The request fails if no offer has come within prepare_timeout_ms.
  void begin();
  // Ends the request without an error, because the offer has come.
  void arrived();
  // Ends the request with the error "cancelled".
  void cancel();
  // Ends the request because the switch ends. Reports nothing.
  void stop();

  [[nodiscard]] bool over() const { return over_; }
  [[nodiscard]] bool failed() const { return over_ && !status_.error.empty(); }
  [[nodiscard]] const MoveStatus& status() const { return status_; }

 private:
  void ask();
  void on_message(const wire::Envelope& message);
  void on_lost(PeerLink::Loss loss, const std::string& reason);
  // Ends the request. An `error` that is not empty goes to the status and the log.
  void end(const std::string& error);

  MoveContext& context_;
  MoveStatus status_;
  PeerLink link_;
  std::unique_ptr<Timer> timer_;
  bool agreed_ = false;  // the peer will start the move
  bool over_ = false;
};

}  // namespace godwit::migration
