// SPDX-License-Identifier: Apache-2.0
//
// A move away from this host: carries out what the source's machine decides (source_machine.h).
//
// The parts have duties of their own: PeerLink is the session with the destination, SourceEndpoints
// decides where the VM's frames go, OfferedPolicy is what the destination is to import,
// RedirectSender carries frames to the destination, FabricProof finds out when the fabric has
// learned the new place.
//
// Thread safety: the control thread only.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "migration/link/peer_link.h"
#include "migration/moves/fabric/fabric_proof.h"
#include "migration/moves/move_context.h"
#include "migration/moves/move_progress.h"
#include "migration/moves/offered_policy.h"
#include "migration/moves/redirect_sender.h"
#include "migration/moves/source_endpoints.h"
#include "migration/moves/source_machine.h"
#include "migration/policy/withdraw.h"

namespace godwit::migration {

class SourceMove : public std::enable_shared_from_this<SourceMove> {
 public:
  // `status` names the VM, the peer, the move and, if the move is part of one, the evacuation.
  // `address` is the peer's.
  SourceMove(MoveContext& context, MoveStatus status, const std::string& address);

  // Returns an error if the VM is not known, or if one of its endpoints is not local.
  static Result<void> check(const MoveContext& context, const std::string& vm);
  // Exports the policy and connects to the peer. On failure nothing has changed.
  Result<void> begin();
  // Takes the move up after a restart, in doubt: the VM may have been handed over. On failure the
  // move cannot be taken up.
  Result<void> recover(const MoveRecord& record);
  // Takes a session that the destination has opened because it lost the former one. Returns false
  // if the move does not want it.
  bool attach(std::shared_ptr<PeerSession> session);
  // Cancels the move. Returns an error if the VM runs at the peer, or if it is unknown where it
  // runs.
  Result<void> cancel();
  // Stops the move because the switch ends. Cancels it if the VM is not handed over. Otherwise the
  // journal keeps it, and it is in doubt after the restart.
  void stop();

  void on_port_event(const dataplane::PortEvent& event);
  // Takes an announcement or an echo of the peer, which came in by an uplink.
  void on_fabric_message(const FabricMessage& message);
  void on_rule_change(const dataplane::RuleChange& change);

  // Takes a redirected frame of one of the VM's endpoints.
  void redirect(const dataplane::Frame& frame);
  void flush_redirect() { sender_.flush(); }
  // Returns whether the session to the peer has room for frames.
  [[nodiscard]] bool can_take() const { return sender_.can_take(); }
  [[nodiscard]] bool owns(EndpointId endpoint) const { return endpoints_.owns(endpoint); }

  [[nodiscard]] const std::string& vm() const { return status_.vm; }
  [[nodiscard]] const std::string& id() const { return status_.id; }
  [[nodiscard]] const std::string& peer() const { return status_.peer; }
  // Returns whether the outcome is known.
  [[nodiscard]] bool settled() const { return progress_.over(); }
  // Returns whether the outcome is known and no frame is left that has to go back to the VM.
  [[nodiscard]] bool over() const { return progress_.over() && !endpoints_.thawing(); }
  // Returns whether the peer has not yet answered the offer.
  // Returns whether a stored move got as far as `prepared`.
  [[nodiscard]] static bool may_be_handed_over(const MoveRecord& record) {
    return record.state != name_of(SourceState::kOffered);
  }
  [[nodiscard]] bool preparing() const { return progress_.state() < SourceState::kDetached; }
  [[nodiscard]] MoveStatus status() const;

 private:
  using Progress = MoveProgress<SourceMachine>;

  void step(SourceEvent event, const std::string& why = {});
  Progress::Failure act(SourceAction action);
  void after_step(SourceState before);

  void on_message(wire::Envelope& message);
  void on_active(const wire::Envelope& message);
  void on_resend();
  // Called when all rings of the VM have stopped.
  void stopped();

  [[nodiscard]] wire::Envelope envelope() const;
  // Sends the message that the action names, if it has a simple body.
  void send_simple(SourceAction action);
  Progress::Failure send_offer();
  void send_handover();

  Progress::Failure record_in_journal();
  // Claims the VM by a newer epoch.
  Progress::Failure mint();
  [[nodiscard]] MoveRecord record() const;
  void settle(bool done);

  void park();
  void thaw();
  void guard();
  void rewrite_out();
  void hold();
  void close_window();
  [[nodiscard]] RedirectSender::Mode redirect_mode() const;
  // Returns whether an uplink's rule leads to the VM: such a rule moves with it.
  [[nodiscard]] bool leads_here(const dataplane::RuleRecord& rule) const;

  void start_timer(Timer& timer, uint64_t ms, SourceEvent event, const char* why);
  void start_step_timer();
  void stop_timers();

  MoveContext& context_;
  MoveStatus status_;
  Progress progress_;
  PeerLink link_;
  OfferedPolicy policy_;
  SourceEndpoints endpoints_;
  RedirectSender sender_;
  FabricProof proof_;
  Epoch new_epoch_;  // the destination's, once the VM runs there
  uint64_t nonce_ = 0;
  std::unique_ptr<Timer> step_timer_, window_timer_;
  uint32_t resent_ = 0;  // how often the offer was sent again for one handover
  bool stopping_ = false;
  bool recorded_ = false;           // the journal knows the move
  std::vector<OwnedRule> removed_;  // uplink rules that went with the VM
};

}  // namespace godwit::migration
