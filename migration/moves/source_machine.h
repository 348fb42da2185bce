// SPDX-License-Identifier: Apache-2.0
//
// The source's side of a move as a table (machine.h). SourceMove carries out its actions.
//
//   connecting -> offered -> prepared -> handed-over -> redirecting -> holding -> flushing ->
//   window -> finishing -> done
//
//   connecting, offered, prepared -> aborted     on a refusal, a timeout, a lost session, a cancel
//   handed-over -> revoking                      the VM runs here again
//   handed-over -> cancel-revoking               the operator cancels
//   revoking -> prepared                         the destination agrees, and the VM runs on here
//   cancel-revoking -> aborted                   the destination agrees
//   revoking, cancel-revoking -> redirecting     the destination is active already
//   handed-over, revoking -> in-doubt            the session is lost, or the switch was restarted
//   in-doubt -> handed-over                      the session is back: the handover is sent again
//   in-doubt -> claimed                          the VM runs here and the peer cannot be reached
//   claimed -> aborted                           the destination agrees
//   claimed -> handed-over                       the VM runs at the destination after all
//
// The event `stopped` means the whole VM: all rings of all its NICs. The stop of one NIC only parks
// that NIC.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>

#include "migration/moves/machine.h"

namespace godwit::migration {

enum class SourceState : uint8_t {
  kInvalid = 0,
  kConnecting,
  kOffered,
  kDetached,  // prepared, and the session is lost: the VM runs here, and QEMU may go on copying
  kPrepared,
  kHandedOver,
  kRevoking,        // the VM runs here after all, and the handover is being revoked
  kCancelRevoking,  // the same because the operator cancels
  kInDoubt,         // handed over, and the session is lost
  kClaimed,         // this host's by a newer epoch, and the peer does not know it yet
  kRedirecting,     // the destination is active
  kHolding,         // the proof has come: frames for the VM wait for the switch-over
  kFlushing,        // the last redirected frames and their barrier are on the way
  kWindow,          // local senders use the uplink; late frames are still redirected
  kFinishing,       // `done` is sent, and its answer is awaited
  kDone,
  kAborted,
  kCount
};

enum class SourceEvent : uint8_t {
  kInvalid = 0,
  kConnected,
  kConnectionLost,
  kPrepared,
  kRefused,
  kStopped,  // all rings that ran have stopped
  kRunning,  // one of its rings runs, perhaps again
  kActive,
  kRevoked,
  kResend,      // the destination's staged policy is not the one handed over
  kProof,       // every probe through this host's uplink was echoed
  kHeld,        // a grace period after the hold: no worker redirects any more
  kBarrierAck,  // of the last barrier
  kDoneAck,
  kCancel,
  kStepTimeout,    // the current step took too long
  kWindowTimeout,  // no proof came in time, or the window is over
  kYield,          // a claimed VM does not run here: a peer that can be reached may have it
  kJournalFailed,  // a record that this step depends on could not be written
  kCount
};

enum class SourceAction : uint8_t {
  kNone = 0,
  kRecord,  // writes the move into the journal, or fails with kJournalFailed
  kSendOffer,
  kSendHandover,  // with the destination's new epoch
  kSendRevoke,
  kSendAbort,
  kSendBarrier,      // behind the backlog, once it has drained
  kSendLastBarrier,  // behind the last redirected frame
  kSendDone,
  kReconnect,
  kPark,         // holds what comes for the VM, and polls none of its ports
  kPassOn,       // sends parked and new frames ahead to the peer; copies stay until it is active
  kThaw,         // gives the kept frames to the VM, and its endpoints the state before the move
  kRewriteOut,   // takes the rules out and redirects, in one transaction
  kHold,         // parks what comes for the VM; kHeld follows after a grace period
  kRelease,      // sends frames for the VM to the uplink; frames from an uplink are redirected
  kCloseWindow,  // ends the redirect, removes the VM's ports and the uplink rules that led to it
  kGuardRules,   // refuses rule changes here
  kStartStepTimer,
  kStartWindowTimer,
  kStartLateTimer,  // of the second in which late frames are redirected
  kStopTimers,
  kCloseSession,
  kSealEpoch,  // notes the destination's new epoch as the VM's
  kMintEpoch,  // claims the VM by an epoch newer than the handed-over one, written in the journal;
               // or fails with kJournalFailed
  kReportAborted,
  kReportDone,
  kCount
};

using SourceTransition = Transition<SourceState, SourceEvent, SourceAction, 7>;

[[nodiscard]] std::span<const SourceTransition> source_transitions();
[[nodiscard]] std::string_view name_of(SourceState state);
[[nodiscard]] std::string_view name_of(SourceEvent event);
[[nodiscard]] std::string_view name_of(SourceAction action);

class SourceMachine final : public Machine<SourceTransition> {
 public:
  explicit SourceMachine(Table table = source_transitions(), State state = State::kConnecting)
      : Machine(table, state) {}
};

}  // namespace godwit::migration
