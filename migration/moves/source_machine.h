// SPDX-License-Identifier: Apache-2.0
//
// The source's side of a move, as a table. step() does no I/O, reads no clock and allocates
// nothing: it says what is to be done, and the driver does it in order.
//
//   connecting -> offered -> prepared -> handed_over -> redirecting -> holding -> flushing ->
//   window -> finishing -> done
//                    |          |            |  ^
//                    v          v            v  | revoked
//                 aborted    aborted      revoking -> (thawed: prepared | aborted) | active:
//                 redirecting
//                                            in_doubt: the session was lost after the handover, or
//                                            the switch restarted
//                                              \-> claimed: the VM runs here and the peer is not to
//                                              be reached
//
// "Stopped" is for the whole VM: every NIC that ever ran. A single NIC's stop only parks that NIC
// (the engine). An event without a row changes nothing: late and repeated messages are absorbed.
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
  kPrepared,
  kHandedOver,
  kRevoking,        // the VM runs here after all
  kCancelRevoking,  // the operator wants it back
  kInDoubt,         // handed over, and the session is lost
  kClaimed,         // ours by a newer epoch, and the peer has not heard of it yet
  kRedirecting,     // the destination is active
  kHolding,         // proof seen: what is for the VM waits for the switch-over
  kFlushing,        // last redirected frames and their barrier are on the way
  kWindow,          // local senders use the uplink, late frames are still redirected
  kFinishing,       // done said, waiting to hear it
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
  kRunning,  // one of its rings runs (again)
  kActive,
  kRevoked,
  kProof,       // the announcement came in on our own uplink
  kHeld,        // a grace period after the hold: nobody redirects any more
  kBarrierAck,  // of the last barrier
  kDoneAck,
  kCancel,
  kStepTimeout,    // the current step took too long
  kWindowTimeout,  // no proof came, or the window is over
  kYield,          // claimed, but it does not run here: the peer, which is in touch, may have it
  kJournalFailed,  // what this step rests on could not be written
  kCount
};

enum class SourceAction : uint8_t {
  kNone = 0,
  kRecord,  // in the journal; kJournalFailed when it cannot be
  kSendOffer,
  kSendHandover,  // and the epoch it carries is on its way
  kSendRevoke,
  kSendAbort,
  kSendBarrier,  // of the backlog, once it has drained
  kSendLastBarrier,
  kSendDone,
  kReconnect,
  kPark,    // all its endpoints: hold what arrives, poll nothing
  kPassOn,  // location to the redirect: what was parked goes ahead to the peer, a copy stays until
            // it is active
  kThaw,    // its endpoints as before the move, after what was kept
  kRewriteOut,   // one transaction: rules out, location to the redirect
  kHold,         // location to the park, and tell when a grace period is over
  kRelease,      // location to the uplink; what an uplink still brings is redirected
  kCloseWindow,  // location to the uplink, plainly; uplink rules that led to it go; the port is
                 // freed
  kGuardRules,   // rule changes are the destination's now
  kStartStepTimer,
  kStartWindowTimer,
  kStartLateTimer,  // the second in which the redirect stays open
  kStopTimers,
  kCloseSession,
  kSealEpoch,  // the new epoch is in force, and it is the destination's
  kMintEpoch,  // one newer than what was handed over: the VM is ours. In the journal, or
               // kJournalFailed
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
