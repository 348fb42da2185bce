// SPDX-License-Identifier: Apache-2.0
#include "migration/destination.h"

#include <iterator>

namespace godwit::migration {

namespace {

using S = DestinationState;
using E = DestinationEvent;
using A = DestinationAction;

constexpr DestinationTransition kTransitions[] = {
    {S::kOffered, E::kStaged, S::kPrepared, {A::kSendPrepared}},
    {S::kOffered, E::kStageFailed, S::kAborted, {A::kSendRefused, A::kCloseSession, A::kReportAborted}},
    {S::kOffered, E::kConnectionLost, S::kAborted, {A::kDiscard, A::kReportAborted}},

    {S::kPrepared, E::kRingsRunning, S::kRunning, {}},
    {S::kPrepared, E::kHandover, S::kHandedOver, {A::kKeepHandover}},
    {S::kPrepared, E::kBadHandover, S::kAborted, {A::kDiscard, A::kSendRevoked, A::kCloseSession, A::kReportAborted}},
    {S::kPrepared, E::kRevoke, S::kPrepared, {A::kSendRevoked}},
    {S::kPrepared, E::kAbort, S::kAborted, {A::kDiscard, A::kCloseSession, A::kReportAborted}},
    {S::kPrepared, E::kCancel, S::kAborted, {A::kDiscard, A::kSendRefused, A::kCloseSession, A::kReportAborted}},
    {S::kPrepared, E::kConnectionLost, S::kAborted, {A::kDiscard, A::kReportAborted}},

    // Rings run without a handover: QEMU is ahead of the peer, or a guest was started here by hand. Its port is not polled.
    {S::kRunning, E::kRingsStopped, S::kPrepared, {}},
    {S::kRunning, E::kHandover, S::kActive,
     {A::kKeepHandover, A::kPublish, A::kSendActive, A::kAnnounce, A::kEnter, A::kStartHoldTimer, A::kStartWindowTimer}},
    {S::kRunning, E::kBadHandover, S::kAborted, {A::kDiscard, A::kSendRevoked, A::kCloseSession, A::kReportAborted}},
    {S::kRunning, E::kRevoke, S::kRunning, {A::kSendRevoked}},
    {S::kRunning, E::kAbort, S::kAborted, {A::kDiscard, A::kCloseSession, A::kReportAborted}},
    {S::kRunning, E::kCancel, S::kAborted, {A::kDiscard, A::kSendRefused, A::kCloseSession, A::kReportAborted}},
    {S::kRunning, E::kConnectionLost, S::kAborted, {A::kDiscard, A::kReportAborted}},

    {S::kHandedOver, E::kRingsRunning, S::kActive, {A::kPublish, A::kSendActive, A::kAnnounce, A::kEnter, A::kStartHoldTimer, A::kStartWindowTimer}},
    {S::kHandedOver, E::kRevoke, S::kPrepared, {A::kDropHandover, A::kSendRevoked}},
    {S::kHandedOver, E::kConnectionLost, S::kOrphaned, {A::kStartWindowTimer}},
    {S::kHandedOver, E::kHandover, S::kHandedOver, {A::kKeepHandover}},

    {S::kOrphaned, E::kReconnected, S::kHandedOver, {A::kStopTimers}},
    {S::kOrphaned, E::kRingsRunning, S::kActive, {A::kStopTimers, A::kPublish, A::kAnnounce, A::kEnter, A::kStartHoldTimer, A::kStartWindowTimer}},
    {S::kOrphaned, E::kCancel, S::kAborted, {A::kStopTimers, A::kDiscard, A::kReportAborted}},
    {S::kOrphaned, E::kWindowTimeout, S::kAborted, {A::kDiscard, A::kReportAborted}},

    // It runs here, with its policy. A revoke comes too late and is told so.
    {S::kActive, E::kBarrier, S::kOpen, {A::kReleaseDirect, A::kSendBarrierAck}},
    {S::kActive, E::kHoldTimeout, S::kOpen, {A::kReleaseDirect}},
    {S::kActive, E::kRevoke, S::kActive, {A::kSendActive}},
    {S::kActive, E::kHandover, S::kActive, {A::kSendActive}},
    {S::kActive, E::kReconnected, S::kActive, {A::kSendActive}},
    {S::kActive, E::kConnectionLost, S::kOpen, {A::kReleaseDirect}},
    {S::kActive, E::kDone, S::kDone, {A::kStopTimers, A::kReleaseDirect, A::kCloseWindow, A::kSendDoneAck, A::kReportDone}},
    {S::kOpen, E::kBarrier, S::kOpen, {A::kSendBarrierAck}},
    {S::kOpen, E::kRevoke, S::kOpen, {A::kSendActive}},
    {S::kOpen, E::kHandover, S::kOpen, {A::kSendActive}},
    {S::kOpen, E::kReconnected, S::kOpen, {A::kSendActive}},
    {S::kOpen, E::kDone, S::kDone, {A::kStopTimers, A::kCloseWindow, A::kSendDoneAck, A::kReportDone}},
    {S::kOpen, E::kWindowTimeout, S::kDone, {A::kCloseWindow, A::kCloseSession, A::kReportDone}},
};

constexpr std::string_view kStateNames[] = {"invalid", "offered", "prepared", "running", "handed-over", "orphaned",
                                            "active", "open", "done", "aborted"};
static_assert(std::size(kStateNames) == static_cast<size_t>(DestinationState::kCount));
constexpr std::string_view kEventNames[] = {"invalid", "staged", "stage-failed", "handover", "bad-handover", "rings-running",
                                            "rings-stopped", "revoke", "abort", "barrier", "done", "cancel",
                                            "connection-lost", "reconnected", "hold-timeout", "window-timeout"};
static_assert(std::size(kEventNames) == static_cast<size_t>(DestinationEvent::kCount));

}  // namespace

std::span<const DestinationTransition> destination_transitions() { return kTransitions; }
std::string_view name_of(DestinationState state) { return kStateNames[static_cast<size_t>(state)]; }
std::string_view name_of(DestinationEvent event) { return kEventNames[static_cast<size_t>(event)]; }

const DestinationTransition* DestinationMachine::step(DestinationEvent event) {
  for (const DestinationTransition& transition : kTransitions) {
    if (transition.from == state_ && transition.event == event) {
      state_ = transition.to;
      return &transition;
    }
  }
  return nullptr;
}

}  // namespace godwit::migration
