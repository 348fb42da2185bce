// SPDX-License-Identifier: Apache-2.0
#include "migration/moves/destination_move.h"

#include <algorithm>
#include <iterator>
#include <set>
#include <utility>

#include "dataplane/rules/flow_command.h"
#include "migration/journal/policy_record.h"

namespace godwit::migration {

using dataplane::EndpointRecord;
using dataplane::Location;
using dataplane::LocationKind;
using dataplane::PortEventKind;

namespace {

// How long direct arrivals wait, in looks: between two the session is read, also by a thread that
// did not run for a while.
constexpr uint64_t kLookMs = 5;
constexpr uint32_t kQuietLooks = 10;  // without anything older
constexpr uint32_t kMostLooks = 50;
constexpr uint64_t kClaimMs =
    3000;  // rings run, and the source cannot be asked: as long as it waits itself
constexpr uint64_t kAskMs = 300;  // the source reconnects by itself, and sooner
constexpr uint64_t kAskAgainMs = 1000;
constexpr uint64_t kWindowSlackMs = 5000;  // beyond the source's own limits
constexpr size_t kMaxWaitingIn = 4096;     // redirected frames that wait for the worker's ring

}  // namespace

DestinationMove::DestinationMove(MoveContext& context, std::string vm, std::string peer,
                                 std::string id)
    : context_(context),
      machine_(context.tables.destination),
      hold_timer_(context.network.timer()),
      fence_timer_(context.network.timer()),
      window_timer_(context.network.timer()),
      announce_timer_(context.network.timer()),
      pump_timer_(context.network.timer()),
      ask_timer_(context.network.timer()) {
  status_.vm = std::move(vm);
  status_.peer = std::move(peer);
  status_.id = std::move(id);
  status_.role = "destination";
  note_step(status_, context_.clock.now_ns(), name_of(machine_.state()), {}, {});
  totals_before_ = context.gate.totals();
}

void DestinationMove::attach(std::shared_ptr<PeerSession> session) {
  const bool again = session_ != nullptr || machine_.state() != DestinationState::kOffered;
  if (session_ != nullptr && session_ != session)
    session_->close("the source opened another session for the move");
  session_ = std::move(session);
  if (again) step(DestinationEvent::kReconnected);
}

wire::Envelope DestinationMove::envelope() const {
  wire::Envelope message;
  message.set_vm(status_.vm);
  message.set_move(status_.id);
  to_wire(new_epoch_, *message.mutable_epoch());
  return message;
}

void DestinationMove::step(DestinationEvent event, const std::string& why) {
  const auto keep = shared_from_this();
  const DestinationState before = machine_.state();
  const DestinationTransition* transition = machine_.step(event);
  if (transition == nullptr) return;
  if (!why.empty()) why_ = why;
  if (before != transition->to) {
    context_.log("move " + status_.id + " of " + status_.vm + " from " + status_.peer + ": " +
                 std::string(name_of(before)) + " -> " + std::string(name_of(transition->to)) +
                 " on " + std::string(name_of(event)) + (why.empty() ? "" : " (" + why + ")"));
    note_step(status_, context_.clock.now_ns(), name_of(transition->to), name_of(event), why);
    status_.deadline_ns = 0;
    context_.changed();
  }
  const uint64_t number = ++steps_;
  for (DestinationAction action : transition->actions) {
    if (action == DestinationAction::kNone) break;
    context_.watch(MoveRole::kDestination, name_of(action), false);
    act(action);
    context_.watch(MoveRole::kDestination, name_of(action), true);
    if (steps_ != number) return;  // the action has gone on to another state, which did the rest
  }
  after_step(before);
}

void DestinationMove::after_step(DestinationState before) {
  const DestinationState now = machine_.state();
  if (machine_.over()) totals_after_ = context_.gate.totals();
  if (now == before) return;
  if (!asks()) stop_asking();
  // Rings that ran before the state that they matter in.
  if ((now == DestinationState::kPrepared || now == DestinationState::kStranded) && rings_run())
    step(DestinationEvent::kRingsRunning);
}

void DestinationMove::act(DestinationAction action) {
  using A = DestinationAction;
  const auto send = [&](auto fill) {
    if (session_ == nullptr) return;
    wire::Envelope message = envelope();
    fill(message);
    session_->send(message);
  };
  switch (action) {
    case A::kSendPrepared:
      return send([this](auto& m) { m.mutable_prepared()->set_digest(staged_->digest()); });
    case A::kSendRefused:
      return send([this](auto& m) {
        size_t at = 0;
        while (at <= why_.size() && static_cast<size_t>(m.refused().reasons_size()) < kMaxReasons) {
          const size_t end = std::min(why_.find('\n', at), why_.size());
          m.mutable_refused()->add_reasons(why_.substr(at, end - at));
          at = end + 1;
        }
      });
    case A::kSendActive:
      return send([this](auto& m) {
        m.mutable_active()->set_rules_imported(status_.rules_imported);
        m.mutable_active()->set_frames_held(next_number_);
      });
    case A::kSendRevoked: return send([this](auto& m) { m.mutable_revoked()->set_reason(why_); });
    case A::kSendBarrierAck:
      return send([this](auto& m) { m.mutable_barrier_ack()->set_number(barrier_); });
    case A::kSendDoneAck: return send([](auto& m) { m.mutable_done_ack(); });
    case A::kDiscard: staged_.reset(); return;
    case A::kKeepHandover:
      if (status_.handover_ns == 0) status_.handover_ns = context_.clock.now_ns();
      return forget_ahead();  // the source sends all of it again
    case A::kDropHandover: status_.handover_ns = 0; return forget_ahead();
    case A::kRecord: return record();
    case A::kUnpublish: return unpublish();
    case A::kAskSource: return ask_source(recovered_ ? 0 : kAskMs);
    case A::kClaimHandover:
      new_epoch_ = {offered_epoch_.counter + 1, context_.options.host};
      return;
    case A::kPublish: return publish();
    case A::kEnter: return enter();
    case A::kAnnounce: return announce(0);
    case A::kReleaseDirect:
      hold_timer_->cancel();
      fenced_ = session_ != nullptr && barrier_ < 2;
      looks_ = quiet_looks_ = 0;
      locate(LocationKind::kPort, true);
      return watch_fence();
    case A::kCloseWindow: fenced_ = false; return locate(LocationKind::kPort, false);
    case A::kStartHoldTimer: return watch_hold();
    case A::kStartClaimTimer:
      return hold_timer_->set(kClaimMs, [this] {
        step(DestinationEvent::kHoldTimeout, "the VM runs here and the source cannot be asked");
      });
    case A::kStartWindowTimer: {
      const uint64_t ms = context_.options.window_timeout_ms + kWindowSlackMs;
      status_.deadline_ns = context_.clock.now_ns() + ms * 1'000'000;
      return window_timer_->set(ms, [this] {
        step(DestinationEvent::kWindowTimeout, "the source has not been heard in time");
      });
    }
    case A::kStopTimers:
      window_timer_->cancel();
      hold_timer_->cancel();
      return;
    case A::kCloseSession:
      if (auto session = std::move(session_)) session->close_when_sent();
      session_.reset();
      return;
    case A::kReportAborted: status_.error = why_.empty() ? "aborted" : why_; return settle(false);
    case A::kReportDone: status_.done_ns = context_.clock.now_ns(); return settle(true);
    case A::kNone:
    case A::kCount: return;
  }
}

void DestinationMove::on_offer(const wire::Offer& offer) {
  auto document = from_wire(status_.vm, offer);
  if (!document) return step(DestinationEvent::kStageFailed, document.error().message);
  if (const Epoch known = context_.newest_epoch(status_.vm); document->epoch < known) {
    return step(DestinationEvent::kStageFailed, "epoch " + to_string(document->epoch) +
                                                    " is older than " + to_string(known) +
                                                    " seen here");
  }
  offered_epoch_ = document->epoch;
  nonce_ = offer.nonce();
  document_ = std::move(*document);
  if (auto staged = stage(); !staged)
    return step(DestinationEvent::kStageFailed, staged.error().message);
  step(DestinationEvent::kStaged);
}

Result<void> DestinationMove::stage() {
  StagedImport::Bindings bindings;
  for (const dataplane::Profile& profile : document_.profiles) {
    const std::string path = context_.socket_for(profile.name);
    if (path.empty())
      return fail("no vhost_template is configured: there is no port for " + profile.name);
    bindings[profile.name] = {path, PortId{}};
  }
  auto staged =
      StagedImport::stage(context_.store, context_.ports, context_.uplink(), document_, bindings);
  if (!staged) return fail(staged.error());
  staged_ = std::move(*staged);
  return {};
}

Result<void> DestinationMove::recover(const MoveRecord& record) {
  if (record.document == nullptr) return fail("the journal has no document of it");
  document_ = *record.document;
  document_.digest = digest_of(document_);
  offered_epoch_ = record.offered;
  new_epoch_ = record.handed;
  nonce_ = record.nonce;
  const auto endpoints = context_.store.endpoints_of_vm(status_.vm);
  const bool in_force =
      !endpoints.empty() &&
      std::ranges::all_of(endpoints, [](const EndpointRecord* e) { return e->port.valid(); });
  const bool was_active = record.state == name_of(DestinationState::kActive) ||
                          record.state == name_of(DestinationState::kOpen);
  if (was_active && in_force) return go_on();
  if (auto staged = stage(); !staged) return staged;
  recorded_ = recovered_ = true;
  why_ = "the switch was restarted";
  machine_ = DestinationMachine(context_.tables.destination, DestinationState::kStranded);
  note_step(status_, context_.clock.now_ns(), name_of(machine_.state()), {}, why_);
  if (was_active) {
    step(DestinationEvent::kRestored, "the journal has it as active");
  } else {
    act(DestinationAction::kAskSource);
  }
  return {};
}

// Its policy is in the store, with what has been changed since it came: only the window was still
// open.
Result<void> DestinationMove::go_on() {
  auto resumed = StagedImport::resume(context_.store, context_.ports, document_);
  if (!resumed) return fail(resumed.error());
  staged_ = std::move(*resumed);
  // Which of the uplinks' rules were here before it is not known any more: should it go, all of
  // them go (stayed_ is empty), as where a VM has moved away.
  recorded_ = recovered_ = policy_kept_ = published_ = true;
  why_ = "the switch was restarted";
  context_.epochs[status_.vm] = new_epoch_;
  machine_ = DestinationMachine(context_.tables.destination, DestinationState::kOpen);
  note_step(status_, context_.clock.now_ns(), name_of(machine_.state()), {}, why_);
  act(DestinationAction::kCloseWindow);
  act(DestinationAction::kAskSource);
  return {};
}

void DestinationMove::supersede() {
  step(DestinationEvent::kAbort, status_.peer + " has begun another move of it");
}

// The prepared move with its document; that it is active, with its epoch.
void DestinationMove::record() {
  JournalBatch batch;
  MoveRecord& move = batch.moves.emplace_back();
  move = {status_.id,
          status_.vm,
          status_.peer,
          MoveRole::kDestination,
          std::string(name_of(machine_.state())),
          offered_epoch_,
          new_epoch_,
          nonce_,
          {}};
  if (published_) {
    batch.epochs.emplace_back(status_.vm, new_epoch_);
    return context_.keep(std::move(batch));
  }
  move.document = std::make_shared<const Document>(document_);
  if (auto written = context_.journal.write(batch); !written) {
    return step(DestinationEvent::kJournalFailed,
                "the journal of " + context_.options.host +
                    " cannot be written: " + written.error().message);
  }
  recorded_ = true;
}

// From here on others may change it, and write down what they change.
void DestinationMove::keep_policy() {
  if (policy_kept_ || !context_.journal.keeps_policy()) return;
  policy_kept_ = true;
  JournalBatch batch;
  // With it, that it is in force: a policy that is here, and a move that may not be, would be stuck
  // after a restart.
  batch.epochs.emplace_back(status_.vm, new_epoch_);
  batch.moves.push_back({status_.id,
                         status_.vm,
                         status_.peer,
                         MoveRole::kDestination,
                         std::string(name_of(DestinationState::kActive)),
                         offered_epoch_,
                         new_epoch_,
                         nonce_,
                         {}});
  note_import(context_.store, context_.ports, status_.vm, arrived_, batch);
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

// Its rules and port go; the VM is behind the uplink again.
void DestinationMove::unpublish() {
  auto taken =
      take_out(context_.store, status_.vm, LocationKind::kUplink, context_.uplink(), false);
  if (!taken) context_.log("move " + status_.id + ": cannot give it up: " + taken.error().message);
  // With those that were made for it here since.
  std::vector<OwnedRule> going = uplink_rules_of(context_.store, status_.vm);
  std::erase_if(going, [stayed = std::set(stayed_.begin(), stayed_.end())](const OwnedRule& rule) {
    return stayed.contains(rule);
  });
  destroy_rules(context_.store, going);
  if (policy_kept_) dropped_.destroyed = std::move(going);
  for (const dataplane::Profile& profile : document_.profiles)
    (void)context_.ports.remove(staged_->port(profile.name));
  for (const auto& waiting : in_) {
    if (const auto* frame = std::get_if<dataplane::Frame>(&waiting))
      context_.gate.drop(*frame, dataplane::Drop::k_redirect_closed);
  }
  in_.clear();
  staged_.reset();
  arrived_.clear();
  stayed_.clear();
  context_.store.collect_implicit();
  published_ = false;
}

// Our own session to the source, once a second, until it says what has become of the move.
void DestinationMove::ask_source(uint64_t after_ms) {
  ask_timer_->set(after_ms, [weak = weak_from_this()] {
    auto self = weak.lock();
    if (self == nullptr) return;
    self->stop_asking();
    self->ask_source(kAskAgainMs);
    const std::string address = self->context_.address_of(self->status_.peer);
    if (address.empty()) return;
    self->context_.network.connect(address, [weak](Result<std::shared_ptr<PeerSession>> session) {
      auto move = weak.lock();
      const bool wanted = move != nullptr && move->asks();
      if (!session || !wanted || move->asking_ != nullptr) {
        if (session) (*session)->close("the source has answered");
        return;
      }
      move->asking_ = *session;
      // The session is kept by the move while it is wanted, so the callbacks hold it weakly.
      const std::weak_ptr<PeerSession> asked = *session;
      (*session)->start(
          [weak, asked](wire::Envelope& message) {
            auto asker = weak.lock();
            const auto by = asked.lock();
            if (asker && by && asker->asking_ == by) asker->on_answer(message, by);
          },
          [weak, asked](const std::string&) {
            auto asker = weak.lock();
            if (asker && asker->asking_ == asked.lock()) asker->asking_.reset();
          });
      wire::Envelope hello = move->envelope();
      *hello.mutable_hello() = make_hello(move->context_.options.host);
      move->asking_->send(hello);
    });
  });
}

void DestinationMove::on_answer(wire::Envelope& message,
                                const std::shared_ptr<PeerSession>& session) {
  const auto keep = shared_from_this();
  if (message.has_hello()) {
    if (message.hello().host() != status_.peer)
      return session->close("the peer calls itself " + message.hello().host() + ", not " +
                            status_.peer);
    wire::Envelope ask = envelope();
    // What is not in force claims nothing.
    if (!published_) ask.clear_epoch();
    ask.mutable_ask();
    return session->send(ask);
  }
  if (message.vm() != status_.vm || message.move() != status_.id)
    return session->close("peer: a message of another move (" + message.move() + ")");
  if (message.has_abort() || message.has_done()) {
    on_message(message);
    // Should it not be over: it asks again.
    if (auto answered = std::move(asking_)) answered->close_when_sent();
    asking_.reset();
    return;
  }
  // The source has taken this session for the move's.
  asking_.reset();
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
  if (auto session = std::move(asking_)) session->close_when_sent();
  asking_.reset();
}

void DestinationMove::on_message(wire::Envelope& message) {
  const auto keep = shared_from_this();
  switch (message.body_case()) {
    case wire::Envelope::kDelta: return on_delta(message.delta());
    case wire::Envelope::kHandover: return on_handover(message.handover());
    case wire::Envelope::kRevoke: return on_revoke(from_wire(message.epoch()));
    case wire::Envelope::kAbort: return on_abort(message);
    case wire::Envelope::kRedirect: return on_redirect(message.redirect());
    case wire::Envelope::kBarrier: in_.emplace_back(message.barrier().number()); return pump_in();
    case wire::Envelope::kDone: return on_done(from_wire(message.epoch()));
    default:
      if (session_ != nullptr) session_->close("peer: a message that only a destination sends");
  }
}

void DestinationMove::on_delta(const wire::Delta& delta) {
  if (staged_ == nullptr || published_ || (!delta.has_created() && !delta.has_destroyed())) return;
  const wire::Rule& rule = delta.has_created() ? delta.created() : delta.destroyed();
  if (rule.text().size() > dataplane::kMaxRuleText)
    return step(DestinationEvent::kCancel, "a rule is too long");
  const MoveDelta change{status_.id, delta.has_created(), from_wire(rule), delta.uplink()};
  Result<void> done;
  if (change.uplink) {
    done = change.created ? staged_->add_uplink_rule(change.rule)
                          : staged_->remove_uplink_rule(change.rule.owner, change.rule.id);
  } else {
    done = change.created ? staged_->add_rule(change.rule)
                          : staged_->remove_rule(change.rule.owner, change.rule.id);
  }
  if (done) done = apply(change, document_);
  if (!done)
    return step(DestinationEvent::kCancel,
                "a rule change cannot be followed here: " + done.error().message);
  JournalBatch batch;
  batch.deltas.push_back(change);
  if (auto written = context_.journal.write(batch); !written) {
    step(DestinationEvent::kJournalFailed, "the journal of " + context_.options.host +
                                               " cannot be written: " + written.error().message);
  }
}

void DestinationMove::on_handover(const wire::Handover& handover) {
  const Epoch epoch = from_wire(handover.epoch());
  const bool held = machine_.state() == DestinationState::kHandedOver;
  if ((published_ || held) && epoch < new_epoch_)
    return context_.absorb(status_.id, status_.vm, "handover", epoch, new_epoch_);
  if (!published_ &&
      (staged_ == nullptr || !is_host_name(handover.epoch().host()) || epoch <= offered_epoch_)) {
    return step(DestinationEvent::kBadHandover, "the handover's epoch " + to_string(epoch) +
                                                    " is not newer than the offer's " +
                                                    to_string(offered_epoch_));
  }
  // A source that was restarted knows of none of the frames that it sent before.
  const bool another_stream = stream_ != handover.stream();
  if (published_) {
    stream_ = handover.stream();
    if (another_stream) next_number_ = 0;
    // The source had claimed the VM, and yields.
    new_epoch_ = context_.epochs[status_.vm] = epoch;
    return step(DestinationEvent::kHandover);
  }
  if (const std::string digest = staged_->digest(); digest != handover.digest()) {
    return step(DestinationEvent::kBadHandover, "the rules handed over have digest " +
                                                    handover.digest().substr(0, 64) +
                                                    ", those prepared " + digest);
  }
  if (!handover.uplinks_digest().empty() &&
      handover.uplinks_digest() != staged_->uplinks_digest()) {
    return step(DestinationEvent::kBadHandover,
                "the uplink rules handed over are not those prepared");
  }
  new_epoch_ = epoch;
  stream_ = handover.stream();
  step(DestinationEvent::kHandover);
}

// Whether the source is to be asked: it has been lost, and how the move ends is its to say.
bool DestinationMove::asks() const {
  switch (machine_.state()) {
    case DestinationState::kStranded:
    case DestinationState::kOrphaned: return true;
    case DestinationState::kActive:
    case DestinationState::kOpen: return session_ == nullptr;
    default: return false;
  }
}

// Too late, if it is published: unless the source has the VM by a newer epoch.
void DestinationMove::on_abort(const wire::Envelope& message) {
  const Epoch its = from_wire(message.epoch());
  const std::string why =
      "aborted by " + status_.peer + ": " + message.abort().reason().substr(0, 512);
  if (!published_) return step(DestinationEvent::kAbort, why);
  if (its <= new_epoch_) return context_.absorb(status_.id, status_.vm, "abort", its, new_epoch_);
  if (rings_run()) return mint(its);
  new_epoch_ = context_.epochs[status_.vm] = its;
  step(DestinationEvent::kClaim, why);
}

// The VM runs here, whatever the source believes: ours by an epoch that is newer still, which the
// source hears next.
void DestinationMove::mint(const Epoch& newer_than) {
  new_epoch_ = context_.epochs[status_.vm] = {newer_than.counter + 1, context_.options.host};
  record();
  context_.log("move " + status_.id + " of " + status_.vm + ": ours by epoch " +
               to_string(new_epoch_) + ", newer than " + to_string(newer_than) + " of " +
               status_.peer + ", since it runs here");
}

void DestinationMove::on_revoke(const Epoch& its) {
  if (published_ && its > new_epoch_ && !rings_run()) {
    context_.log("move " + status_.id + " of " + status_.vm + ": " + status_.peer +
                 " claims it by epoch " + to_string(its) + ", newer than " + to_string(new_epoch_) +
                 ", and it does not run here");
    new_epoch_ = context_.epochs[status_.vm] = its;
    return step(DestinationEvent::kClaim, status_.peer + " has it by a newer epoch");
  }
  step(DestinationEvent::kRevoke);
}

// The source cleans up, and so do we; not when the VM has come by another way since.
void DestinationMove::on_done(const Epoch& its) {
  const bool asked = asks();
  const Epoch ours =
      published_ || machine_.state() == DestinationState::kOrphaned ? new_epoch_ : offered_epoch_;
  if (its < ours) return context_.absorb(status_.id, status_.vm, "done", its, ours);
  if (asked) new_epoch_ = its;
  step(DestinationEvent::kDone);
}

void DestinationMove::publish() {
  window_ = context_.next_window++;
  if (window_ == 0) window_ = context_.next_window++;
  auto report = staged_->publish([this](const EndpointRecord& endpoint) {
    Location location{LocationKind::kParked, endpoint.port, {}};
    location.dedupe = window_;
    return location;
  });
  if (!report)
    return context_.log("move " + status_.id + ": cannot publish: " + report.error().message);
  published_ = true;
  context_.epochs[status_.vm] = new_epoch_;
  status_.active_ns = context_.clock.now_ns();
  status_.rules_imported = document_.rules.size() + document_.uplink_rules.size();
  status_.redirected += ahead_.size();
  for (dataplane::Frame& frame : ahead_) in_.emplace_back(std::move(frame));
  ahead_.clear();
  pump_in();
}

void DestinationMove::enter() {
  if (!published_) return;
  const StagedImport::Report report = staged_->settle();
  status_.rules_imported = report.rules + document_.uplink_rules.size();
  status_.rules_rewritten = report.receive_rules;
  arrived_ = report.arrived;
  stayed_ = report.stayed;
  keep_policy();
}

void DestinationMove::locate(LocationKind kind, bool pairing) {
  if (!published_) return;
  (void)relocate(context_.store, status_.vm, true, [&](const EndpointRecord& endpoint) {
    if (!endpoint.port.valid()) return endpoint.location;
    Location location{kind, endpoint.port, {}};
    location.dedupe = pairing ? window_ : uint16_t{0};
    location.fence = fenced_;
    return location;
  });
}

// What came to the source before direct arrivals did is behind in the session, and ends with a
// barrier. What this host's own guests had sent may be in the fabric for as long, where that is
// slow just now: a quiet session does not say that nothing is to come.
void DestinationMove::watch_hold() {
  hold_timer_->set(kLookMs, [this] {
    if (++looks_ < (session_ != nullptr ? kMostLooks : kQuietLooks) && room_to_wait())
      return watch_hold();
    step(DestinationEvent::kHoldTimeout);
  });
}

// To lose frames is worse than to have them out of order.
bool DestinationMove::room_to_wait() const {
  return waiting() < context_.options.ahead.packets / 2;
}

// Whether the session has brought something since the last look.
bool DestinationMove::older_coming() {
  const bool more =
      !in_.empty() || context_.gate.injecting() || status_.redirected != redirected_before_;
  redirected_before_ = status_.redirected;
  return more;
}

// Frames that the fabric brought, in the park of that NIC which has most.
uint64_t DestinationMove::waiting() const {
  uint64_t most = 0;
  for (const dataplane::Profile& profile : document_.profiles) {
    const EndpointRecord* endpoint = context_.store.find(profile.name);
    if (endpoint != nullptr) most = std::max(most, context_.gate.parked(endpoint->id));
  }
  return most;
}

// A fabric may learn long after direct arrivals flow. What it brings from then on waits until the
// source has sent what came to it before, which the barrier behind its proof says; where there is
// no proof, as long as direct arrivals wait at first.
void DestinationMove::watch_fence() {
  if (!fenced_ || over()) return;
  fence_timer_->set(kLookMs, [this] {
    const bool waits = waiting() != 0;
    looks_ = waits ? looks_ + 1 : 0;
    quiet_looks_ = older_coming() || !waits ? 0 : quiet_looks_ + 1;
    if (quiet_looks_ >= kQuietLooks || looks_ >= kMostLooks || !room_to_wait()) return lift_fence();
    watch_fence();
  });
}

void DestinationMove::lift_fence() {
  if (!std::exchange(fenced_, false) || over()) return;
  fence_timer_->cancel();
  locate(LocationKind::kPort, true);
}

void DestinationMove::announce(size_t round) {
  const EndpointId uplink = context_.uplink();
  for (const dataplane::Profile& profile : document_.profiles) {
    for (auto& bytes : announcements(profile, nonce_)) {
      dataplane::Frame frame;
      frame.endpoint = uplink;
      frame.bytes = std::move(bytes);
      // A full ring loses one of several announcements; the next round follows.
      (void)context_.gate.emit(frame);
    }
  }
  if (round + 1 < std::size(kAnnounceAtMs)) {
    announce_timer_->set(kAnnounceAtMs[round + 1] - kAnnounceAtMs[round],
                         [this, round] { announce(round + 1); });
  }
}

void DestinationMove::on_fabric_message(const FabricMessage& message) {
  if (message.kind != FabricMessage::Kind::kProbe || message.nonce != nonce_ || !published_ ||
      over())
    return;
  const bool ours = std::ranges::any_of(document_.profiles, [&](const dataplane::Profile& profile) {
    const auto all = fabric_addresses(profile);
    return std::ranges::find(all, message.address) != all.end();
  });
  if (!ours) return;
  dataplane::Frame frame;
  frame.endpoint = context_.uplink();
  frame.bytes = echo(message.address, nonce_);
  (void)context_.gate.emit(frame);  // a full ring loses it: the source asks again
}

void DestinationMove::on_redirect(const wire::Redirect& redirect) {
  if (!published_ && machine_.state() != DestinationState::kHandedOver) return;
  const dataplane::ParkLimits& most = context_.options.ahead;
  uint64_t number = redirect.first();
  for (const wire::Frame& in : redirect.frames()) {
    auto frame = from_wire(in);
    const EndpointRecord* endpoint = frame ? context_.store.find(in.endpoint()) : nullptr;
    if (!frame || endpoint == nullptr || dataplane::vm_of(in.endpoint()) != status_.vm) {
      if (session_ != nullptr)
        session_->close(frame ? "peer: a frame for another VM" : frame.error().message);
      return;
    }
    if (number++ != next_number_) continue;
    frame->endpoint = endpoint->id;
    if (published_) {
      in_.emplace_back(std::move(*frame));
      ++status_.redirected;
    } else if (ahead_.size() < most.packets && ahead_bytes_ + frame->bytes.size() <= most.bytes) {
      ahead_bytes_ += frame->bytes.size();
      ahead_.push_back(std::move(*frame));
    } else {
      continue;
    }
    ++next_number_;
  }
  if (published_) pump_in();
}

void DestinationMove::forget_ahead() {
  if (published_) return;
  ahead_.clear();
  ahead_bytes_ = 0;
  next_number_ = 0;
}

// To the worker as far as its ring has room; the session is not read while much waits.
void DestinationMove::pump_in() {
  while (!in_.empty()) {
    if (const auto* frame = std::get_if<dataplane::Frame>(&in_.front())) {
      if (!context_.gate.inject(*frame)) {
        pump_timer_->set(1, [this] { pump_in(); });
        break;
      }
      in_.pop_front();
    } else {
      // What was injected before it must be past the worker, or direct arrivals overtake it.
      if (context_.gate.injecting()) {
        pump_timer_->set(1, [this] { pump_in(); });
        break;
      }
      barrier_ = std::get<uint32_t>(in_.front());
      in_.pop_front();
      step(DestinationEvent::kBarrier);
      if (barrier_ >= 2) lift_fence();
    }
  }
  if (session_ != nullptr) session_->pause_reading(in_.size() > kMaxWaitingIn);
  if (over()) context_.changed();
}

bool DestinationMove::rings_run() const {
  return staged_ != nullptr &&
         std::ranges::any_of(document_.profiles, [&](const dataplane::Profile& profile) {
           const auto info = context_.ports.info(staged_->port(profile.name));
           return info && info->rings_running;
         });
}

void DestinationMove::on_port_event(const dataplane::PortEvent& event) {
  if (machine_.over() || staged_ == nullptr || !staged_->owns(event.port)) return;
  if (event.kind == PortEventKind::kRingsRunning) {
    if (status_.rings_running_ns == 0 || !published_) status_.rings_running_ns = event.time_ns;
    step(DestinationEvent::kRingsRunning);
  } else if (event.kind == PortEventKind::kRingsStopped ||
             event.kind == PortEventKind::kDisconnected) {
    step(DestinationEvent::kRingsStopped);
  }
}

void DestinationMove::on_connection_lost(const std::string& reason, const PeerSession* session) {
  if (session_.get() != session) return;
  session_.reset();
  lift_fence();
  step(DestinationEvent::kConnectionLost, reason);
}

Result<void> DestinationMove::cancel() {
  const DestinationState before = machine_.state();
  if (published_ && !machine_.over() && (before != DestinationState::kOpen || session_ != nullptr))
    return fail(status_.vm + " runs here already: too late to cancel");
  if ((before == DestinationState::kStranded || before == DestinationState::kOrphaned) &&
      rings_run()) {
    return fail(status_.vm + " runs here, and " + status_.peer +
                " may have given it up: it is taken over when " + status_.peer +
                " answers, or stays silent");
  }
  if (before == DestinationState::kHandedOver) {
    return fail(status_.vm + " is handed over to this host: cancel at " + status_.peer +
                ", which then asks for it back");
  }
  step(DestinationEvent::kCancel, "cancelled at the destination");
  return {};
}

void DestinationMove::stop() {
  for (const auto* timer :
       {&hold_timer_, &fence_timer_, &window_timer_, &announce_timer_, &pump_timer_, &ask_timer_})
    (*timer)->cancel();
  if (auto session = std::move(asking_)) session->close("the switch ends");
  if (auto session = std::move(session_)) session->close("the switch ends");
  if (!published_) staged_.reset();
}

MoveStatus DestinationMove::status() const {
  MoveStatus status = status_;
  status.state = std::string(name_of(machine_.state()));
  if (machine_.state() == DestinationState::kStranded ||
      machine_.state() == DestinationState::kOrphaned) {
    status.doubt = "whether " + status_.vm + " comes here (" + why_ + "): " + status_.peer +
                   " is asked until it answers, or its rings run here";
  } else if (asks()) {
    status.doubt = status_.vm + " is here, and " + status_.peer +
                   " has not said that it knows: it is asked until it answers";
  }
  const dataplane::WindowTotals now = machine_.over() ? totals_after_ : context_.gate.totals();
  status.parked = now.parked - totals_before_.parked;
  status.park_overflow = now.park_overflow - totals_before_.park_overflow;
  status.redirect_duplicate = now.redirect_duplicate - totals_before_.redirect_duplicate;
  if (published_ && staged_ != nullptr) {
    for (const dataplane::Profile& profile : document_.profiles) {
      const PortId port = staged_->port(profile.name);
      const uint64_t first = context_.ports.first_delivery_ns(port);
      if (first != 0 && (status.first_packet_ns == 0 || first < status.first_packet_ns))
        status.first_packet_ns = first;
    }
  }
  return status;
}

}  // namespace godwit::migration
