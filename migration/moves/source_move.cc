// SPDX-License-Identifier: Apache-2.0
#include "migration/moves/source_move.h"

#include <algorithm>
#include <utility>

#include "dataplane/rules/flow_command.h"

namespace godwit::migration {

using dataplane::EndpointRecord;
using dataplane::Location;
using dataplane::LocationKind;
using dataplane::PortEventKind;

namespace {

constexpr uint64_t kLateMs = 1000;  // DESIGN 7.4: the redirect stays open for a second after proof
// A backlog that never drains, or an announcement that does not come, must not hold direct arrivals
// longer; less where it did not come last time either. In looks, 1 ms apart: a thread that did not
// run has missed what came.
constexpr uint32_t kBarrierLooks = 200;
constexpr uint32_t kHiddenBarrierLooks = 40;
constexpr uint64_t kProbeAgainMs = 5;  // at first sooner
constexpr uint64_t kReconnectMs = 200;
constexpr uint64_t kFreshMs = 500;  // younger than this, a session is not given up for one that the
                                    // peer opens: it asks again later
constexpr uint64_t kAnswerTimeoutMs = 3000;
constexpr size_t kMaxQueuedBytes = 4u << 20;

}  // namespace

SourceMove::SourceMove(MoveContext& context, MoveStatus status, std::string address)
    : context_(context),
      machine_(context.tables.source),
      address_(std::move(address)),
      status_(std::move(status)),
      step_timer_(context.network.timer()),
      window_timer_(context.network.timer()),
      drain_timer_(context.network.timer()),
      probe_timer_(context.network.timer()),
      reconnect_timer_(context.network.timer()) {
  status_.role = "source";
  totals_before_ = context.gate.totals();
  stream_ = context.network.random();
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
  auto document = export_vm(context_.store, context_.ports, status_.vm, context_.options.host,
                            context_.newest_epoch(status_.vm));
  if (!document) return fail(document.error());
  document_ = std::move(*document);
  for (const EndpointRecord* endpoint : context_.store.endpoints_of_vm(status_.vm)) {
    Nic nic{endpoint->id, endpoint->port, false, false, endpoint->location, endpoint->active};
    if (auto info = context_.ports.info(nic.port)) nic.running = nic.ran = info->rings_running;
    nics_.push_back(nic);
  }
  status_.rules_exported = document_.rules.size() + document_.uplink_rules.size();
  nonce_ = context_.network.random();
  new_epoch_ = {document_.epoch.counter + 1, status_.peer};
  note_step(status_, context_.clock.now_ns(), name_of(machine_.state()), {}, {});
  status_.deadline_ns = context_.clock.now_ns() + context_.options.prepare_timeout_ms * 1'000'000;
  step_timer_->set(context_.options.prepare_timeout_ms, [this] {
    step(SourceEvent::kStepTimeout, "the peer did not answer within " +
                                        std::to_string(context_.options.prepare_timeout_ms) +
                                        " ms");
  });
  connect();
  return {};
}

void SourceMove::connect() {
  context_.network.connect(address_, [self = shared_from_this()](
                                         Result<std::shared_ptr<PeerSession>> session) {
    if (self->stopping_ || self->over()) return;
    if (self->session_ != nullptr) {
      if (session) (*session)->close("the peer was quicker");
      return;
    }
    if (!session)
      return self->step(SourceEvent::kConnectionLost,
                        "cannot connect to " + self->status_.peer + ": " + session.error().message);
    self->session_ = std::move(*session);
    self->session_since_ns_ = self->context_.clock.now_ns();
    const std::weak_ptr<SourceMove> weak = self;
    self->session_->start(
        [weak, raw = self->session_.get()](wire::Envelope& message) {
          auto move = weak.lock();
          if (move && move->session_.get() == raw) move->on_message(message);
        },
        self->when_closed(self->session_.get()));
    wire::Envelope hello = self->envelope();
    *hello.mutable_hello() = make_hello(self->context_.options.host);
    self->session_->send(hello);
  });
}

PeerSession::OnClosed SourceMove::when_closed(const PeerSession* session) {
  return [weak = weak_from_this(), session](const std::string& reason) {
    auto move = weak.lock();
    if (!move || move->session_.get() != session) return;
    move->session_.reset();
    move->step(SourceEvent::kConnectionLost, reason);
  };
}

Result<void> SourceMove::recover(const MoveRecord& record) {
  auto document =
      export_vm(context_.store, context_.ports, status_.vm, context_.options.host, record.offered);
  if (!document) return fail(document.error());
  document_ = std::move(*document);
  for (const EndpointRecord* endpoint : context_.store.endpoints_of_vm(status_.vm)) {
    if (!endpoint->port.valid()) return fail(endpoint->profile.name + " has no port here any more");
    Nic nic{endpoint->id, endpoint->port, true, false, {LocationKind::kPort, endpoint->port, {}},
            true};
    if (auto info = context_.ports.info(nic.port)) nic.running = info->rings_running;
    nics_.push_back(nic);
  }
  new_epoch_ = record.handed;
  nonce_ = record.nonce;
  recorded_ = true;
  why_ = "the switch was restarted";
  machine_ = SourceMachine(context_.tables.source, SourceState::kInDoubt);
  uplinks_digest_ = uplinks_digest_of(document_.uplink_rules);
  status_.rules_exported = document_.rules.size() + document_.uplink_rules.size();
  note_step(status_, context_.clock.now_ns(), name_of(machine_.state()), {}, why_);
  park();
  act(SourceAction::kGuardRules);
  if (running()) act(SourceAction::kStartStepTimer);
  connect();
  return {};
}

// The session that we have is dead, since the peer has lost it; unless both have just connected to
// each other, and each would close the one that the other has taken.
bool SourceMove::attach(std::shared_ptr<PeerSession> session) {
  const auto keep = shared_from_this();
  if (session_ != nullptr && context_.clock.now_ns() - session_since_ns_ < kFreshMs * 1'000'000)
    return false;
  if (auto old = std::move(session_)) {
    session_.reset();
    old->close("the destination opened another session for the move");
    step(SourceEvent::kConnectionLost, "the destination lost the session");
  }
  if (machine_.state() != SourceState::kInDoubt && machine_.state() != SourceState::kClaimed)
    return false;
  reconnect_timer_->cancel();
  session_ = std::move(session);
  session_since_ns_ = context_.clock.now_ns();
  session_->hand_over(
      [weak = weak_from_this(), raw = session_.get()](wire::Envelope& message) {
        auto move = weak.lock();
        if (move && move->session_.get() == raw) move->on_message(message);
      },
      when_closed(session_.get()));
  step(SourceEvent::kConnected, "the destination asks");
  return true;
}

MoveRecord SourceMove::record() const {
  return {status_.id,
          status_.vm,
          status_.peer,
          MoveRole::kSource,
          std::string(name_of(machine_.state())),
          document_.epoch,
          new_epoch_,
          nonce_,
          {}};
}

wire::Envelope SourceMove::envelope() const {
  wire::Envelope message;
  message.set_vm(status_.vm);
  message.set_move(status_.id);
  to_wire(
      machine_.state() == SourceState::kClaimed ? context_.newest_epoch(status_.vm) : new_epoch_,
      *message.mutable_epoch());
  return message;
}

void SourceMove::on_message(wire::Envelope& message) {
  const auto keep = shared_from_this();
  if (message.has_hello()) {
    if (message.hello().host() != status_.peer) {
      return session_->close("the peer calls itself " + message.hello().host() + ", not " +
                             status_.peer);
    }
    return step(SourceEvent::kConnected);
  }
  if (message.move() != status_.id || message.vm() != status_.vm) {
    return session_->close("peer: a message of another move (" + message.move() + ")");
  }
  switch (message.body_case()) {
    case wire::Envelope::kPrepared:
      if (message.prepared().digest() != document_.digest &&
          machine_.state() == SourceState::kOffered) {
        return step(SourceEvent::kRefused, "the peer prepared other rules: digest " +
                                               message.prepared().digest() + ", not " +
                                               document_.digest);
      }
      return step(SourceEvent::kPrepared);
    case wire::Envelope::kRefused: {
      std::string reasons;
      for (const std::string& reason : message.refused().reasons())
        reasons += (reasons.empty() ? "" : "\n") + reason;
      return step(SourceEvent::kRefused, "refused by " + status_.peer + ": " + reasons);
    }
    case wire::Envelope::kActive: return on_active(message);
    case wire::Envelope::kRevoked: return step(SourceEvent::kRevoked, message.revoked().reason());
    case wire::Envelope::kBarrierAck:
      if (message.barrier_ack().number() == barrier_ && barrier_ >= 2)
        step(SourceEvent::kBarrierAck);
      return;
    case wire::Envelope::kDoneAck: return step(SourceEvent::kDoneAck);
    case wire::Envelope::kAsk: return;  // that we are in touch again answers it
    default: return session_->close("peer: a message that only a source sends");
  }
}

void SourceMove::on_active(const wire::Envelope& message) {
  const Epoch its = from_wire(message.epoch());
  if (machine_.state() == SourceState::kClaimed) {
    // Rings decide: running here, ours. Else the peer is to have it by an epoch that is newer than
    // our claim.
    if (running() || thawing_)
      return context_.absorb(status_.id, status_.vm, "active", its,
                             context_.newest_epoch(status_.vm));
    return step(SourceEvent::kYield, "the VM runs at the peer");
  }
  if (its < new_epoch_) return context_.absorb(status_.id, status_.vm, "active", its, new_epoch_);
  new_epoch_ = its;  // it may have gone on from there
  status_.rules_imported = message.active().rules_imported();
  held_by_peer_ = message.active().frames_held();
  step(SourceEvent::kActive);
}

void SourceMove::step(SourceEvent event, const std::string& why) {
  const auto keep = shared_from_this();
  const SourceState before = machine_.state();
  const SourceTransition* transition = machine_.step(event);
  if (transition == nullptr) return;
  if (!why.empty()) why_ = why;
  if (before != transition->to) {
    context_.log("move " + status_.id + " of " + status_.vm + " to " + status_.peer + ": " +
                 std::string(name_of(before)) + " -> " + std::string(name_of(transition->to)) +
                 " on " + std::string(name_of(event)) + (why.empty() ? "" : " (" + why + ")"));
    note_step(status_, context_.clock.now_ns(), name_of(transition->to), name_of(event), why);
    status_.deadline_ns = 0;
    context_.changed();
  }
  const uint64_t number = ++steps_;
  for (SourceAction action : transition->actions) {
    if (action == SourceAction::kNone) break;
    context_.watch(MoveRole::kSource, name_of(action), false);
    act(action);
    context_.watch(MoveRole::kSource, name_of(action), true);
    if (steps_ != number) return;  // the action has gone on to another state, which did the rest
  }
  after_step(before);
}

void SourceMove::after_step(SourceState before) {
  const SourceState now = machine_.state();
  if (machine_.over()) totals_after_ = context_.gate.totals();
  if (now == before) return;
  // A VM of which nothing runs: moved by this explicit command, there is no stop to wait for.
  if (now == SourceState::kPrepared && !running() && !thawing_) return step(SourceEvent::kStopped);
  // Facts that came before the state that they matter in.
  if (now == SourceState::kHandedOver && running())
    return step(SourceEvent::kRunning, "the VM's rings run at the source");
  if (now == SourceState::kInDoubt && !running()) step_timer_->cancel();
  if (now == SourceState::kRedirecting) begin_probing();
}

void SourceMove::act(SourceAction action) {
  using A = SourceAction;
  const auto simple = [&](auto fill) {
    if (session_ == nullptr) return;
    wire::Envelope message = envelope();
    fill(message);
    session_->send(message);
  };
  const auto timer = [&](const std::unique_ptr<Timer>& which, uint64_t ms, SourceEvent event,
                         const char* why) {
    status_.deadline_ns = context_.clock.now_ns() + ms * 1'000'000;
    which->set(ms, [this, event, why] { step(event, why); });
  };
  switch (action) {
    case A::kSendOffer: return send_offer();
    case A::kSendHandover: return send_handover();
    case A::kSendRevoke: return simple([](auto& m) { m.mutable_revoke(); });
    case A::kSendAbort: return simple([this](auto& m) { m.mutable_abort()->set_reason(why_); });
    case A::kSendDone: return simple([](auto& m) { m.mutable_done(); });
    case A::kSendBarrier: return send_barrier_when_drained(1, 0);
    case A::kSendLastBarrier: return send_barrier_when_drained(2, 0);
    case A::kReconnect: {
      session_.reset();
      const std::weak_ptr<SourceMove> weak = shared_from_this();
      return reconnect_timer_->set(kReconnectMs, [weak] {
        if (auto move = weak.lock()) move->connect();
      });
    }
    case A::kPark: return park();
    case A::kPassOn: return pass_on();
    case A::kThaw: return thaw();
    case A::kRewriteOut: return rewrite_out();
    case A::kHold: return hold();
    case A::kRelease: return release(true);
    case A::kCloseWindow: return close_window();
    case A::kGuardRules:
      return guard(status_.vm + " is moving to " + status_.peer +
                   ", which owns its rules now: change them there");
    case A::kStartStepTimer:
      return timer(step_timer_,
                   machine_.state() == SourceState::kOffered ? context_.options.prepare_timeout_ms
                                                             : kAnswerTimeoutMs,
                   SourceEvent::kStepTimeout, "no answer in time");
    case A::kStartWindowTimer:
      return timer(window_timer_, context_.options.window_timeout_ms, SourceEvent::kWindowTimeout,
                   "");
    case A::kStartLateTimer: return timer(window_timer_, kLateMs, SourceEvent::kWindowTimeout, "");
    case A::kStopTimers:
      step_timer_->cancel();
      window_timer_->cancel();
      return;
    case A::kCloseSession:
      if (auto session = std::move(session_)) session->close_when_sent();
      session_.reset();
      return;
    case A::kSealEpoch: context_.epochs[status_.vm] = new_epoch_; return;
    case A::kMintEpoch: return mint();
    case A::kRecord: {
      JournalBatch batch;
      batch.moves.push_back(record());
      if (auto written = context_.journal.write(batch); !written) {
        return step(SourceEvent::kJournalFailed,
                    "the journal cannot be written: " + written.error().message);
      }
      recorded_ = true;
      return;
    }
    case A::kReportAborted:
      status_.error = why_.empty() ? "aborted" : why_;
      guard({});
      return settle(false);
    case A::kReportDone:
      status_.done_ns = context_.clock.now_ns();
      guard({});
      return settle(true);
    case A::kNone:
    case A::kCount: return;
  }
}

// The VM runs here and the peer cannot be asked. Should it turn out to have gone there after all,
// the peer is to have it by an epoch that is newer still.
void SourceMove::mint() {
  const Epoch minted{new_epoch_.counter + 1, context_.options.host};
  const Epoch before = new_epoch_;
  new_epoch_ = {minted.counter + 1, status_.peer};
  JournalBatch batch;
  batch.epochs.emplace_back(status_.vm, minted);
  batch.moves.push_back(record());
  if (auto written = context_.journal.write(batch); !written) {
    new_epoch_ = before;
    return step(SourceEvent::kJournalFailed,
                "the journal cannot be written: " + written.error().message);
  }
  context_.epochs[status_.vm] = minted;
  context_.log("move " + status_.id + " of " + status_.vm + ": ours by epoch " + to_string(minted) +
               ", newer than " + to_string(before) + " handed to " + status_.peer);
}

// Who asks for a move that we do not know hears that it was aborted, so that one needs no record.
void SourceMove::settle(bool done) {
  if (!recorded_) return;
  JournalBatch batch;
  if (context_.journal.keeps_policy()) batch.destroyed = removed_;
  context_.settle({status_.id, status_.vm, status_.peer, MoveRole::kSource, done,
                   context_.newest_epoch(status_.vm), status_.error},
                  done, std::move(batch));
}

void SourceMove::send_offer() {
  if (rules_changed_) {
    // While the connection was made. From here on, changes follow the offer.
    auto now = export_vm(context_.store, context_.ports, status_.vm, context_.options.host,
                         document_.epoch);
    if (!now) return step(SourceEvent::kRefused, now.error().message);
    document_ = std::move(*now);
    status_.rules_exported = document_.rules.size() + document_.uplink_rules.size();
    rules_changed_ = false;
  }
  uplinks_digest_ = uplinks_digest_of(document_.uplink_rules);
  wire::Envelope message = envelope();
  to_wire(document_, *message.mutable_offer());
  message.mutable_offer()->set_nonce(nonce_);
  if (message.ByteSizeLong() > kMaxMessageBytes)
    return step(SourceEvent::kRefused, "the policy is too large for one offer");
  session_->send(message);
}

void SourceMove::send_handover() {
  if (rules_changed_) {
    if (auto now = export_vm(context_.store, context_.ports, status_.vm, context_.options.host,
                             document_.epoch))
      document_ = std::move(*now);
    uplinks_digest_ = uplinks_digest_of(document_.uplink_rules);
    rules_changed_ = false;
  }
  wire::Envelope message = envelope();
  to_wire(new_epoch_, *message.mutable_handover()->mutable_epoch());
  message.mutable_handover()->set_digest(document_.digest);
  message.mutable_handover()->set_uplinks_digest(uplinks_digest_);
  message.mutable_handover()->set_stream(stream_);
  session_->send(message);
  if (status_.handover_ns == 0) status_.handover_ns = context_.clock.now_ns();
  sent_ahead_ = 0;  // the peer forgets what came with an earlier one
  send_kept(0);
}

void SourceMove::guard(const std::string& reason) {
  for (const Nic& nic : nics_) context_.store.set_guard(nic.endpoint, reason);
}

void SourceMove::park() {
  status_.freeze_ns = status_.freeze_ns == 0 ? context_.clock.now_ns() : status_.freeze_ns;
  const auto parked = relocate(context_.store, status_.vm, false, [](const EndpointRecord&) {
    Location location;
    location.kind = LocationKind::kParked;
    return location;
  });
  if (!parked) context_.log("move " + status_.id + ": cannot park: " + parked.error().message);
}

// No more is sent ahead: what comes later waits in the workers' parks.
bool SourceMove::kept_all() const {
  const dataplane::ParkLimits& most = context_.options.ahead;
  return kept_.size() >= most.packets || kept_bytes_ >= most.bytes;
}

// From the handover on what is for the VM is sent ahead, so that it is there when the VM is. A copy
// stays: nothing is decided yet.
void SourceMove::pass_on() {
  if (kept_all()) return;
  passing_on_ = true;
  (void)relocate(context_.store, status_.vm, false, [](const EndpointRecord&) {
    return Location{LocationKind::kRedirect, {}, {}};
  });
}

// Everything as before the move. What was kept goes to the VM first, then what is parked, then what
// comes.
void SourceMove::thaw() {
  guard({});
  status_.freeze_ns = status_.handover_ns = 0;
  stream_ = context_.network.random();  // what went ahead comes back: frames are numbered anew from
                                        // the next handover on
  if (thawing_) return;
  if (!passing_on_ && kept_.empty()) return end_thaw();
  thawing_ = true;
  dataplane::Transaction transaction(context_.store);
  for (const Nic& nic : nics_) {
    (void)transaction.set_location(nic.endpoint, {LocationKind::kParked, nic.port, {}});
    (void)transaction.set_active(nic.endpoint, nic.old_active);
  }
  transaction.commit();
  context_.store.after_grace([weak = weak_from_this()] {
    if (auto move = weak.lock()) {
      move->context_.pump();  // nobody redirects any more: these are the last
      move->passing_on_ = false;
      move->give_back();
    }
  });
}

void SourceMove::give_back() {
  while (!kept_.empty() && context_.gate.inject(kept_.front())) {
    kept_bytes_ -= kept_.front().bytes.size();
    kept_.pop_front();
  }
  if (!kept_.empty() || context_.gate.injecting())
    return drain_timer_->set(1, [this] { give_back(); });
  end_thaw();
}

void SourceMove::end_thaw() {
  dataplane::Transaction transaction(context_.store);
  for (const Nic& nic : nics_) {
    if (context_.store.endpoint(nic.endpoint) == nullptr) continue;
    (void)transaction.set_location(nic.endpoint, nic.old_location);
    (void)transaction.set_active(nic.endpoint, nic.old_active);
  }
  transaction.commit();
  if (!thawing_) return;
  thawing_ = false;
  if (over()) return context_.changed();
  // It may have stopped again meanwhile.
  if (!running()) stopped();
}

void SourceMove::stopped() {
  if (machine_.state() == SourceState::kPrepared) status_.freeze_ns = context_.clock.now_ns();
  // Ours, but it runs here no longer: the peer, where we can ask it, may have it.
  if (machine_.state() == SourceState::kClaimed && session_ != nullptr)
    return step(SourceEvent::kYield, "the VM stopped here");
  step(SourceEvent::kStopped);
}

void SourceMove::rewrite_out() {
  status_.active_ns = context_.clock.now_ns();
  passing_on_ = false;
  // What the peer has not got follows, ahead of what is still to come. Some of it may be on its
  // way: the numbers tell.
  send_kept(held_by_peer_ == kTakesNoFrames
                ? 0
                : static_cast<size_t>(std::min<uint64_t>(held_by_peer_, sent_ahead_)));
  status_.redirected += kept_.size();
  kept_.clear();
  kept_bytes_ = 0;
  auto taken = take_out(context_.store, status_.vm, LocationKind::kRedirect, EndpointId{}, true);
  if (!taken)
    return context_.log("move " + status_.id + ": cannot rewrite: " + taken.error().message);
  status_.rules_rewritten = taken->receive_rules;
}

void SourceMove::hold() {
  status_.proof_ns = context_.clock.now_ns();
  context_.announcements_hidden = !announced_;
  park();
  context_.store.after_grace([weak = weak_from_this()] {
    if (auto move = weak.lock()) move->step(SourceEvent::kHeld);
  });
}

void SourceMove::release(bool late) {
  const EndpointId uplink = context_.uplink();
  (void)relocate(context_.store, status_.vm, false, [&](const EndpointRecord&) {
    Location location{LocationKind::kUplink, {}, uplink};
    location.redirect_late = late;
    return location;
  });
}

void SourceMove::close_window() {
  removed_ = remove_uplink_rules(context_.store, status_.vm);
  release(false);
  {
    dataplane::Transaction transaction(context_.store);
    for (const Nic& nic : nics_) (void)transaction.bind_port(nic.endpoint, PortId{});
    transaction.commit();
  }
  for (const Nic& nic : nics_) {
    if (auto removed = context_.ports.remove(nic.port); !removed)
      context_.log("move " + status_.id + ": " + removed.error().message);
  }
  context_.store.collect_implicit();
}

// A barrier says: what was parked or redirected before is on its way. It follows once nothing waits
// in the workers' parks and in the ring behind them. The first one also waits for the announcement:
// it came by the way that the destination's own senders used before, so what they sent us is in as
// well.
void SourceMove::send_barrier_when_drained(uint32_t number, uint32_t looks) {
  if (over() || session_ == nullptr || barrier_ >= number) return;
  context_.pump();
  const bool last =
      number >= 2;  // held: what is parked now waits for the uplink, the ring is all there is
  const bool drained = last || (announced_ && std::ranges::all_of(nics_, [&](const Nic& nic) {
                                  return context_.gate.parked(nic.endpoint) == 0;
                                }));
  const uint32_t most =
      context_.announcements_hidden && !announced_ ? kHiddenBarrierLooks : kBarrierLooks;
  if (!drained && looks < most) {
    drain_timer_->set(1, [this, number, looks] { send_barrier_when_drained(number, looks + 1); });
    return;
  }
  context_.pump();
  flush_redirect();
  barrier_ = number;
  wire::Envelope message = envelope();
  message.mutable_barrier()->set_number(number);
  session_->send(message);
}

void SourceMove::redirect(const dataplane::Frame& frame) {
  // Given up, and a worker had not seen it yet: it goes back with the others.
  if (machine_.state() >= SourceState::kRedirecting && !thawing_) {
    ++status_.redirected;
    return send_frame(frame);
  }
  kept_.push_back(frame);
  kept_bytes_ += frame.bytes.size();
  if (machine_.state() != SourceState::kHandedOver) return;
  if (sent_ahead_ + 1 == kept_.size()) {
    send_frame(frame);
    ++sent_ahead_;
  }
  if (passing_on_ && kept_all()) {
    passing_on_ = false;
    park();
  }
}

void SourceMove::send_frame(const dataplane::Frame& frame) {
  const EndpointRecord* endpoint = context_.store.endpoint(frame.endpoint);
  if (endpoint == nullptr || session_ == nullptr ||
      (held_by_peer_ == kTakesNoFrames && machine_.state() >= SourceState::kRedirecting)) {
    if (machine_.state() >= SourceState::kRedirecting)
      context_.gate.drop(frame, dataplane::Drop::k_redirect_closed);  // else a copy is kept
    return;
  }
  if (batch_.redirect().frames_size() == 0) batch_.mutable_redirect()->set_first(next_number_);
  ++next_number_;
  to_wire(frame, endpoint->profile.name, *batch_.mutable_redirect()->add_frames());
  batch_bytes_ += frame.bytes.size();
  if (batch_bytes_ >= kMaxRedirectBytes ||
      static_cast<size_t>(batch_.redirect().frames_size()) >= kMaxRedirectFrames)
    flush_redirect();
}

void SourceMove::send_kept(size_t from) {
  flush_redirect();
  next_number_ = from;
  for (size_t i = from; i < kept_.size(); ++i) send_frame(kept_[i]);
  sent_ahead_ = kept_.size();
  flush_redirect();
}

void SourceMove::flush_redirect() {
  if (batch_.redirect().frames_size() == 0) return;
  if (session_ != nullptr) {
    wire::Envelope message = envelope();
    *message.mutable_redirect() = std::move(*batch_.mutable_redirect());
    session_->send(message);
  } else if (machine_.state() >= SourceState::kRedirecting) {
    for (const wire::Frame& lost : batch_.redirect().frames()) {
      if (const auto frame = from_wire(lost))
        context_.gate.drop(*frame, dataplane::Drop::k_redirect_closed);
    }
  }
  batch_.Clear();
  batch_bytes_ = 0;
}

bool SourceMove::can_take() const {
  return session_ == nullptr || session_->queued_bytes() < kMaxQueuedBytes;
}

bool SourceMove::owns(EndpointId endpoint) const {
  return std::ranges::any_of(nics_, [&](const Nic& nic) { return nic.endpoint == endpoint; });
}

bool SourceMove::leads_here(const dataplane::RuleRecord& rule) const {
  return context_.store.of_uplink(rule) && !rule.outputs.empty() &&
         std::ranges::all_of(rule.outputs, [&](EndpointId output) { return owns(output); });
}

void SourceMove::on_port_event(const dataplane::PortEvent& event) {
  if (over()) return;
  const auto nic = std::ranges::find(nics_, event.port, &Nic::port);
  if (nic == nics_.end()) return;
  if (event.kind == PortEventKind::kRingsRunning) {
    nic->running = nic->ran = true;
    if (machine_.state() == SourceState::kPrepared) {
      if (thawing_) return;
      dataplane::Transaction transaction(context_.store);
      (void)transaction.set_location(nic->endpoint, nic->old_location);
      transaction.commit();
    } else {
      step(SourceEvent::kRunning, "the VM's rings run at the source");
    }
    return;
  }
  if (event.kind != PortEventKind::kRingsStopped && event.kind != PortEventKind::kDisconnected)
    return;
  nic->running = false;
  if (thawing_) return;
  if (!running()) return stopped();
  if (machine_.state() != SourceState::kPrepared) return;
  // One of several NICs: hold what is for it, the VM is not moving yet.
  dataplane::Transaction transaction(context_.store);
  Location parked;
  parked.kind = LocationKind::kParked;
  (void)transaction.set_location(nic->endpoint, parked);
  transaction.commit();
}

void SourceMove::on_fabric_message(const FabricMessage& message) {
  if (message.nonce != nonce_) return;
  if (message.kind == FabricMessage::Kind::kAnnouncement && !announced_) {
    // Each NIC, on each of its VLANs: the fabric learns them one by one.
    heard_.insert(message.address);
    announced_ = std::ranges::all_of(document_.profiles, [&](const dataplane::Profile& profile) {
      return std::ranges::all_of(fabric_addresses(profile), [&](const FabricAddress& address) {
        return heard_.contains(address);
      });
    });
    if (announced_) return begin_probing();
  }
  if (message.kind == FabricMessage::Kind::kEcho && unproven_.erase(message.address) != 0 &&
      unproven_.empty()) {
    probe_timer_->cancel();
    step(SourceEvent::kProof);
  }
}

// Once the peer is active and its announcement has come through, in whichever order.
void SourceMove::begin_probing() {
  if (machine_.state() != SourceState::kRedirecting || !announced_) return;
  for (const dataplane::Profile& profile : document_.profiles) {
    for (const FabricAddress& address : fabric_addresses(profile)) unproven_.insert(address);
  }
  probe_fabric(0);
}

// By our uplink to each of the VM's addresses, again and again until all have been answered or the
// window's time is over.
void SourceMove::probe_fabric(size_t round) {
  if (machine_.state() != SourceState::kRedirecting) return;
  dataplane::Frame frame;
  frame.endpoint = context_.uplink();
  MacAddress sender{{0x02, 'g', 'd', 'w', 'i', 't'}};
  const EndpointRecord* uplink = context_.store.endpoint(frame.endpoint);
  if (auto port = context_.ports.info(uplink == nullptr ? PortId{} : uplink->port);
      port && !port->mac.is_zero())
    sender = port->mac;
  for (const FabricAddress& address : unproven_) {
    frame.bytes = probe(address, sender, nonce_);
    if (!context_.gate.emit(frame)) break;
  }
  const uint64_t after_ms =
      std::min<uint64_t>(uint64_t{1} << std::min<size_t>(round, 3), kProbeAgainMs);
  probe_timer_->set(after_ms, [this, round] { probe_fabric(round + 1); });
}

void SourceMove::on_rule_change(const dataplane::RuleChange& change) {
  const bool uplink = leads_here(*change.record);
  if (over() || (!uplink && !owns(change.inside))) return;
  if (machine_.state() > SourceState::kPrepared) return;
  rules_changed_ = true;
  if (machine_.state() < SourceState::kOffered || session_ == nullptr) return;
  const EndpointRecord* owner = context_.store.endpoint(change.record->owner);
  if (owner == nullptr)
    return;  // it went with its rule and cannot be named: the handover's digest will not fit
  wire::Envelope message = envelope();
  message.mutable_delta()->set_uplink(uplink);
  wire::Rule* rule = change.kind == dataplane::RuleChangeKind::kCreated
                         ? message.mutable_delta()->mutable_created()
                         : message.mutable_delta()->mutable_destroyed();
  rule->set_owner(owner->profile.name);
  rule->set_id(change.record->id.value);
  if (change.kind == dataplane::RuleChangeKind::kCreated)
    rule->set_text(dataplane::to_text(change.record->rule));
  session_->send(message);
}

Result<void> SourceMove::cancel() {
  const SourceState before = machine_.state();
  if (before >= SourceState::kRedirecting && !machine_.over()) {
    return fail(status_.vm + " runs at " + status_.peer + " already: too late to cancel");
  }
  step(SourceEvent::kCancel, "cancelled");
  if (machine_.state() == SourceState::kInDoubt && before == SourceState::kInDoubt)
    return fail(why_);
  return {};
}

void SourceMove::stop() {
  stopping_ = true;
  step_timer_->cancel();
  window_timer_->cancel();
  drain_timer_->cancel();
  probe_timer_->cancel();
  reconnect_timer_->cancel();
  // What may have been handed over stays in doubt: the journal knows it.
  if (machine_.state() < SourceState::kHandedOver) (void)cancel();
  if (auto session = std::move(session_)) session->close("the switch ends");
}

MoveStatus SourceMove::status() const {
  MoveStatus status = status_;
  status.state = std::string(name_of(machine_.state()));
  if (machine_.state() == SourceState::kInDoubt) {
    status.doubt = "whether " + status_.vm + " runs at " + status_.peer + " (" +
                   (why_.empty() ? "no session" : why_) + "): parked until " + status_.peer +
                   " answers, or its rings run here";
  } else if (machine_.state() == SourceState::kClaimed) {
    status.doubt = status_.vm + " is ours by epoch " +
                   to_string(context_.newest_epoch(status_.vm)) + ", and " + status_.peer +
                   " has not been told yet";
  }
  const dataplane::WindowTotals now = machine_.over() ? totals_after_ : context_.gate.totals();
  status.parked = now.parked - totals_before_.parked;
  status.park_overflow = now.park_overflow - totals_before_.park_overflow;
  status.redirect_duplicate = now.redirect_duplicate - totals_before_.redirect_duplicate;
  return status;
}

}  // namespace godwit::migration
