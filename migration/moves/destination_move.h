// SPDX-License-Identifier: Apache-2.0
//
// A move to this host: carries out what the destination's machine decides (destination_machine.h).
//
// The parts have duties of their own: ArrivedPolicy stages and publishes the VM's policy,
// RedirectReceiver takes frames from the source, ArrivalHold keeps direct frames behind them,
// Announcer tells the fabric. The session belongs to the move once attach() was called; a PeerLink
// asks a source that was lost.
//
// Thread safety: the control thread only.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "migration/link/peer_link.h"
#include "migration/moves/arrival_hold.h"
#include "migration/moves/arrived_policy.h"
#include "migration/moves/destination_machine.h"
#include "migration/moves/fabric/announcer.h"
#include "migration/moves/move_context.h"
#include "migration/moves/move_progress.h"
#include "migration/moves/redirect_receiver.h"

namespace godwit::migration {

class DestinationMove : public std::enable_shared_from_this<DestinationMove> {
 public:
  DestinationMove(MoveContext& context, const std::string& vm, const std::string& peer,
                  const std::string& id);

  // Takes the session to the source, also when the source comes back by another one.
  void attach(std::shared_ptr<PeerSession> session);
  void on_offer(const wire::Offer& offer);
  // Takes the move up after a restart: the policy is staged again, or in force at once if the
  // journal says so. On failure the move cannot be taken up.
  Result<void> recover(const MoveRecord& record);
  // The source has begun another move of the VM, so it has given this one up.
  // Ends a move that is not published, if no ring runs here.
  void supersede(const std::string& why);
  // Returns whether the source was lost, and the VM has moved on without this host since: an offer
  // has a newer epoch.
  [[nodiscard]] bool outrun_by(const Epoch& offered) const {
    return progress_.state() == DestinationState::kStranded && offered_epoch_ < offered;
  }
  void on_message(wire::Envelope& message);
  // `session` has ended. Does nothing if it is not the present one.
  void on_connection_lost(const std::string& reason, const PeerSession* session);
  void on_port_event(const dataplane::PortEvent& event);
  // Takes a probe of the source, which came in by an uplink.
  void on_fabric_message(const FabricMessage& message);
  // Cancels the move. Returns an error if the VM runs here, or may be the destination's already.
  Result<void> cancel();
  // Stops the move because the switch ends: closes its sessions, and discards a policy that is only
  // staged.
  void stop();

  [[nodiscard]] const std::string& vm() const { return status_.vm; }
  [[nodiscard]] const std::string& id() const { return status_.id; }
  [[nodiscard]] const std::string& peer() const { return status_.peer; }
  [[nodiscard]] DestinationState state() const { return progress_.state(); }
  // Returns whether the outcome is known and no frame is left that has to go to the VM.
  [[nodiscard]] bool over() const { return progress_.over() && receiver_.empty(); }
  [[nodiscard]] MoveStatus status() const;

 private:
  using Progress = MoveProgress<DestinationMachine>;

  void step(DestinationEvent event, const std::string& why = {});
  Progress::Failure act(DestinationAction action);
  void after_step(DestinationState before);

  void on_delta(const wire::Delta& delta);
  // Stages a first offer. Applies what a further offer has changed.
  Result<void> take_offer(const wire::Offer& offer);
  Result<void> follow(const Document& document);
  void on_handover(const wire::Handover& handover);
  // Takes a handover of a VM whose policy is only staged.
  void on_first_handover(const wire::Handover& handover, const Epoch& epoch);
  // Returns the event of a handover whose digest is not that of what is staged.
  [[nodiscard]] DestinationEvent outdated() const;
  void on_revoke(const Epoch& its);
  void on_done(const Epoch& its);
  void on_abort(const wire::Envelope& message);
  void on_unknown();
  void on_redirect(const wire::Redirect& redirect);

  [[nodiscard]] wire::Envelope envelope() const;
  // Sends the message that the action names.
  void send(DestinationAction action);
  void close_session();

  // Returns whether the source is to be asked: it was lost, and only it knows how the move ends.
  [[nodiscard]] bool asks() const;
  // Returns whether rings run here and the source has been lost: this host claims the VM.
  [[nodiscard]] bool claims() const {
    return progress_.state() == DestinationState::kStranded && policy_.rings_run();
  }
  void ask_source(uint64_t after_ms);
  void on_answer(wire::Envelope& message);
  void stop_asking();

  Progress::Failure record_in_journal();
  [[nodiscard]] MoveRecord record(DestinationState state) const;
  void keep_policy();
  void settle(bool done);
  // Continues with a policy that was in force before the restart.
  Result<void> go_on();
  // Claims the VM by an epoch that is newer than `newer_than`.
  void mint(const Epoch& newer_than);

  void publish();
  void enter();
  void withdraw();

  MoveContext& context_;
  MoveStatus status_;
  Progress progress_;
  std::shared_ptr<PeerSession> session_;
  PeerLink inquiry_;  // to the source that was lost, until it answers
  ArrivedPolicy policy_;
  RedirectReceiver receiver_;
  ArrivalHold hold_;
  Announcer announcer_;
  Epoch offered_epoch_;
  Epoch new_epoch_;  // of the handover
  uint64_t nonce_ = 0;
  std::unique_ptr<Timer> claim_timer_, window_timer_, ask_timer_;
  JournalBatch dropped_;      // uplink rules that came with the VM and went again
  bool recorded_ = false;     // the journal knows the move
  bool policy_kept_ = false;  // the journal knows the policy
  bool recovered_ = false;    // the move was taken up after a restart
};

}  // namespace godwit::migration
