// SPDX-License-Identifier: Apache-2.0
#include "migration/moves/destination_move.h"

#include <algorithm>
#include <utility>

#include "dataplane/rules/flow_command.h"
#include "migration/journal/policy_record.h"
#include "migration/policy/uplink_mtu.h"

namespace godwit::migration {

using dataplane::EndpointRecord;
using dataplane::PortEventKind;

namespace {
// How long rings run here before the destination claims the VM of a source that cannot be asked.
// The source waits as long before it claims the VM.
constexpr uint64_t kClaimMs = 3000;
constexpr uint64_t kAskMs = 300;  // the source reconnects sooner by itself
constexpr uint64_t kAskAgainMs = 1000;
constexpr uint64_t kWindowSlackMs = 5000;  // beyond the source's own limits
constexpr size_t kMaxShownReason = 512;    // of a reason that the peer gives
constexpr size_t kMaxShownDigest = 64;

}  // namespace

DestinationMove::DestinationMove(MoveContext& context, const std::string& vm,
                                 const std::string& peer, const std::string& id)
    : context_(context),
      status_(new_status("destination", vm, peer, id)),
      progress_(context, MoveRole::kDestination, DestinationMachine(context.tables.destination),
                status_,
                {[this](DestinationAction action) { return act(action); },
                 [this](DestinationState before) { after_step(before); }}),
      inquiry_(context.network, context.clock,
               {context.options.host, peer, context.address_of(peer)},
               {[this] { return asks(); }, [this] { return envelope(); },
                [this](const wire::Hello&) {
                  wire::Envelope ask = envelope();
                  // A policy that is not in force claims nothing.
                  if (!policy_.published()) ask.clear_epoch();
                  ask.mutable_ask();
                  inquiry_.send(ask);
                },
                [this](wire::Envelope& message) { on_answer(message); },
                [](PeerLink::Loss, const std::string&) {}}),
      policy_(context, vm, id),
      receiver_(context, vm,
                {[this] {
                   step(DestinationEvent::kBarrier);
                   if (receiver_.barrier() >= 2) hold_.lift();
                 },
                 [this] {
                   if (session_ != nullptr) session_->pause_reading(receiver_.crowded());
                   if (over()) context_.changed();
                 }}),
      hold_(context, policy_.document(), receiver_,
            {[this] { return session_ != nullptr; }, [this] { return over(); },
             [this] { step(DestinationEvent::kHoldTimeout); },
             [this] { policy_.let_through(true, hold_.fenced()); }}),
      announcer_(context, policy_.document()),
      claim_timer_(context.network.timer()),
      window_timer_(context.network.timer()),
      ask_timer_(context.network.timer()) {
  progress_.begin();
}

void DestinationMove::attach(std::shared_ptr<PeerSession> session) {
  const bool again = session_ != nullptr || progress_.state() != DestinationState::kOffered;
  if (session_ != nullptr && session_ != session)
    session_->close("the source opened another session for the move");
  session_ = std::move(session);
  if (again) step(DestinationEvent::kReconnected);
}

void DestinationMove::step(DestinationEvent event, const std::string& why) {
  const auto keep = shared_from_this();
  progress_.take(event, why);
}

void DestinationMove::after_step(DestinationState before) {
  const DestinationState now = progress_.state();
  if (now == before) return;
  if (!asks()) stop_asking();
  // Rings that ran before the state in which they matter.
  if ((now == DestinationState::kPrepared || now == DestinationState::kStranded) &&
      policy_.rings_run())
    step(DestinationEvent::kRingsRunning);
}

DestinationMove::Progress::Failure DestinationMove::act(DestinationAction action) {
  using A = DestinationAction;
  switch (action) {
    case A::kRecord: return record_in_journal();
    case A::kSendPrepared:
    case A::kSendRefused:
    case A::kSendActive:
    case A::kSendRevoked:
    case A::kSendResend:
    case A::kSendBarrierAck:
    case A::kSendDoneAck: send(action); break;
    case A::kDiscard: policy_.discard(); break;
    case A::kKeepHandover:
      if (status_.times.handover_ns == 0) status_.times.handover_ns = context_.clock.now_ns();
      receiver_.forget_ahead();  // the source sends all of it again
      break;
    case A::kDropHandover:
      status_.times.handover_ns = 0;
      receiver_.forget_ahead();
      break;
    case A::kUnpublish: withdraw(); break;
    case A::kAskSource: ask_source(recovered_ ? 0 : kAskMs); break;
    case A::kClaimHandover: new_epoch_ = next_epoch(offered_epoch_, context_.options.host); break;
    case A::kPublish: publish(); break;
    case A::kEnter: enter(); break;
    case A::kAnnounce: announcer_.announce(); break;
    case A::kReleaseDirect: hold_.release(); break;
    case A::kCloseWindow:
      hold_.forget_fence();
      policy_.let_through(false, false);
      break;
    case A::kStartHoldTimer: hold_.begin(); break;
    case A::kStartClaimTimer:
      claim_timer_->set(kClaimMs, [this] {
        step(DestinationEvent::kHoldTimeout, "the VM runs here and the source cannot be asked");
      });
      break;
    case A::kStartWindowTimer: {
      const uint64_t ms = context_.options.window_timeout_ms + kWindowSlackMs;
      status_.deadline_ns = context_.clock.now_ns() + ms * 1'000'000;
      window_timer_->set(ms, [this] {
        step(DestinationEvent::kWindowTimeout, "the source has not been heard in time");
      });
      break;
    }
    case A::kStopTimers:
      window_timer_->cancel();
      claim_timer_->cancel();
      hold_.cancel();
      break;
    case A::kCloseSession: close_session(); break;
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

wire::Envelope DestinationMove::envelope() const {
  wire::Envelope message;
  message.set_vm(status_.vm);
  message.set_move(status_.id);
  to_wire(new_epoch_, *message.mutable_epoch());
  return message;
}

void DestinationMove::send(DestinationAction action) {
  using A = DestinationAction;
  if (session_ == nullptr) return;
  wire::Envelope message = envelope();
  switch (action) {
    case A::kSendPrepared: message.mutable_prepared()->set_digest(policy_.digest()); break;
    case A::kSendRefused: reasons_to_wire(progress_.why(), *message.mutable_refused()); break;
    case A::kSendActive:
      message.mutable_active()->set_rules_imported(status_.rules_imported);
      message.mutable_active()->set_frames_held(receiver_.next_number());
      break;
    case A::kSendRevoked: message.mutable_revoked()->set_reason(progress_.why()); break;
    case A::kSendResend: message.mutable_resend(); break;
    case A::kSendBarrierAck: message.mutable_barrier_ack()->set_number(receiver_.barrier()); break;
    case A::kSendDoneAck: message.mutable_done_ack(); break;
    default: return;
  }
  session_->send(message);
}

void DestinationMove::close_session() {
  if (const auto session = std::exchange(session_, nullptr)) session->close_when_sent();
}

void DestinationMove::on_offer(const wire::Offer& offer) {
  if (progress_.state() > DestinationState::kRunning) return;
  if (auto taken = take_offer(offer); !taken)
    return step(DestinationEvent::kStageFailed, taken.error().message);
  step(DestinationEvent::kStaged);
}

Result<void> DestinationMove::take_offer(const wire::Offer& offer) {
  auto document = from_wire(status_.vm, offer);
  if (!document) return fail(document.error());
  if (policy_.staged()) return follow(*document);
  if (const Epoch known = context_.newest_epoch(status_.vm); document->epoch < known) {
    return fail("epoch " + to_string(document->epoch) + " is older than " + to_string(known) +
                " seen here");
  }
  if (const std::string why = narrower_uplink(context_.store, context_.ports, context_.uplink(),
                                              *document, offer.uplink_mtu());
      !why.empty())
    return fail(why);
  offered_epoch_ = document->epoch;
  nonce_ = offer.nonce();
  announcer_.set_nonce(nonce_);
  policy_.set_document(std::move(*document));
  return policy_.stage();
}

Result<void> DestinationMove::follow(const Document& document) {
  auto changes = policy_.changes_to(document);
  if (!changes || changes->empty()) return changes ? Result<void>{} : fail(changes.error());
  JournalBatch batch;
  batch.deltas = *changes;
  auto done = context_.journal.write(batch);
  for (auto change = changes->begin(); done && change != changes->end(); ++change)
    done = policy_.apply(*change);
  return done;
}

Result<void> DestinationMove::recover(const MoveRecord& record) {
  if (record.document == nullptr) return fail("the journal has no document of it");
  Document document = *record.document;
  document.digest = digest_of(document);
  policy_.set_document(std::move(document));
  offered_epoch_ = record.offered;
  new_epoch_ = record.handed;
  nonce_ = record.nonce;
  announcer_.set_nonce(nonce_);
  const auto endpoints = context_.store.endpoints_of_vm(status_.vm);
  const bool in_force =
      !endpoints.empty() &&
      std::ranges::all_of(endpoints, [](const EndpointRecord* e) { return e->port.valid(); });
  const bool was_active = record.state == name_of(DestinationState::kActive) ||
                          record.state == name_of(DestinationState::kOpen);
  if (was_active && in_force) return go_on();
  if (auto staged = policy_.stage(); !staged) return staged;
  recorded_ = recovered_ = true;
  progress_.resume(DestinationMachine(context_.tables.destination, DestinationState::kStranded),
                   "the switch was restarted");
  if (was_active) {
    step(DestinationEvent::kRestored, "the journal has it as active");
  } else {
    ask_source(0);
  }
  return {};
}

// The policy is in the store, with what has been changed since it came: only the window was still
// open.
Result<void> DestinationMove::go_on() {
  if (auto resumed = policy_.resume(); !resumed) return fail(resumed.error());
  receiver_.reopen();
  recorded_ = recovered_ = policy_kept_ = true;
  context_.epochs[status_.vm] = new_epoch_;
  progress_.resume(DestinationMachine(context_.tables.destination, DestinationState::kOpen),
                   "the switch was restarted");
  policy_.let_through(false, false);
  ask_source(0);
  return {};
}

void DestinationMove::supersede(const std::string& why) {
  if (!claims()) step(DestinationEvent::kAbort, why);
}

MoveRecord DestinationMove::record(DestinationState state) const {
  return {status_.id,
          status_.vm,
          status_.peer,
          MoveRole::kDestination,
          std::string(name_of(state)),
          offered_epoch_,
          new_epoch_,
          nonce_,
          {}};
}

// Writes a prepared move with its document. That a move is active is a fact: it is written with the
// epoch as soon as the journal can be written.
DestinationMove::Progress::Failure DestinationMove::record_in_journal() {
  JournalBatch batch;
  batch.moves.push_back(record(progress_.state()));
  if (policy_.published()) {
    batch.epochs.emplace_back(status_.vm, new_epoch_);
    context_.keep(std::move(batch));
    return {};
  }
  batch.moves.back().document = std::make_shared<const Document>(policy_.document());
  if (auto written = context_.journal.write(batch); !written) {
    return {
        {DestinationEvent::kJournalFailed, "the journal of " + context_.options.host +
                                               " cannot be written: " + written.error().message}};
  }
  recorded_ = true;
  return {};
}

// From here on others may change the policy, and write their changes to the journal. The move is
// written as active in the same batch: a policy in force beside a move that may not be would be
// stuck after a restart.
void DestinationMove::keep_policy() {
  if (policy_kept_ || !context_.journal.keeps_policy()) return;
  policy_kept_ = true;
  JournalBatch batch;
  batch.epochs.emplace_back(status_.vm, new_epoch_);
  batch.moves.push_back(record(DestinationState::kActive));
  note_import(context_.store, context_.ports, status_.vm, policy_.arrived(), batch);
  context_.keep(std::move(batch));
}

void DestinationMove::settle(bool done) {
  if (!recorded_) return;
  SettledMove settled{status_.id,   status_.vm,
                      status_.peer, MoveRole::kDestination,
                      done,         context_.newest_epoch(status_.vm),
                      status_.error};
  context_.settle(std::move(settled), !done && policy_kept_, std::move(dropped_));
}

void DestinationMove::withdraw() {
  std::vector<OwnedRule> going = policy_.withdraw();
  if (policy_kept_) dropped_.destroyed = std::move(going);
  receiver_.close();
}

// Asks by a session of its own, once a second, until the source says what has become of the move.
void DestinationMove::ask_source(uint64_t after_ms) {
  ask_timer_->set(after_ms, [weak = weak_from_this()] {
    const auto self = weak.lock();
    if (self == nullptr) return;
    self->stop_asking();
    self->ask_source(kAskAgainMs);
    if (!self->context_.address_of(self->status_.peer).empty()) self->inquiry_.connect(weak);
  });
}

void DestinationMove::on_answer(wire::Envelope& message) {
  const auto keep = shared_from_this();
  if (message.vm() != status_.vm || message.move() != status_.id)
    return inquiry_.reject("peer: a message of another move (" + message.move() + ")");
  if (message.has_abort() || message.has_done() || message.has_unknown()) {
    on_message(message);
    // If the move is not over, the source is asked again.
    return inquiry_.close_when_sent();
  }
  // The source has taken this session for the move's.
  const std::shared_ptr<PeerSession> session = inquiry_.release();
  session->hand_over(
      [weak = weak_from_this(), raw = session.get()](wire::Envelope& next) {
        auto move = weak.lock();
        if (move && move->session_.get() == raw && next.vm() == move->vm() &&
            next.move() == move->id())
          move->on_message(next);
      },
      [weak = weak_from_this(), raw = session.get()](const std::string& reason) {
        if (auto move = weak.lock()) move->on_connection_lost(reason, raw);
      });
  attach(session);
  on_message(message);
}

void DestinationMove::stop_asking() {
  ask_timer_->cancel();
  inquiry_.close_when_sent();
}

bool DestinationMove::asks() const {
  switch (progress_.state()) {
    case DestinationState::kStranded:
    case DestinationState::kOrphaned: return true;
    case DestinationState::kActive:
    case DestinationState::kOpen: return session_ == nullptr;
    default: return false;
  }
}

void DestinationMove::on_message(wire::Envelope& message) {
  const auto keep = shared_from_this();
  switch (message.body_case()) {
    case wire::Envelope::kOffer: return on_offer(message.offer());
    case wire::Envelope::kUnknown: return on_unknown();
    case wire::Envelope::kDelta: return on_delta(message.delta());
    case wire::Envelope::kHandover: return on_handover(message.handover());
    case wire::Envelope::kRevoke: return on_revoke(from_wire(message.epoch()));
    case wire::Envelope::kAbort: return on_abort(message);
    case wire::Envelope::kRedirect: return on_redirect(message.redirect());
    case wire::Envelope::kBarrier: return receiver_.take_barrier(message.barrier().number());
    case wire::Envelope::kDone: return on_done(from_wire(message.epoch()));
    default:
      if (session_ != nullptr) session_->close("peer: a message that only a destination sends");
  }
}

void DestinationMove::on_delta(const wire::Delta& delta) {
  if (!policy_.staged() || policy_.published()) return;
  if (!delta.has_created() && !delta.has_destroyed()) return;
  const wire::Rule& rule = delta.has_created() ? delta.created() : delta.destroyed();
  if (rule.text().size() > dataplane::kMaxRuleText)
    return step(DestinationEvent::kCancel, "a rule is too long");
  const MoveDelta change{status_.id, delta.has_created(), from_wire(rule), delta.uplink()};
  if (auto applied = policy_.apply(change); !applied) {
    return step(DestinationEvent::kCancel,
                "a rule change cannot be followed here: " + applied.error().message);
  }
  JournalBatch batch;
  batch.deltas.push_back(change);
  if (auto written = context_.journal.write(batch); !written) {
    step(DestinationEvent::kJournalFailed, "the journal of " + context_.options.host +
                                               " cannot be written: " + written.error().message);
  }
}

void DestinationMove::on_handover(const wire::Handover& handover) {
  const Epoch epoch = from_wire(handover.epoch());
  const bool held = progress_.state() == DestinationState::kHandedOver;
  if ((policy_.published() || held) && epoch < new_epoch_)
    return context_.absorb(status_.id, status_.vm, "handover", epoch, new_epoch_);
  if (!policy_.published()) return on_first_handover(handover, epoch);
  // The source was restarted, and knows none of the frames that it sent before; or it had claimed
  // the VM, and yields.
  receiver_.set_stream(handover.stream());
  new_epoch_ = context_.epochs[status_.vm] = epoch;
  step(DestinationEvent::kHandover);
}

DestinationEvent DestinationMove::outdated() const {
  const bool resends = session_ != nullptr && session_->link().version >= kVersionResume;
  return resends ? DestinationEvent::kOutdatedHandover : DestinationEvent::kBadHandover;
}

void DestinationMove::on_first_handover(const wire::Handover& handover, const Epoch& epoch) {
  if (!policy_.staged() || !is_host_name(handover.epoch().host()) || epoch <= offered_epoch_) {
    return step(DestinationEvent::kBadHandover, "the handover's epoch " + to_string(epoch) +
                                                    " is not newer than the offer's " +
                                                    to_string(offered_epoch_));
  }
  if (const std::string digest = policy_.digest(); digest != handover.digest()) {
    return step(outdated(), "the rules handed over have digest " +
                                handover.digest().substr(0, kMaxShownDigest) + ", those prepared " +
                                digest);
  }
  if (!handover.uplinks_digest().empty() && handover.uplinks_digest() != policy_.uplinks_digest()) {
    return step(outdated(), "the uplink rules handed over are not those prepared");
  }
  new_epoch_ = epoch;
  receiver_.set_stream(handover.stream());
  step(DestinationEvent::kHandover);
}

// An abort comes too late once the VM is published here, unless the source has the VM by a newer
// epoch.
void DestinationMove::on_abort(const wire::Envelope& message) {
  const Epoch its = from_wire(message.epoch());
  const std::string why =
      "aborted by " + status_.peer + ": " + message.abort().reason().substr(0, kMaxShownReason);
  if (!policy_.published() && !claims()) return step(DestinationEvent::kAbort, why);
  if (!policy_.published() || its <= new_epoch_)
    return context_.absorb(status_.id, status_.vm, "abort", its, new_epoch_);
  if (policy_.rings_run()) return mint(its);
  new_epoch_ = context_.epochs[status_.vm] = its;
  step(DestinationEvent::kClaim, why);
}

// A source that does not know the move says nothing about the VM: it may have lost its state. The
// move stays for as long as a front-end may bring the VM.
void DestinationMove::on_unknown() {
  if (policy_.published() || policy_.connected()) return;
  step(DestinationEvent::kAbort, "the move is not known at " + status_.peer);
}

// The VM runs here, whatever the source believes. The source hears of the newer epoch next.
void DestinationMove::mint(const Epoch& newer_than) {
  new_epoch_ = context_.epochs[status_.vm] = next_epoch(newer_than, context_.options.host);
  (void)record_in_journal();  // does not fail: the policy is published
  context_.log("move " + status_.id + " of " + status_.vm + ": ours by epoch " +
               to_string(new_epoch_) + ", newer than " + to_string(newer_than) + " of " +
               status_.peer + ", since it runs here");
}

void DestinationMove::on_revoke(const Epoch& its) {
  if (policy_.published() && its > new_epoch_ && !policy_.rings_run()) {
    context_.log("move " + status_.id + " of " + status_.vm + ": " + status_.peer +
                 " claims it by epoch " + to_string(its) + ", newer than " + to_string(new_epoch_) +
                 ", and it does not run here");
    new_epoch_ = context_.epochs[status_.vm] = its;
    return step(DestinationEvent::kClaim, status_.peer + " has it by a newer epoch");
  }
  step(DestinationEvent::kRevoke);
}

// The source cleans up, and so does this host, unless the VM has come here by another way since.
void DestinationMove::on_done(const Epoch& its) {
  const bool asked = asks();
  const bool has_epoch = policy_.published() || progress_.state() == DestinationState::kOrphaned;
  const Epoch ours = has_epoch ? new_epoch_ : offered_epoch_;
  if (its < ours) return context_.absorb(status_.id, status_.vm, "done", its, ours);
  if (asked) new_epoch_ = its;
  // Only a switch that was restarted can have forgotten that it was active.
  const bool waits = !policy_.published() && !policy_.rings_run() && !recovered_;
  step(waits ? DestinationEvent::kHandover : DestinationEvent::kDone);
}

void DestinationMove::on_redirect(const wire::Redirect& redirect) {
  if (!policy_.published() && progress_.state() != DestinationState::kHandedOver) return;
  if (auto taken = receiver_.take(redirect); !taken && session_ != nullptr)
    session_->close(taken.error().message);
}

void DestinationMove::publish() {
  if (auto published = policy_.publish(); !published)
    return context_.log("move " + status_.id + ": cannot publish: " + published.error().message);
  context_.epochs[status_.vm] = new_epoch_;
  status_.times.active_ns = context_.clock.now_ns();
  status_.rules_imported = policy_.document().rules.size() + policy_.document().uplink_rules.size();
  receiver_.open();
}

void DestinationMove::enter() {
  if (!policy_.published()) return;
  const StagedImport::Report& report = policy_.enter();
  status_.rules_imported = report.rules + policy_.document().uplink_rules.size();
  status_.rules_rewritten = report.receive_rules;
  keep_policy();
}

void DestinationMove::on_fabric_message(const FabricMessage& message) {
  if (policy_.published() && !over()) announcer_.on_message(message);
}

void DestinationMove::on_port_event(const dataplane::PortEvent& event) {
  if (progress_.over() || !policy_.owns(event.port)) return;
  if (event.kind == PortEventKind::kRingsRunning) {
    if (status_.times.rings_running_ns == 0 || !policy_.published())
      status_.times.rings_running_ns = event.time_ns;
    step(DestinationEvent::kRingsRunning);
  } else if (event.kind == PortEventKind::kRingsStopped ||
             event.kind == PortEventKind::kDisconnected) {
    step(DestinationEvent::kRingsStopped);
  }
}

void DestinationMove::on_connection_lost(const std::string& reason, const PeerSession* session) {
  if (session_.get() != session) return;
  session_.reset();
  hold_.lift();
  step(DestinationEvent::kConnectionLost, reason);
}

Result<void> DestinationMove::cancel() {
  const DestinationState before = progress_.state();
  if (policy_.published() && !progress_.over() &&
      (before != DestinationState::kOpen || session_ != nullptr))
    return fail(status_.vm + " runs here already: too late to cancel");
  if (!policy_.published() && policy_.rings_run()) {
    return fail(status_.vm + " runs here, and " + status_.peer +
                " may have given it up: it is taken over when " + status_.peer +
                " answers, or stays silent");
  }
  if (before == DestinationState::kHandedOver) {
    return fail(status_.vm + " is handed over to this host: cancel at " + status_.peer +
                ", which then asks for it back");
  }
  if (before == DestinationState::kOpen)
    status_.error = status_.peer + " has not confirmed the end of the move";
  step(DestinationEvent::kCancel, "cancelled at the destination");
  return {};
}

void DestinationMove::stop() {
  for (const auto* timer : {&claim_timer_, &window_timer_, &ask_timer_}) (*timer)->cancel();
  hold_.stop();
  announcer_.stop();
  receiver_.stop();
  inquiry_.close("the switch ends");
  if (const auto session = std::exchange(session_, nullptr)) session->close("the switch ends");
  if (!policy_.published()) policy_.discard();
}

MoveStatus DestinationMove::status() const {
  MoveStatus status = progress_.report();
  status.redirected = receiver_.redirected();
  status.times.first_packet_ns = policy_.first_delivery_ns();
  if (progress_.state() == DestinationState::kStranded ||
      progress_.state() == DestinationState::kOrphaned) {
    status.doubt = "whether " + status_.vm + " comes here (" + progress_.why() +
                   "): " + status_.peer + " is asked until it answers, or its rings run here";
  } else if (asks()) {
    status.doubt = status_.vm + " is here, and " + status_.peer +
                   " has not said that it knows: it is asked until it answers";
  }
  return status;
}

}  // namespace godwit::migration
