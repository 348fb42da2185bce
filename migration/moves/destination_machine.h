// SPDX-License-Identifier: Apache-2.0
//
// The destination's side of a move as a table (machine.h). DestinationMove carries out its actions.
//
//   offered -> prepared -> handed-over -> active -> open -> done
//              prepared -> running     -> active      rings run before the handover has come
//
//   offered, prepared, running -> aborted    on a refusal, an abort, a cancel
//   handed-over -> prepared                  the source revokes
//   prepared, running -> stranded            the session is lost: the source is asked until it
//   handed-over -> orphaned                  answers
//   stranded -> prepared, active, open, done, aborted
//   orphaned -> handed-over, active, done, aborted
//
// Active needs the handover and the VM's running rings, in either order. One transaction then
// publishes, without a round trip.
//
// Only the source's word ends a move that is active. A destination that has lost its source asks
// until it answers, since the source may have claimed the VM, or may not know that the VM has gone.
// If the VM's rings run here and the source cannot be asked for a while, the destination takes the
// VM by the epoch of the handover that it did not get. It takes the VM at once if the source
// answers that the move is done.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>

#include "migration/moves/machine.h"

namespace godwit::migration {

enum class DestinationState : uint8_t {
  kInvalid = 0,
  kOffered,     // the offer is being checked and staged
  kPrepared,    // the policy is staged
  kRunning,     // prepared, and the VM's rings run
  kHandedOver,  // the handover is here, and the rings do not run
  kStranded,    // prepared, and the session is lost or this switch was restarted
  kOrphaned,    // handed over, and the session is lost: the source is in doubt
  kActive,      // published; direct arrivals wait for the barrier behind the backlog
  kOpen,        // direct arrivals flow; the window is open
  kDone,
  kAborted,
  kCount
};

enum class DestinationEvent : uint8_t {
  kInvalid = 0,
  kStaged,  // also what another offer of the same move has changed
  kStageFailed,
  kHandover,          // with the digest of what is staged; or the source says that it has ended
  kOutdatedHandover,  // of other rules than those staged: the source is asked for another offer
  kBadHandover,       // by an old epoch
  kRingsRunning,
  kRingsStopped,
  kRevoke,
  kAbort,
  kBarrier,
  kDone,
  kCancel,
  kConnectionLost,
  kReconnected,    // the source is back, and sends its handover again
  kRestored,       // after a restart, the journal has the move as active
  kHoldTimeout,    // direct arrivals, or rings without a source, have waited long enough
  kWindowTimeout,  // the source has not sent `done` in time
  kClaim,          // the source has the VM by a newer epoch, and its rings do not run here
  kJournalFailed,  // a record that this step depends on could not be written
  kCount
};

enum class DestinationAction : uint8_t {
  kNone = 0,
  kRecord,  // writes the move into the journal, or fails with kJournalFailed; a published move is
            // written as soon as the journal can be written
  kSendPrepared,
  kSendRefused,
  kSendActive,
  kSendRevoked,
  kSendResend,
  kSendBarrierAck,
  kSendDoneAck,
  kDiscard,       // removes what is staged; everything is as before the offer
  kKeepHandover,  // frames sent ahead of it are forgotten: the source sends them again
  kDropHandover,
  kUnpublish,      // removes rules and ports; the VM is behind the uplink again
  kAskSource,      // repeatedly, until it answers
  kClaimHandover,  // takes the epoch that the source's handover would have had
  kPublish,        // in one transaction; parks direct arrivals, delivers what was sent ahead
  kAnnounce,
  kEnter,          // makes the records of what was published, off the critical path
  kReleaseDirect,  // lets direct arrivals through to the port
  kCloseWindow,    // stops pairing copies
  kStartHoldTimer,
  kStartClaimTimer,
  kStartWindowTimer,
  kStopTimers,
  kCloseSession,
  kReportAborted,
  kReportDone,
  kCount
};

using DestinationTransition = Transition<DestinationState, DestinationEvent, DestinationAction, 9>;

[[nodiscard]] std::span<const DestinationTransition> destination_transitions();
[[nodiscard]] std::string_view name_of(DestinationState state);
[[nodiscard]] std::string_view name_of(DestinationEvent event);
[[nodiscard]] std::string_view name_of(DestinationAction action);

class DestinationMachine final : public Machine<DestinationTransition> {
 public:
  explicit DestinationMachine(Table table = destination_transitions(),
                              State state = State::kOffered)
      : Machine(table, state) {}
};

}  // namespace godwit::migration
