// SPDX-License-Identifier: Apache-2.0
#include "migration/moves/destination_machine.h"

#include <iterator>

namespace godwit::migration {

namespace {

using S = DestinationState;
using E = DestinationEvent;
using A = DestinationAction;

constexpr DestinationTransition kTransitions[] = {
    {S::kOffered, E::kStaged, S::kPrepared, {A::kRecord, A::kSendPrepared}},
    {S::kOffered,
     E::kStageFailed,
     S::kAborted,
     {A::kSendRefused, A::kCloseSession, A::kReportAborted}},
    {S::kOffered, E::kConnectionLost, S::kAborted, {A::kDiscard, A::kReportAborted}},

    // The source offers again after a lost session: what has changed since is staged as well.
    {S::kPrepared, E::kStaged, S::kPrepared, {A::kSendPrepared}},
    {S::kPrepared,
     E::kStageFailed,
     S::kAborted,
     {A::kDiscard, A::kSendRefused, A::kCloseSession, A::kReportAborted}},
    {S::kPrepared, E::kRingsRunning, S::kRunning, {}},
    {S::kPrepared, E::kHandover, S::kHandedOver, {A::kKeepHandover}},
    {S::kPrepared,
     E::kBadHandover,
     S::kAborted,
     {A::kDiscard, A::kSendRevoked, A::kCloseSession, A::kReportAborted}},
    {S::kPrepared, E::kOutdatedHandover, S::kPrepared, {A::kSendResend}},
    {S::kPrepared, E::kRevoke, S::kPrepared, {A::kSendRevoked}},
    {S::kPrepared, E::kAbort, S::kAborted, {A::kDiscard, A::kCloseSession, A::kReportAborted}},
    {S::kPrepared,
     E::kCancel,
     S::kAborted,
     {A::kDiscard, A::kSendRefused, A::kCloseSession, A::kReportAborted}},
    {S::kPrepared,
     E::kJournalFailed,
     S::kAborted,
     {A::kDiscard, A::kSendRefused, A::kCloseSession, A::kReportAborted}},
    {S::kPrepared, E::kConnectionLost, S::kStranded, {A::kAskSource}},

    // Rings run without a handover: QEMU is ahead of the peer, or somebody has started a guest
    // here. The port is not polled.
    {S::kRunning, E::kRingsStopped, S::kPrepared, {}},
    {S::kRunning,
     E::kHandover,
     S::kActive,
     {A::kKeepHandover, A::kPublish, A::kAnnounce, A::kRecord, A::kSendActive, A::kEnter,
      A::kStartHoldTimer, A::kStartWindowTimer}},
    {S::kRunning, E::kOutdatedHandover, S::kRunning, {A::kSendResend}},
    {S::kRunning, E::kRevoke, S::kRunning, {A::kSendRevoked}},
    // The VM runs here, so nobody's word takes its policy. If the source does not hand it over,
    // this host claims it.
    {S::kRunning, E::kBadHandover, S::kStranded, {A::kCloseSession, A::kAskSource}},
    {S::kRunning, E::kAbort, S::kStranded, {A::kCloseSession, A::kAskSource}},
    {S::kRunning, E::kStaged, S::kRunning, {A::kSendPrepared}},
    {S::kRunning, E::kStageFailed, S::kStranded, {A::kCloseSession, A::kAskSource}},
    {S::kRunning, E::kConnectionLost, S::kStranded, {A::kAskSource}},

    {S::kHandedOver,
     E::kRingsRunning,
     S::kActive,
     {A::kPublish, A::kAnnounce, A::kRecord, A::kSendActive, A::kEnter, A::kStartHoldTimer,
      A::kStartWindowTimer}},
    {S::kHandedOver, E::kRevoke, S::kPrepared, {A::kDropHandover, A::kSendRevoked}},
    {S::kHandedOver, E::kOutdatedHandover, S::kPrepared, {A::kDropHandover, A::kSendResend}},
    {S::kHandedOver, E::kAbort, S::kAborted, {A::kDiscard, A::kCloseSession, A::kReportAborted}},
    {S::kHandedOver, E::kConnectionLost, S::kOrphaned, {A::kAskSource}},
    {S::kHandedOver, E::kHandover, S::kHandedOver, {A::kKeepHandover}},

    // Only the source knows whether it aborted or handed over when the session broke. Rings that
    // run here show it, too.
    {S::kStranded, E::kReconnected, S::kPrepared, {A::kStopTimers}},
    {S::kStranded, E::kAbort, S::kAborted, {A::kStopTimers, A::kDiscard, A::kReportAborted}},
    {S::kStranded, E::kCancel, S::kAborted, {A::kStopTimers, A::kDiscard, A::kReportAborted}},
    {S::kStranded, E::kRingsRunning, S::kStranded, {A::kStartClaimTimer}},
    {S::kStranded, E::kRingsStopped, S::kStranded, {A::kStopTimers}},
    {S::kStranded,
     E::kHoldTimeout,
     S::kActive,
     {A::kStopTimers, A::kClaimHandover, A::kPublish, A::kAnnounce, A::kRecord, A::kEnter,
      A::kStartHoldTimer, A::kAskSource}},
    {S::kStranded,
     E::kDone,
     S::kDone,
     {A::kStopTimers, A::kPublish, A::kAnnounce, A::kEnter, A::kReleaseDirect, A::kCloseWindow,
      A::kReportDone}},
    // The source says `done`, and the rings do not run here yet, or not any more.
    {S::kStranded, E::kHandover, S::kOrphaned, {A::kStopTimers, A::kKeepHandover, A::kAskSource}},
    {S::kStranded,
     E::kRestored,
     S::kOpen,
     {A::kPublish, A::kEnter, A::kReleaseDirect, A::kAskSource}},

    {S::kOrphaned, E::kAbort, S::kAborted, {A::kStopTimers, A::kDiscard, A::kReportAborted}},
    {S::kOrphaned, E::kReconnected, S::kHandedOver, {A::kStopTimers}},
    {S::kOrphaned,
     E::kRingsRunning,
     S::kActive,
     {A::kStopTimers, A::kPublish, A::kAnnounce, A::kRecord, A::kEnter, A::kStartHoldTimer,
      A::kAskSource}},
    {S::kOrphaned, E::kCancel, S::kAborted, {A::kStopTimers, A::kDiscard, A::kReportAborted}},

    // The VM runs here, with its policy. A revoke comes too late, and is answered by `active`.
    {S::kActive, E::kBarrier, S::kOpen, {A::kReleaseDirect, A::kSendBarrierAck}},
    {S::kActive, E::kHoldTimeout, S::kOpen, {A::kReleaseDirect}},
    {S::kActive, E::kRevoke, S::kActive, {A::kSendActive}},
    {S::kActive, E::kHandover, S::kActive, {A::kRecord, A::kSendActive}},
    {S::kActive, E::kReconnected, S::kActive, {A::kSendActive}},
    {S::kActive, E::kConnectionLost, S::kOpen, {A::kReleaseDirect, A::kAskSource}},
    // The source has the VM by a newer epoch, and it does not run here: one host must let go.
    {S::kActive,
     E::kClaim,
     S::kAborted,
     {A::kStopTimers, A::kUnpublish, A::kReportAborted, A::kSendRevoked, A::kCloseSession}},
    {S::kActive,
     E::kDone,
     S::kDone,
     {A::kStopTimers, A::kReleaseDirect, A::kCloseWindow, A::kReportDone, A::kSendDoneAck}},
    {S::kOpen, E::kBarrier, S::kOpen, {A::kSendBarrierAck}},
    {S::kOpen, E::kRevoke, S::kOpen, {A::kSendActive}},
    {S::kOpen, E::kHandover, S::kOpen, {A::kRecord, A::kSendActive}},
    {S::kOpen,
     E::kClaim,
     S::kAborted,
     {A::kStopTimers, A::kUnpublish, A::kReportAborted, A::kSendRevoked, A::kCloseSession}},
    {S::kOpen, E::kReconnected, S::kOpen, {A::kSendActive}},
    {S::kOpen,
     E::kDone,
     S::kDone,
     {A::kStopTimers, A::kCloseWindow, A::kReportDone, A::kSendDoneAck}},
    {S::kOpen, E::kConnectionLost, S::kOpen, {A::kAskSource}},
    {S::kOpen, E::kWindowTimeout, S::kOpen, {A::kCloseWindow, A::kCloseSession, A::kAskSource}},
    // The operator knows that the source will not come back.
    {S::kOpen,
     E::kCancel,
     S::kDone,
     {A::kStopTimers, A::kCloseWindow, A::kCloseSession, A::kReportDone}},
};

constexpr std::string_view kStateNames[] = {"invalid",     "offered",  "prepared", "running",
                                            "handed-over", "stranded", "orphaned", "active",
                                            "open",        "done",     "aborted"};
static_assert(std::size(kStateNames) == static_cast<size_t>(DestinationState::kCount));
constexpr std::string_view kEventNames[] = {
    "invalid",      "staged",        "stage-failed",   "handover",        "outdated-handover",
    "bad-handover", "rings-running", "rings-stopped",  "revoke",          "abort",
    "barrier",      "done",          "cancel",         "connection-lost", "reconnected",
    "restored",     "hold-timeout",  "window-timeout", "claim",           "journal-failed"};
static_assert(std::size(kEventNames) == static_cast<size_t>(DestinationEvent::kCount));
constexpr std::string_view kActionNames[] = {"none",
                                             "record",
                                             "send-prepared",
                                             "send-refused",
                                             "send-active",
                                             "send-revoked",
                                             "send-resend",
                                             "send-barrier-ack",
                                             "send-done-ack",
                                             "discard",
                                             "keep-handover",
                                             "drop-handover",
                                             "unpublish",
                                             "ask-source",
                                             "claim-handover",
                                             "publish",
                                             "announce",
                                             "enter",
                                             "release-direct",
                                             "close-window",
                                             "start-hold-timer",
                                             "start-claim-timer",
                                             "start-window-timer",
                                             "stop-timers",
                                             "close-session",
                                             "report-aborted",
                                             "report-done"};
static_assert(std::size(kActionNames) == static_cast<size_t>(DestinationAction::kCount));

}  // namespace

std::span<const DestinationTransition> destination_transitions() { return kTransitions; }
std::string_view name_of(DestinationState state) { return kStateNames[static_cast<size_t>(state)]; }
std::string_view name_of(DestinationEvent event) { return kEventNames[static_cast<size_t>(event)]; }
std::string_view name_of(DestinationAction action) {
  return kActionNames[static_cast<size_t>(action)];
}

}  // namespace godwit::migration
