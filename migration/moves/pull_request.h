// SPDX-License-Identifier: Apache-2.0
//
// `migrate pull`: asks the host that has a VM to move it here. That host then starts a move like
// any other, with the id that was asked for; the request ends when its offer has come, or with the
// reason why none comes.
#pragma once

#include <memory>
#include <string>

#include "migration/moves/move_context.h"

namespace godwit::migration {

class PullRequest : public std::enable_shared_from_this<PullRequest> {
 public:
  PullRequest(MoveContext& context, std::string vm, std::string from, std::string id,
              std::string address);

  void begin();
  void arrived();  // the offer has come
  void cancel();
  void stop();

  [[nodiscard]] bool over() const { return over_; }
  [[nodiscard]] bool failed() const { return over_ && !status_.error.empty(); }
  [[nodiscard]] const MoveStatus& status() const { return status_; }

 private:
  void on_message(const wire::Envelope& message);
  void end(const std::string& error);

  MoveContext& context_;
  std::string address_;
  std::shared_ptr<PeerSession> session_;
  std::unique_ptr<Timer> timer_;
  MoveStatus status_;
  bool agreed_ = false;
  bool over_ = false;
};

}  // namespace godwit::migration
