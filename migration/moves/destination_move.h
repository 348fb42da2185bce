// SPDX-License-Identifier: Apache-2.0
//
// A move to this host: carries out what the destination's machine decides. See destination.h for
// the states.
#pragma once

#include <deque>
#include <memory>
#include <string>
#include <variant>
#include <vector>

#include "migration/moves/destination_machine.h"
#include "migration/moves/fabric/announce.h"
#include "migration/moves/move_context.h"
#include "migration/policy/rewriting.h"

namespace godwit::migration {

class DestinationMove : public std::enable_shared_from_this<DestinationMove> {
 public:
  DestinationMove(MoveContext& context, std::string vm, std::string peer, std::string id);

  // The session belongs to the move from here on; also when the source comes back.
  void attach(std::shared_ptr<PeerSession> session);
  void on_offer(const wire::Offer& offer);
  // After a restart: staged again, and in force at once if the journal says that it was. Errors: it
  // cannot be staged.
  Result<void> recover(const MoveRecord& record);
  // The source has begun another move of the VM, so it has given this one up.
  void supersede();
  void on_message(wire::Envelope& message);
  // Of `session`; one that was replaced meanwhile does not count.
  void on_connection_lost(const std::string& reason, const PeerSession* session);
  void on_port_event(const dataplane::PortEvent& event);
  // Came in by an uplink: a probe of ours is answered.
  void on_fabric_message(const FabricMessage& message);
  Result<void> cancel();
  void stop();

  [[nodiscard]] const std::string& vm() const { return status_.vm; }
  [[nodiscard]] const std::string& id() const { return status_.id; }
  [[nodiscard]] const std::string& peer() const { return status_.peer; }
  [[nodiscard]] DestinationState state() const { return machine_.state(); }
  // Also of frames: none is left that is to go to the VM.
  [[nodiscard]] bool over() const { return machine_.over() && in_.empty(); }
  [[nodiscard]] MoveStatus status() const;

 private:
  void step(DestinationEvent event, const std::string& why = {});
  void act(DestinationAction action);
  [[nodiscard]] wire::Envelope envelope() const;
  void on_handover(const wire::Handover& handover);
  void on_revoke(const Epoch& its);
  void on_done(const Epoch& its);
  void on_abort(const wire::Envelope& message);
  [[nodiscard]] bool asks() const;
  Result<void> stage();
  void record();
  void keep_policy();
  Result<void> go_on();
  void after_step(DestinationState before);
  void unpublish();
  void ask_source(uint64_t after_ms);
  void on_answer(wire::Envelope& message, const std::shared_ptr<PeerSession>& session);
  void stop_asking();
  void mint(const Epoch& newer_than);
  void settle(bool done);
  [[nodiscard]] bool rings_run() const;
  void on_delta(const wire::Delta& delta);
  void on_redirect(const wire::Redirect& redirect);
  void publish();
  void enter();
  void announce(size_t round);
  void locate(dataplane::LocationKind kind, bool pairing);
  void watch_hold();
  [[nodiscard]] bool room_to_wait() const;
  [[nodiscard]] bool older_coming();
  [[nodiscard]] uint64_t waiting() const;
  void watch_fence();
  void lift_fence();
  void forget_ahead();
  void pump_in();

  MoveContext& context_;
  DestinationMachine machine_;
  std::shared_ptr<PeerSession> session_;
  std::unique_ptr<StagedImport> staged_;
  Document document_;  // as offered, with what changed since
  Epoch offered_epoch_;
  Epoch new_epoch_;
  uint64_t nonce_ = 0;
  uint16_t window_ = 0;
  bool published_ = false;
  MoveStatus status_;
  dataplane::WindowTotals totals_before_,
      totals_after_;  // the switch's, when the move began and when it was over
  std::string why_;
  // Sent ahead of our being active, in order: delivered when we are, forgotten when the VM goes on
  // at the source.
  std::deque<dataplane::Frame> ahead_;
  size_t ahead_bytes_ = 0;
  uint64_t stream_ = 0;       // as the last handover named the numbering
  uint64_t next_number_ = 0;  // of the redirected frame that is due
  // Redirected frames and barriers, in the order they came.
  std::deque<std::variant<dataplane::Frame, uint32_t>> in_;
  uint32_t barrier_ = 0;
  bool fenced_ = false;             // what the fabric brings waits for the barrier behind the proof
  uint32_t looks_ = 0;              // while something waits
  uint32_t quiet_looks_ = 0;        // of those the last, at which the session had brought nothing
  uint64_t redirected_before_ = 0;  // frames that the session had brought at the last look
  std::unique_ptr<Timer> hold_timer_, fence_timer_, window_timer_, announce_timer_, pump_timer_,
      ask_timer_;
  std::shared_ptr<PeerSession> asking_;  // to the source that we lost, until it answers
  std::vector<OwnedRule> arrived_;       // uplink rules that came with it
  std::vector<OwnedRule> stayed_;        // those to the VM that this host had before
  JournalBatch dropped_;                 // those that went again
  bool recorded_ = false;                // the journal knows the move
  bool policy_kept_ = false;             // and the policy that came with it
  bool recovered_ = false;
  uint64_t steps_ = 0;
};

}  // namespace godwit::migration
