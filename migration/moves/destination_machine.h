// SPDX-License-Identifier: Apache-2.0
//
// The destination's side of a move, as a table; step() does no I/O (see source.h for the
// conventions).
//
//   offered -> prepared -> running (rings run, no handover yet) -> active
//                 |   \--> handed_over (handover held, rings do not run) --> active -> open -> done
//                 |               |  revoked -> prepared
//                 v               v
//              stranded        orphaned      the session is lost: the source is asked until it
//              answers
//
// Whatever is not decided here ends aborted on the source's word.
//
// Active needs both, in either order: the handover in hand and the VM's own rings running. Then one
// transaction publishes, with no round trip. It is over on the source's word only: one that has
// lost its source asks on, since the source may have claimed the VM, or may not know that it has
// gone. A destination that has lost its source takes the VM, by the epoch of the handover that it
// did not get, when its rings run here and the source cannot be asked for a while; or at once on
// its word that the move is done.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>

#include "migration/moves/machine.h"

namespace godwit::migration {

enum class DestinationState : uint8_t {
  kInvalid = 0,
  kOffered,  // the offer is being checked and staged
  kPrepared,
  kRunning,
  kHandedOver,
  kStranded,  // prepared, and the source is gone (or this switch was restarted)
  kOrphaned,  // handover held, session lost, rings do not run: the source is in doubt
  kActive,    // published; direct arrivals wait for the backlog's barrier
  kOpen,      // direct arrivals flow; the window is open
  kDone,
  kAborted,
  kCount
};

enum class DestinationEvent : uint8_t {
  kInvalid = 0,
  kStaged,
  kStageFailed,
  kHandover,     // its digest fits what is staged
  kBadHandover,  // it does not
  kRingsRunning,
  kRingsStopped,
  kRevoke,
  kAbort,
  kBarrier,
  kDone,
  kCancel,
  kConnectionLost,
  kReconnected,    // the source is back and says its handover again
  kRestored,       // after a restart: the journal says that it was active
  kHoldTimeout,    // direct arrivals, or rings without their source, have waited long enough
  kWindowTimeout,  // the source never said done
  kClaim,          // the source has it by a newer epoch, and its rings do not run here
  kJournalFailed,  // what this step rests on could not be written
  kCount
};

enum class DestinationAction : uint8_t {
  kNone = 0,
  kRecord,  // in the journal; kJournalFailed when it cannot be. What is published is a fact: it is
            // written when it can be
  kSendPrepared,
  kSendRefused,
  kSendActive,
  kSendRevoked,
  kSendBarrierAck,
  kSendDoneAck,
  kDiscard,       // everything staged goes; as before the offer
  kKeepHandover,  // its epoch and digest
  kDropHandover,
  kUnpublish,      // a newer epoch has it: rules and port go, its location is the uplink
  kAskSource,      // again and again until it answers
  kClaimHandover,  // the epoch that the source's handover would have had
  kPublish,        // one transaction; direct arrivals parked, what the source sent ahead delivered
  kAnnounce,
  kEnter,          // the records of what was published: nobody waits for them
  kReleaseDirect,  // location to the port
  kCloseWindow,    // copies are no longer paired
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
