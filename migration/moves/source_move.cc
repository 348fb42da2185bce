// SPDX-License-Identifier: Apache-2.0
#include "migration/moves/source_move.h"

#include <algorithm>
#include <utility>

#include "migration/policy/uplink_mtu.h"

namespace godwit::migration {

using dataplane::EndpointRecord;
using dataplane::LocationKind;
using dataplane::PortEventKind;

namespace {

constexpr uint64_t kLateMs = 1000;  // how long late frames are redirected after the proof
// How often, 1 ms apart, the first barrier waits for a backlog that does not drain, or for an
// announcement that does not come. The destination holds direct arrivals as long. Attempts are
// counted, not time: a thread that did not run has missed what came. The smaller count is for a
// fabric that hid the announcement in the last move as well.
constexpr uint32_t kBarrierLooks = 200;
constexpr uint32_t kHiddenBarrierLooks = 40;
constexpr uint64_t kReconnectMs = 200;
// A session that is younger is not given up for one that the peer opens. The peer asks again later.
constexpr uint64_t kFreshMs = 500;
constexpr uint64_t kAnswerTimeoutMs = 3000;
constexpr uint32_t kMostResends = 3;  // more would be a destination that cannot take the rules

}  // namespace

SourceMove::SourceMove(MoveContext& context, MoveStatus status, const std::string& address)
    : context_(context),
      status_(std::move(status)),
      progress_(context, MoveRole::kSource, SourceMachine(context.tables.source), status_,
                {[this](SourceAction action) { return act(action); },
                 [this](SourceState before) { after_step(before); }}),
      link_(context.network, context.clock, {context.options.host, status_.peer, address},
            {[this] { return !stopping_ && !over(); }, [this] { return envelope(); },
             [this](const wire::Hello&) { step(SourceEvent::kConnected); },
             [this](wire::Envelope& message) { on_message(message); },
             [this](PeerLink::Loss loss, const std::string& reason) {
               const bool failed = loss == PeerLink::Loss::kNotConnected;
               step(SourceEvent::kConnectionLost,
                    (failed ? "cannot connect to " + status_.peer + ": " : "") + reason);
             }}),
      policy_(context, status_.vm),
      endpoints_(context, status_.vm, status_.id,
                 {[this] { return sender_.give_back(); },
                  [this] {
                    if (over()) return context_.changed();
                    // The VM may have stopped again in the meantime.
                    if (!endpoints_.running()) stopped();
                  }}),
      sender_(context, link_,
              {[this] { return redirect_mode(); }, [this] { return envelope(); },
               [this] { endpoints_.stop_passing_on(); },
               [this] { return proof_.announced() && endpoints_.drained(); },
               [this] {
                 return context_.announcements_hidden && !proof_.announced() ? kHiddenBarrierLooks
                                                                             : kBarrierLooks;
               }}),
      proof_(context, policy_.document(),
             {[this] { return progress_.state() == SourceState::kRedirecting; },
              [this] { step(SourceEvent::kProof); }}),
      step_timer_(context.network.timer()),
      window_timer_(context.network.timer()) {
  status_.role = "source";
}

Result<void> SourceMove::check(const MoveContext& context, const std::string& vm) {
  const auto endpoints = context.store.endpoints_of_vm(vm);
  if (endpoints.empty())
    return fail(
        Error{"no endpoint of that VM is known here", 0, 0, vm, "a VM of `show endpoints`"});
  for (const EndpointRecord* endpoint : endpoints) {
    if (endpoint->location.kind != LocationKind::kPort || !endpoint->port.valid()) {
      return fail(endpoint->profile.name + " is not local here: it cannot move from this host");
    }
  }
  return {};
}

Result<void> SourceMove::begin() {
  if (auto good = check(context_, status_.vm); !good) return fail(good.error());
  if (auto taken = policy_.take(context_.newest_epoch(status_.vm)); !taken)
    return fail(taken.error());
  if (policy_.document().epoch.counter > kMaxOfferedCounter)
    return fail("epoch " + to_string(policy_.document().epoch) + " of " + status_.vm +
                " leaves no room for another move");
  endpoints_.note();
  status_.rules_exported = policy_.rules();
  nonce_ = context_.network.random();
  proof_.set_nonce(nonce_);
  new_epoch_ = next_epoch(policy_.document().epoch, status_.peer);
  progress_.begin();
  const uint64_t ms = context_.options.prepare_timeout_ms;
  status_.deadline_ns = context_.clock.now_ns() + ms * 1'000'000;
  step_timer_->set(ms, [this, ms] {
    step(SourceEvent::kStepTimeout, "the peer did not answer within " + std::to_string(ms) + " ms");
  });
  link_.connect(weak_from_this());
  return {};
}

Result<void> SourceMove::recover(const MoveRecord& record) {
  if (auto taken = policy_.take(record.offered); !taken) return fail(taken.error());
  if (auto noted = endpoints_.note_after_restart(); !noted) return fail(noted.error());
  new_epoch_ = record.handed;
  nonce_ = record.nonce;
  proof_.set_nonce(nonce_);
  recorded_ = true;
  policy_.seal();
  status_.rules_exported = policy_.rules();
  progress_.resume(SourceMachine(context_.tables.source, SourceState::kInDoubt),
                   "the switch was restarted");
  park();
  guard();
  if (endpoints_.running()) start_step_timer();
  link_.connect(weak_from_this());
  return {};
}

// The peer has lost the present session, so that session is dead. Only if both hosts have just
// connected to each other is it alive: each would then close the session that the other has taken.
bool SourceMove::attach(std::shared_ptr<PeerSession> session) {
  const auto keep = shared_from_this();
  if (link_.connected()) {
    if (context_.clock.now_ns() - link_.since_ns() < kFreshMs * 1'000'000) return false;
    link_.close("the destination opened another session for the move");
    step(SourceEvent::kConnectionLost, "the destination lost the session");
  }
  const SourceState now = progress_.state();
  if (now != SourceState::kInDoubt && now != SourceState::kClaimed && now != SourceState::kDetached)
    return false;
  link_.adopt(std::move(session), weak_from_this());
  step(SourceEvent::kConnected, "the destination asks");
  return true;
}

void SourceMove::step(SourceEvent event, const std::string& why) {
  const auto keep = shared_from_this();
  progress_.take(event, why);
}

void SourceMove::after_step(SourceState before) {
  const SourceState now = progress_.state();
  if (now == before) return;
  // The operator has asked for this move, so a VM that does not run here moves at once.
  if (now == SourceState::kPrepared && !endpoints_.running() && !endpoints_.thawing())
    return step(SourceEvent::kStopped);
  // Facts that were known before the state in which they matter.
  if (now == SourceState::kHandedOver && endpoints_.running())
    return step(SourceEvent::kRunning, "the VM's rings run at the source");
  if (now == SourceState::kInDoubt && !endpoints_.running()) step_timer_->cancel();
  if (now == SourceState::kRedirecting) proof_.begin_probing();
}

SourceMove::Progress::Failure SourceMove::act(SourceAction action) {
  using A = SourceAction;
  switch (action) {
    case A::kRecord: return record_in_journal();
    case A::kSendOffer: return send_offer();
    case A::kSendHandover: send_handover(); break;
    case A::kSendRevoke:
    case A::kSendAbort:
    case A::kSendDone: send_simple(action); break;
    case A::kSendBarrier: sender_.send_barrier(1); break;
    case A::kSendLastBarrier: sender_.send_barrier(2); break;
    case A::kReconnect:
      link_.drop();
      link_.connect_in(kReconnectMs, weak_from_this());
      break;
    case A::kPark: park(); break;
    case A::kPassOn:
      if (!sender_.full()) endpoints_.pass_on();
      break;
    case A::kThaw: thaw(); break;
    case A::kRewriteOut: rewrite_out(); break;
    case A::kHold: hold(); break;
    case A::kRelease: endpoints_.release(true); break;
    case A::kCloseWindow: close_window(); break;
    case A::kGuardRules: guard(); break;
    case A::kStartStepTimer: start_step_timer(); break;
    case A::kStartWindowTimer:
      start_timer(*window_timer_, context_.options.window_timeout_ms, SourceEvent::kWindowTimeout,
                  "");
      break;
    case A::kStartLateTimer:
      start_timer(*window_timer_, kLateMs, SourceEvent::kWindowTimeout, "");
      break;
    case A::kStopTimers: stop_timers(); break;
    case A::kCloseSession: link_.close_when_sent(); break;
    case A::kSealEpoch: context_.epochs[status_.vm] = new_epoch_; break;
    case A::kMintEpoch: return mint();
    case A::kReportAborted:
      status_.error = progress_.why().empty() ? "aborted" : progress_.why();
      settle(false);
      break;
    case A::kReportDone:
      status_.times.done_ns = context_.clock.now_ns();
      settle(true);
      break;
    case A::kNone:
    case A::kCount: break;
  }
  return {};
}

void SourceMove::start_timer(Timer& timer, uint64_t ms, SourceEvent event, const char* why) {
  status_.deadline_ns = context_.clock.now_ns() + ms * 1'000'000;
  timer.set(ms, [this, event, why] { step(event, why); });
}

void SourceMove::start_step_timer() {
  start_timer(*step_timer_,
              progress_.state() == SourceState::kOffered ? context_.options.prepare_timeout_ms
                                                         : kAnswerTimeoutMs,
              SourceEvent::kStepTimeout, "no answer in time");
}

void SourceMove::stop_timers() {
  step_timer_->cancel();
  window_timer_->cancel();
}

void SourceMove::on_message(wire::Envelope& message) {
  const auto keep = shared_from_this();
  if (message.move() != status_.id || message.vm() != status_.vm)
    return link_.reject("peer: a message of another move (" + message.move() + ")");
  switch (message.body_case()) {
    case wire::Envelope::kPrepared: {
      const std::string& digest = message.prepared().digest();
      if (digest != policy_.document().digest && progress_.state() == SourceState::kOffered) {
        return step(SourceEvent::kRefused, "the peer prepared other rules: digest " + digest +
                                               ", not " + policy_.document().digest);
      }
      return step(SourceEvent::kPrepared);
    }
    case wire::Envelope::kRefused: {
      std::string reasons;
      for (const std::string& reason : message.refused().reasons())
        reasons += (reasons.empty() ? "" : "\n") + reason;
      return step(SourceEvent::kRefused, "refused by " + status_.peer + ": " + reasons);
    }
    case wire::Envelope::kActive: return on_active(message);
    case wire::Envelope::kRevoked: return step(SourceEvent::kRevoked, message.revoked().reason());
    case wire::Envelope::kResend: return on_resend();
    case wire::Envelope::kUnknown:
      return step(SourceEvent::kRevoked, "the move is not known at " + status_.peer);
    case wire::Envelope::kBarrierAck:
      if (message.barrier_ack().number() == sender_.barrier() && sender_.barrier() >= 2)
        step(SourceEvent::kBarrierAck);
      return;
    case wire::Envelope::kDoneAck: return step(SourceEvent::kDoneAck);
    case wire::Envelope::kAsk: return;  // the session itself answers it
    default: return link_.reject("peer: a message that only a source sends");
  }
}

// The second offer is complete: rules have been guarded since the handover.
void SourceMove::on_resend() {
  if (++resent_ > kMostResends) {
    return step(SourceEvent::kRefused,
                status_.peer + " cannot follow the rules: their digest stays another");
  }
  step(SourceEvent::kResend);
}

void SourceMove::on_active(const wire::Envelope& message) {
  const Epoch its = from_wire(message.epoch());
  if (progress_.state() == SourceState::kClaimed) {
    // The rings decide. A VM that runs here stays. Any other goes to the peer, by an epoch that is
    // newer than the claim.
    if (endpoints_.running() || endpoints_.thawing())
      return context_.absorb(status_.id, status_.vm, "active", its,
                             context_.newest_epoch(status_.vm));
    return step(SourceEvent::kYield, "the VM runs at the peer");
  }
  if (its < new_epoch_) return context_.absorb(status_.id, status_.vm, "active", its, new_epoch_);
  new_epoch_ = its;  // the peer may have claimed the VM by a newer epoch
  status_.rules_imported = message.active().rules_imported();
  sender_.set_held_by_peer(message.active().frames_held());
  step(SourceEvent::kActive);
}

void SourceMove::stopped() {
  if (progress_.state() == SourceState::kPrepared)
    status_.times.freeze_ns = context_.clock.now_ns();
  // The VM is this host's and does not run here: the peer may have it, if it can be asked.
  if (progress_.state() == SourceState::kClaimed && link_.connected())
    return step(SourceEvent::kYield, "the VM stopped here");
  step(SourceEvent::kStopped);
}

wire::Envelope SourceMove::envelope() const {
  wire::Envelope message;
  message.set_vm(status_.vm);
  message.set_move(status_.id);
  const bool claimed = progress_.state() == SourceState::kClaimed;
  to_wire(claimed ? context_.newest_epoch(status_.vm) : new_epoch_, *message.mutable_epoch());
  return message;
}

void SourceMove::send_simple(SourceAction action) {
  wire::Envelope message = envelope();
  if (action == SourceAction::kSendRevoke) message.mutable_revoke();
  if (action == SourceAction::kSendAbort) message.mutable_abort()->set_reason(progress_.why());
  if (action == SourceAction::kSendDone) message.mutable_done();
  link_.send(message);
}

SourceMove::Progress::Failure SourceMove::send_offer() {
  const bool again = progress_.state() != SourceState::kOffered;
  if (again && link_.connected() && link_.session()->link().version < kVersionResume)
    return {{SourceEvent::kRefused, status_.peer + " speaks an older version of the protocol, in "
                                                   "which a lost session ends a move"}};
  // Rules may have changed while the connection was made. From here on, changes follow the offer.
  if (auto fresh = policy_.refresh(); !fresh)
    return {{SourceEvent::kRefused, fresh.error().message}};
  policy_.seal();
  status_.rules_exported = policy_.rules();
  wire::Envelope message = envelope();
  policy_.write(*message.mutable_offer());
  message.mutable_offer()->set_nonce(nonce_);
  message.mutable_offer()->set_uplink_mtu(
      uplink_mtu(context_.store, context_.ports, context_.uplink(), policy_.document()));
  if (message.ByteSizeLong() > kMaxMessageBytes)
    return {{SourceEvent::kRefused, "the policy is too large for one offer"}};
  link_.send(message);
  return {};
}

void SourceMove::send_handover() {
  (void)policy_.refresh();
  policy_.seal();
  wire::Envelope message = envelope();
  to_wire(new_epoch_, *message.mutable_handover()->mutable_epoch());
  policy_.write(*message.mutable_handover());
  message.mutable_handover()->set_stream(sender_.stream());
  link_.send(message);
  if (status_.times.handover_ns == 0) status_.times.handover_ns = context_.clock.now_ns();
  sender_.send_ahead();
}

SourceMove::Progress::Failure SourceMove::record_in_journal() {
  JournalBatch batch;
  batch.moves.push_back(record());
  if (auto written = context_.journal.write(batch); !written) {
    return {
        {SourceEvent::kJournalFailed, "the journal cannot be written: " + written.error().message}};
  }
  recorded_ = true;
  return {};
}

// The VM runs here and the peer cannot be asked. If the VM turns out to run at the peer after all,
// the peer gets it by an epoch that is newer still: new_epoch_.
SourceMove::Progress::Failure SourceMove::mint() {
  const Epoch minted = next_epoch(new_epoch_, context_.options.host);
  const Epoch before = new_epoch_;
  new_epoch_ = next_epoch(minted, status_.peer);
  JournalBatch batch;
  batch.epochs.emplace_back(status_.vm, minted);
  batch.moves.push_back(record());
  if (auto written = context_.journal.write(batch); !written) {
    new_epoch_ = before;
    return {
        {SourceEvent::kJournalFailed, "the journal cannot be written: " + written.error().message}};
  }
  context_.epochs[status_.vm] = minted;
  context_.log("move " + status_.id + " of " + status_.vm + ": ours by epoch " + to_string(minted) +
               ", newer than " + to_string(before) + " handed to " + status_.peer);
  return {};
}

MoveRecord SourceMove::record() const {
  return {status_.id,
          status_.vm,
          status_.peer,
          MoveRole::kSource,
          std::string(name_of(progress_.state())),
          policy_.document().epoch,
          new_epoch_,
          nonce_,
          {}};
}

// A move that was never recorded was never offered, so no peer asks how it has ended.
void SourceMove::settle(bool done) {
  endpoints_.guard({});
  if (!recorded_) return;
  JournalBatch batch;
  if (context_.journal.keeps_policy()) batch.destroyed = removed_;
  context_.settle({status_.id, status_.vm, status_.peer, MoveRole::kSource, done,
                   context_.newest_epoch(status_.vm), status_.error},
                  done, std::move(batch));
}

void SourceMove::park() {
  if (status_.times.freeze_ns == 0) status_.times.freeze_ns = context_.clock.now_ns();
  endpoints_.park();
}

// Frames that went ahead come back, so the next handover begins another stream.
void SourceMove::thaw() {
  endpoints_.guard({});
  status_.times.freeze_ns = status_.times.handover_ns = 0;
  resent_ = 0;
  sender_.begin_stream();
  endpoints_.thaw(sender_.keeps_any(), weak_from_this());
}

void SourceMove::guard() {
  endpoints_.guard(status_.vm + " is moving to " + status_.peer +
                   ", which owns its rules now: change them there");
}

void SourceMove::rewrite_out() {
  status_.times.active_ns = context_.clock.now_ns();
  endpoints_.end_passing_on();
  status_.redirected += sender_.send_rest();
  auto taken = endpoints_.rewrite_out();
  if (!taken)
    return context_.log("move " + status_.id + ": cannot rewrite: " + taken.error().message);
  status_.rules_rewritten = taken->receive_rules;
}

void SourceMove::hold() {
  status_.times.proof_ns = context_.clock.now_ns();
  context_.announcements_hidden = !proof_.announced();
  park();
  context_.store.after_grace([weak = weak_from_this()] {
    if (auto move = weak.lock()) move->step(SourceEvent::kHeld);
  });
}

void SourceMove::close_window() {
  removed_ = remove_uplink_rules(context_.store, status_.vm);
  endpoints_.release(false);
  endpoints_.remove_ports();
  context_.store.collect_implicit();
}

RedirectSender::Mode SourceMove::redirect_mode() const {
  const SourceState now = progress_.state();
  if (now == SourceState::kHandedOver) return RedirectSender::Mode::kAhead;
  // A worker may redirect frames until it sees that the window is closed.
  if (now == SourceState::kFinishing) return RedirectSender::Mode::kClosed;
  // A worker may redirect frames until it sees that the move was given up. They go back to the VM
  // with the others.
  return now >= SourceState::kRedirecting && !endpoints_.thawing() ? RedirectSender::Mode::kThrough
                                                                   : RedirectSender::Mode::kKeep;
}

void SourceMove::redirect(const dataplane::Frame& frame) {
  if (redirect_mode() == RedirectSender::Mode::kThrough) ++status_.redirected;
  sender_.redirect(frame);
}

bool SourceMove::leads_here(const dataplane::RuleRecord& rule) const {
  return context_.store.of_uplink(rule) &&
         std::ranges::any_of(rule.outputs, [&](EndpointId output) { return owns(output); });
}

void SourceMove::on_port_event(const dataplane::PortEvent& event) {
  if (over()) return;
  SourceEndpoints::Nic* nic = endpoints_.find(event.port);
  if (nic == nullptr) return;
  if (event.kind == PortEventKind::kRingsRunning) {
    nic->running = true;
    if (progress_.state() != SourceState::kPrepared)
      return step(SourceEvent::kRunning, "the VM's rings run at the source");
    if (!endpoints_.thawing()) endpoints_.restore(*nic);
    return;
  }
  if (event.kind != PortEventKind::kRingsStopped && event.kind != PortEventKind::kDisconnected)
    return;
  nic->running = false;
  if (endpoints_.thawing()) return;
  if (!endpoints_.running()) return stopped();
  // One of several NICs has stopped: its frames wait, and the VM does not move yet.
  if (progress_.state() == SourceState::kPrepared) endpoints_.park(*nic);
}

void SourceMove::on_fabric_message(const FabricMessage& message) { proof_.on_message(message); }

void SourceMove::on_rule_change(const dataplane::RuleChange& change) {
  const bool uplink = leads_here(*change.record);
  const bool shared = !change.inside.valid() && owns(change.record->owner);
  if (over() || (!uplink && !shared && !owns(change.inside))) return;
  if (progress_.state() > SourceState::kPrepared) return;
  policy_.mark_changed();
  const SourceState now = progress_.state();
  if (now < SourceState::kOffered || now == SourceState::kDetached || !link_.connected()) return;
  wire::Envelope message = envelope();
  if (policy_.write(*message.mutable_delta(), change, uplink)) link_.send(message);
}

Result<void> SourceMove::cancel() {
  const SourceState before = progress_.state();
  if (before >= SourceState::kRedirecting && !progress_.over()) {
    return fail(status_.vm + " runs at " + status_.peer + " already: too late to cancel");
  }
  step(SourceEvent::kCancel, "cancelled");
  if (progress_.state() == SourceState::kInDoubt && before == SourceState::kInDoubt)
    return fail(progress_.why());
  return {};
}

void SourceMove::stop() {
  stopping_ = true;
  stop_timers();
  link_.cancel_connect();
  endpoints_.stop();
  sender_.stop();
  proof_.stop();
  // QEMU continues after a prepared move, and so does the next start: the journal has the move.
  if (progress_.state() < SourceState::kDetached) (void)cancel();
  link_.close("the switch ends");
}

MoveStatus SourceMove::status() const {
  MoveStatus status = progress_.report();
  if (progress_.state() == SourceState::kInDoubt) {
    status.doubt = "whether " + status_.vm + " runs at " + status_.peer + " (" +
                   (progress_.why().empty() ? "no session" : progress_.why()) + "): parked until " +
                   status_.peer + " answers, or its rings run here";
  } else if (progress_.state() == SourceState::kDetached) {
    status.doubt = "prepared, but " + status_.peer + " cannot be reached (" +
                   (progress_.why().empty() ? "no session" : progress_.why()) +
                   "): the move goes on when it can; " + status_.vm + " runs here";
  } else if (progress_.state() == SourceState::kClaimed) {
    status.doubt = status_.vm + " is ours by epoch " +
                   to_string(context_.newest_epoch(status_.vm)) + ", and " + status_.peer +
                   " has not been told yet";
  }
  return status;
}

}  // namespace godwit::migration
