// SPDX-License-Identifier: Apache-2.0
//
// The destination's side of a move, as a table; step() does no I/O (see source.h for the conventions).
//
//   offered -> prepared -> running (rings run, no handover yet) -> active
//                 |   \--> handed_over (handover held, rings do not run) --> active -> open -> done
//                 v               |
//              aborted         revoked -> prepared
//
// Active needs both, in either order: the handover in hand and the VM's own rings running. Then one
// transaction publishes, with no round trip.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

namespace godwit::migration {

enum class DestinationState : uint8_t {
  kInvalid = 0,
  kOffered,      // the offer is being checked and staged
  kPrepared,
  kRunning,
  kHandedOver,
  kOrphaned,     // handover held, session lost, rings do not run: the source is in doubt
  kActive,       // published; direct arrivals wait for the backlog's barrier
  kOpen,         // direct arrivals flow; the window is open
  kDone,
  kAborted,
  kCount
};

enum class DestinationEvent : uint8_t {
  kInvalid = 0,
  kStaged,
  kStageFailed,
  kHandover,        // its digest fits what is staged
  kBadHandover,     // it does not
  kRingsRunning,
  kRingsStopped,
  kRevoke,
  kAbort,
  kBarrier,
  kDone,
  kCancel,
  kConnectionLost,
  kReconnected,     // the source is back and says its handover again
  kHoldTimeout,     // direct arrivals have waited long enough
  kWindowTimeout,   // the source never said done
  kCount
};

enum class DestinationAction : uint8_t {
  kNone = 0,
  kSendPrepared,
  kSendRefused,
  kSendActive,
  kSendRevoked,
  kSendBarrierAck,
  kSendDoneAck,
  kDiscard,          // everything staged goes; as before the offer
  kKeepHandover,     // its epoch and digest
  kDropHandover,
  kPublish,          // one transaction; direct arrivals parked, what the source sent ahead delivered
  kAnnounce,
  kEnter,            // the records of what was published: nobody waits for them
  kReleaseDirect,    // location to the port
  kCloseWindow,      // copies are no longer paired
  kStartHoldTimer,
  kStartWindowTimer,
  kStopTimers,
  kCloseSession,
  kReportAborted,
  kReportDone,
  kCount
};

struct DestinationTransition {
  DestinationState from;
  DestinationEvent event;
  DestinationState to;
  std::array<DestinationAction, 8> actions;  // kNone ends the list
};

[[nodiscard]] std::span<const DestinationTransition> destination_transitions();
[[nodiscard]] std::string_view name_of(DestinationState state);
[[nodiscard]] std::string_view name_of(DestinationEvent event);

class DestinationMachine {
 public:
  [[nodiscard]] DestinationState state() const { return state_; }
  [[nodiscard]] bool over() const { return state_ == DestinationState::kDone || state_ == DestinationState::kAborted; }
  const DestinationTransition* step(DestinationEvent event);

 private:
  DestinationState state_ = DestinationState::kOffered;
};

}  // namespace godwit::migration
