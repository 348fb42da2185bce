// SPDX-License-Identifier: Apache-2.0
//
// The moves of this host: owns those in progress in both directions, the pulls that wait for an
// offer, the moves of the journal that cannot be recovered, and the last kMaxFinished that ended.
// Answers whether a VM is moving. The queue of moves that have not begun is another object
// (move_queue.h), and so are the evacuations that count ended moves.
//
// Thread safety: the control thread only.
#pragma once

#include <deque>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "migration/engine/evacuations.h"
#include "migration/engine/move_queue.h"
#include "migration/moves/destination_move.h"
#include "migration/moves/move_context.h"
#include "migration/moves/pull_request.h"
#include "migration/moves/source_move.h"

namespace godwit::migration {

inline constexpr size_t kMaxFinished = 1024;

class MoveRegistry {
 public:
  using Outgoing = std::vector<std::shared_ptr<SourceMove>>;
  using Incoming = std::vector<std::shared_ptr<DestinationMove>>;
  using Pulls = std::vector<std::shared_ptr<PullRequest>>;

  MoveRegistry(MoveContext& context, MoveQueue& queue, Evacuations& evacuations)
      : context_(context), queue_(queue), evacuations_(evacuations) {}

  [[nodiscard]] const Outgoing& outgoing() const { return outgoing_; }
  [[nodiscard]] const Incoming& incoming() const { return incoming_; }
  [[nodiscard]] const Pulls& pulls() const { return pulls_; }
  void add(std::shared_ptr<SourceMove> move) { outgoing_.push_back(std::move(move)); }
  void add(std::shared_ptr<DestinationMove> move) { incoming_.push_back(std::move(move)); }
  void add(std::shared_ptr<PullRequest> pull) { pulls_.push_back(std::move(pull)); }

  // Recovers a move of the journal. One that cannot be recovered stays in the list with the reason
  // until the operator cancels it.
  void recover(const MoveRecord& record);

  // Returns the move from the peer to this host with this VM and id, or null.
  [[nodiscard]] std::shared_ptr<DestinationMove> find_incoming(const std::string& vm,
                                                               const std::string& id,
                                                               const std::string& peer) const;
  // Returns whether a move of the VM is queued or in progress, or still returns frames to it.
  [[nodiscard]] bool moving(const std::string& vm) const { return undecided(vm) || returning(vm); }
  // Returns whether a move of the VM is queued, or in progress with an open outcome.
  [[nodiscard]] bool undecided(const std::string& vm) const;
  // Returns whether the VM's move from here has ended while frames kept for it still return to it.
  [[nodiscard]] bool returning(std::string_view vm) const;
  // Counts the moves from here whose offer the peer has not answered yet.
  [[nodiscard]] size_t preparing() const;
  // Returns whether a move of this id is listed by statuses().
  [[nodiscard]] bool known(const std::string& id) const;

  // Lists the moves that have ended first, then all others.
  [[nodiscard]] std::vector<MoveStatus> statuses() const;
  // Lists the evacuations, with the moves of each that are in progress counted.
  [[nodiscard]] std::vector<EvacuationStatus> evacuations() const;

  // Cancels a move of the VM that waits in the queue, or one that could not be recovered. Returns
  // whether there was one.
  bool cancel_unstarted(const std::string& vm);
  // Cancels the moves and pulls of the VM that are in progress. Returns an error if there is none,
  // or if the move can no longer be cancelled.
  Result<void> cancel(const std::string& vm);
  // Ends a move that has not begun as aborted.
  void give_up(MoveStatus status, const std::string& why);
  // Puts moves that are over among the finished ones. A move's own step must not call this, since
  // it may destroy the move.
  void retire();
  // Closes the sessions of every move and pull.
  void stop();
  void clear();

 private:
  struct Stuck {
    MoveStatus status;
    MoveRole role;
  };

  void remember(MoveStatus status);

  MoveContext& context_;
  MoveQueue& queue_;
  Evacuations& evacuations_;
  Outgoing outgoing_;
  Incoming incoming_;
  Pulls pulls_;
  std::vector<Stuck> stuck_;  // moves of the journal that cannot be recovered
  std::deque<MoveStatus> finished_;
};

}  // namespace godwit::migration
