// SPDX-License-Identifier: Apache-2.0
#include "migration/moves/source_machine.h"

#include <iterator>

namespace godwit::migration {

namespace {

using S = SourceState;
using E = SourceEvent;
using A = SourceAction;

constexpr SourceTransition kTransitions[] = {
    // Recorded before the destination hears of it: if the session is lost before the answer, the
    // destination will ask how the move has ended.
    {S::kConnecting, E::kConnected, S::kOffered, {A::kRecord, A::kSendOffer, A::kStartStepTimer}},
    {S::kConnecting, E::kConnectionLost, S::kAborted, {A::kStopTimers, A::kReportAborted}},
    {S::kConnecting,
     E::kStepTimeout,
     S::kAborted,
     {A::kStopTimers, A::kCloseSession, A::kReportAborted}},
    {S::kConnecting,
     E::kCancel,
     S::kAborted,
     {A::kStopTimers, A::kCloseSession, A::kReportAborted}},

    {S::kOffered, E::kPrepared, S::kPrepared, {A::kStopTimers, A::kRecord}},
    {S::kOffered, E::kRefused, S::kAborted, {A::kStopTimers, A::kCloseSession, A::kReportAborted}},
    {S::kOffered,
     E::kJournalFailed,
     S::kAborted,
     {A::kStopTimers, A::kCloseSession, A::kReportAborted}},
    {S::kOffered, E::kConnectionLost, S::kAborted, {A::kStopTimers, A::kReportAborted}},
    {S::kOffered,
     E::kStepTimeout,
     S::kAborted,
     {A::kStopTimers, A::kSendAbort, A::kCloseSession, A::kReportAborted}},
    {S::kOffered,
     E::kCancel,
     S::kAborted,
     {A::kStopTimers, A::kSendAbort, A::kCloseSession, A::kReportAborted}},

    // The VM runs here, and its policy is ready at the destination. QEMU decides how long this
    // takes.
    {S::kPrepared,
     E::kStopped,
     S::kHandedOver,
     {A::kPark, A::kGuardRules, A::kSendHandover, A::kPassOn}},
    {S::kPrepared, E::kRefused, S::kAborted, {A::kCloseSession, A::kThaw, A::kReportAborted}},
    {S::kPrepared, E::kConnectionLost, S::kDetached, {A::kReconnect}},
    {S::kPrepared,
     E::kCancel,
     S::kAborted,
     {A::kSendAbort, A::kCloseSession, A::kThaw, A::kReportAborted}},
    {S::kPrepared,
     E::kJournalFailed,
     S::kAborted,
     {A::kSendAbort, A::kCloseSession, A::kThaw, A::kReportAborted}},
    {S::kPrepared, E::kRunning, S::kPrepared, {A::kThaw}},

    // A lost session ends nothing: QEMU copies on, and will start the VM at the destination. The
    // offer that is sent again brings what has changed since.
    {S::kDetached, E::kConnected, S::kPrepared, {A::kSendOffer}},
    {S::kDetached, E::kConnectionLost, S::kDetached, {A::kReconnect}},
    {S::kDetached, E::kRunning, S::kDetached, {A::kThaw}},
    {S::kDetached, E::kStopped, S::kInDoubt, {A::kPark, A::kGuardRules}},
    {S::kDetached, E::kCancel, S::kAborted, {A::kCloseSession, A::kThaw, A::kReportAborted}},

    // From now on the destination's answer decides, or the VM's rings running here.
    {S::kHandedOver,
     E::kActive,
     S::kRedirecting,
     {A::kRewriteOut, A::kSealEpoch, A::kSendBarrier, A::kStartWindowTimer}},
    {S::kHandedOver, E::kRunning, S::kRevoking, {A::kSendRevoke, A::kStartStepTimer}},
    {S::kHandedOver, E::kRevoked, S::kAborted, {A::kThaw, A::kCloseSession, A::kReportAborted}},
    // The destination answers the second offer by `refused` if it cannot follow the changes.
    {S::kHandedOver, E::kResend, S::kHandedOver, {A::kSendOffer, A::kSendHandover}},
    {S::kHandedOver, E::kRefused, S::kAborted, {A::kThaw, A::kCloseSession, A::kReportAborted}},
    {S::kHandedOver, E::kCancel, S::kCancelRevoking, {A::kSendRevoke, A::kStartStepTimer}},
    {S::kHandedOver, E::kConnectionLost, S::kInDoubt, {A::kPark, A::kReconnect}},

    {S::kRevoking, E::kRevoked, S::kPrepared, {A::kStopTimers, A::kThaw}},
    {S::kRevoking,
     E::kActive,
     S::kRedirecting,
     {A::kStopTimers, A::kRewriteOut, A::kSealEpoch, A::kSendBarrier, A::kStartWindowTimer}},
    {S::kRevoking, E::kCancel, S::kCancelRevoking, {}},
    {S::kRevoking, E::kConnectionLost, S::kInDoubt, {A::kPark, A::kReconnect, A::kStartStepTimer}},
    {S::kRevoking,
     E::kStepTimeout,
     S::kInDoubt,
     {A::kPark, A::kCloseSession, A::kReconnect, A::kStartStepTimer}},

    {S::kCancelRevoking,
     E::kRevoked,
     S::kAborted,
     {A::kStopTimers, A::kThaw, A::kSendAbort, A::kCloseSession, A::kReportAborted}},
    {S::kCancelRevoking,
     E::kActive,
     S::kRedirecting,
     {A::kStopTimers, A::kRewriteOut, A::kSealEpoch, A::kSendBarrier, A::kStartWindowTimer}},
    {S::kCancelRevoking, E::kConnectionLost, S::kInDoubt, {A::kPark, A::kReconnect}},
    {S::kCancelRevoking, E::kStepTimeout, S::kInDoubt, {A::kPark, A::kCloseSession, A::kReconnect}},

    // Frames for the VM stay parked. When the session is back, the handover is sent again, and its
    // answer settles the move.
    {S::kInDoubt, E::kConnected, S::kHandedOver, {A::kStopTimers, A::kSendHandover, A::kPassOn}},
    {S::kInDoubt, E::kConnectionLost, S::kInDoubt, {A::kReconnect}},
    {S::kInDoubt, E::kRunning, S::kInDoubt, {A::kStartStepTimer}},
    {S::kInDoubt, E::kStopped, S::kInDoubt, {A::kStopTimers}},
    // The VM runs here and the peer cannot be asked: this host claims the VM by a newer epoch.
    {S::kInDoubt, E::kStepTimeout, S::kClaimed, {A::kMintEpoch, A::kThaw, A::kGuardRules}},
    {S::kInDoubt,
     E::kCancel,
     S::kClaimed,
     {A::kStopTimers, A::kMintEpoch, A::kThaw, A::kGuardRules}},

    // The VM runs on here. The peer may hold the older handover, so it is sent a revoke as soon as
    // it can be reached. If the VM stops before that, it may have gone to the peer all the same.
    {S::kClaimed, E::kConnected, S::kClaimed, {A::kSendRevoke, A::kStartStepTimer}},
    {S::kClaimed, E::kStepTimeout, S::kClaimed, {A::kSendRevoke, A::kStartStepTimer}},
    {S::kClaimed, E::kConnectionLost, S::kClaimed, {A::kStopTimers, A::kReconnect}},
    {S::kClaimed,
     E::kRevoked,
     S::kAborted,
     {A::kStopTimers, A::kThaw, A::kSendAbort, A::kCloseSession, A::kReportAborted}},
    {S::kClaimed,
     E::kYield,
     S::kHandedOver,
     {A::kStopTimers, A::kPark, A::kGuardRules, A::kSendHandover, A::kPassOn}},
    {S::kClaimed, E::kStopped, S::kInDoubt, {A::kStopTimers, A::kPark, A::kGuardRules}},
    {S::kClaimed,
     E::kCancel,
     S::kAborted,
     {A::kStopTimers, A::kThaw, A::kCloseSession, A::kReportAborted}},
    {S::kClaimed, E::kJournalFailed, S::kInDoubt, {A::kStartStepTimer}},

    // The VM runs at the destination. No way leads back.
    {S::kRedirecting, E::kProof, S::kHolding, {A::kStopTimers, A::kHold}},
    {S::kRedirecting, E::kWindowTimeout, S::kHolding, {A::kHold}},
    {S::kRedirecting,
     E::kConnectionLost,
     S::kDone,
     {A::kStopTimers, A::kCloseWindow, A::kReportDone}},
    {S::kHolding, E::kHeld, S::kFlushing, {A::kSendLastBarrier, A::kStartStepTimer}},
    {S::kHolding, E::kConnectionLost, S::kDone, {A::kStopTimers, A::kCloseWindow, A::kReportDone}},
    {S::kFlushing, E::kBarrierAck, S::kWindow, {A::kStopTimers, A::kRelease, A::kStartLateTimer}},
    {S::kFlushing, E::kStepTimeout, S::kWindow, {A::kRelease, A::kStartLateTimer}},
    {S::kFlushing, E::kConnectionLost, S::kDone, {A::kStopTimers, A::kCloseWindow, A::kReportDone}},
    {S::kWindow,
     E::kWindowTimeout,
     S::kFinishing,
     {A::kCloseWindow, A::kSendDone, A::kStartStepTimer}},
    {S::kWindow, E::kConnectionLost, S::kDone, {A::kStopTimers, A::kCloseWindow, A::kReportDone}},
    {S::kFinishing, E::kDoneAck, S::kDone, {A::kStopTimers, A::kCloseSession, A::kReportDone}},
    {S::kFinishing, E::kStepTimeout, S::kDone, {A::kCloseSession, A::kReportDone}},
    {S::kFinishing, E::kConnectionLost, S::kDone, {A::kStopTimers, A::kReportDone}},
};

constexpr std::string_view kStateNames[] = {
    "invalid",  "connecting",      "offered",   "detached", "prepared",    "handed-over",
    "revoking", "cancel-revoking", "in-doubt",  "claimed",  "redirecting", "holding",
    "flushing", "window",          "finishing", "done",     "aborted"};
static_assert(std::size(kStateNames) == static_cast<size_t>(SourceState::kCount));
constexpr std::string_view kEventNames[] = {
    "invalid",      "connected",      "connection-lost", "prepared",      "refused",
    "stopped",      "running",        "active",          "revoked",       "resend",
    "proof",        "held",           "barrier-ack",     "done-ack",      "cancel",
    "step-timeout", "window-timeout", "yield",           "journal-failed"};
static_assert(std::size(kEventNames) == static_cast<size_t>(SourceEvent::kCount));
constexpr std::string_view kActionNames[] = {"none",
                                             "record",
                                             "send-offer",
                                             "send-handover",
                                             "send-revoke",
                                             "send-abort",
                                             "send-barrier",
                                             "send-last-barrier",
                                             "send-done",
                                             "reconnect",
                                             "park",
                                             "pass-on",
                                             "thaw",
                                             "rewrite-out",
                                             "hold",
                                             "release",
                                             "close-window",
                                             "guard-rules",
                                             "start-step-timer",
                                             "start-window-timer",
                                             "start-late-timer",
                                             "stop-timers",
                                             "close-session",
                                             "seal-epoch",
                                             "mint-epoch",
                                             "report-aborted",
                                             "report-done"};
static_assert(std::size(kActionNames) == static_cast<size_t>(SourceAction::kCount));

}  // namespace

std::span<const SourceTransition> source_transitions() { return kTransitions; }
std::string_view name_of(SourceState state) { return kStateNames[static_cast<size_t>(state)]; }
std::string_view name_of(SourceEvent event) { return kEventNames[static_cast<size_t>(event)]; }
std::string_view name_of(SourceAction action) { return kActionNames[static_cast<size_t>(action)]; }

}  // namespace godwit::migration
