// SPDX-License-Identifier: Apache-2.0
#include "migration/engine/late_answers.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "migration/journal/policy_record.h"
#include "migration/link/codec.h"
#include "migration/policy/withdraw.h"

namespace godwit::migration {

using dataplane::EndpointRecord;
using dataplane::LocationKind;

namespace {

// By how many counters a peer's epoch may be newer: a handover takes one, and each claim of either
// side another.
constexpr uint64_t kMostClaims = 16;

}  // namespace

bool LateAnswers::local(const std::string& vm) const {
  return std::ranges::any_of(context_.store.endpoints_of_vm(vm),
                             [](const EndpointRecord* e) { return e->port.valid(); });
}

bool LateAnswers::any_port(const std::string& vm, bool dataplane::PortInfo::*is) const {
  return std::ranges::any_of(
      context_.store.endpoints_of_vm(vm), [&](const EndpointRecord* endpoint) {
        const auto info = endpoint->port.valid() ? context_.ports.info(endpoint->port) : fail("");
        return info && (*info).*is;
      });
}

bool LateAnswers::runs(const std::string& vm) const {
  return any_port(vm, &dataplane::PortInfo::rings_running);
}

bool LateAnswers::connected(const std::string& vm) const {
  return any_port(vm, &dataplane::PortInfo::connected);
}

const SettledMove* LateAnswers::settled(const wire::Envelope& message, MoveRole role,
                                        const std::string& peer) const {
  const SettledMove* found = context_.journal.settled(message.move(), role);
  return found != nullptr && found->vm == message.vm() && found->peer == peer ? found : nullptr;
}

void LateAnswers::answer(const std::shared_ptr<PeerSession>& session, const wire::Envelope& to,
                         wire::Envelope answer) {
  answer.set_vm(to.vm());
  answer.set_move(to.move());
  to_wire(answer.has_unknown() ? Epoch{} : context_.newest_epoch(to.vm()), *answer.mutable_epoch());
  session->send(answer);
  session->close_when_sent();
}

void LateAnswers::answer_unknown(const std::shared_ptr<PeerSession>& session,
                                 const wire::Envelope& message) {
  unknown_log_.write("peer: " + session->host() + " names a move that is not known here: " +
                         message.move() + " of " + message.vm(),
                     context_.clock.now_ns() / 1'000'000);
  wire::Envelope reply;
  const std::string why = "move " + message.move() + " is not known at " + context_.options.host;
  if (session->link().version >= kVersionResume) {
    reply.mutable_unknown();
  } else if (message.has_ask()) {
    reply.mutable_abort()->set_reason(why);
  } else {
    reply.mutable_revoked()->set_reason(why);
  }
  answer(session, message, std::move(reply));
}

bool LateAnswers::explained(const Epoch& its, const Epoch& ours) {
  return its.counter <= ours.counter + kMostClaims;
}

void LateAnswers::answer_source(const std::shared_ptr<PeerSession>& session,
                                const wire::Envelope& message) {
  const Epoch its = from_wire(message.epoch());
  const Epoch ours = context_.newest_epoch(message.vm());
  const SettledMove* ended = settled(message, MoveRole::kDestination, session->host());
  if (ended == nullptr) return answer_unknown(session, message);
  if (message.has_done() || message.has_abort()) {
    return context_.absorb(message.move(), message.vm(), message.has_done() ? "done" : "abort", its,
                           ours);
  }
  wire::Envelope reply;
  const bool newer = ours < its && explained(its, ours);
  if (!ended->done) {
    reply.mutable_revoked()->set_reason("move " + message.move() + " was aborted at " +
                                        context_.options.host);
    if (its < ours) context_.absorb(message.move(), message.vm(), "a message", its, ours);
  } else if (message.has_revoke() && newer && !ended->why.empty() && local(message.vm()) &&
             !moves_.moving(message.vm())) {
    // The source owns the VM by a newer epoch. The operator of this host ended the move without
    // waiting for the source.
    if (yield_to(session->host(), message.vm(), its)) {
      reply.mutable_revoked()->set_reason(message.vm() + " is " + session->host() + "'s");
    } else {
      reply.mutable_active()->set_frames_held(kTakesNoFrames);
    }
  } else {
    // A source that had claimed the VM yields by an epoch newer than its claim.
    if (newer) note_epoch(message.vm(), its);
    reply.mutable_active()->set_frames_held(kTakesNoFrames);
  }
  answer(session, message, std::move(reply));
}

void LateAnswers::answer_destination(const std::shared_ptr<PeerSession>& session,
                                     const wire::Envelope& message) {
  const std::string& vm = message.vm();
  const Epoch its = from_wire(message.epoch());
  const SettledMove* ended = settled(message, MoveRole::kSource, session->host());
  if (ended == nullptr) return answer_unknown(session, message);
  // A destination that has the VM in force sends its epoch. If that epoch is ours and the VM is not
  // here, this host has yielded before.
  const Epoch ours = context_.newest_epoch(vm);
  const bool here = local(vm);
  const bool newer =
      explained(its, ours) && (its > ours || (its == ours && its.counter > 0 && !here));
  if (newer && here && moves_.moving(vm))
    return session->close_when_sent();  // the destination asks again
  wire::Envelope reply;
  if (ended->done) {
    if (newer && !here) note_epoch(vm, its);
    reply.mutable_done();
  } else if (newer && yield_to(session->host(), vm, its)) {
    reply.mutable_done();
  } else {
    reply.mutable_abort()->set_reason("at " + context_.options.host + ": " +
                                      (ended->why.empty() ? "aborted" : ended->why));
  }
  answer(session, message, std::move(reply));
}

void LateAnswers::note_epoch(const std::string& vm, const Epoch& newer) {
  JournalBatch batch;
  batch.epochs.emplace_back(vm, newer);
  context_.epochs[vm] = newer;
  context_.keep(std::move(batch));
}

bool LateAnswers::yield_to(const std::string& peer, const std::string& vm, const Epoch& newer) {
  if (runs(vm)) {
    claim(peer, vm, newer);
    return false;
  }
  // The VM may only be starting again here. The peer asks again.
  if (connected(vm)) return false;
  JournalBatch batch;
  if (local(vm)) {
    std::vector<PortId> ports;
    for (const EndpointRecord* endpoint : context_.store.endpoints_of_vm(vm))
      ports.push_back(endpoint->port);
    if (!take_out(context_.store, vm, LocationKind::kUplink, context_.uplink(), false))
      return false;
    auto removed = remove_uplink_rules(context_.store, vm);
    if (context_.journal.keeps_policy()) batch.destroyed = std::move(removed);
    for (const PortId port : ports) (void)context_.ports.remove(port);
    context_.store.collect_implicit();
    context_.log(vm + " has gone to " + peer + " by epoch " + to_string(newer) + ", newer than " +
                 to_string(context_.newest_epoch(vm)) + ", and does not run here");
    if (context_.journal.keeps_policy()) note_vm(context_.store, context_.ports, vm, batch);
  }
  batch.epochs.emplace_back(vm, newer);
  context_.epochs[vm] = newer;
  context_.keep(std::move(batch));
  return true;
}

void LateAnswers::claim(const std::string& peer, const std::string& vm, const Epoch& newer) {
  const Epoch claimed = next_epoch(newer, context_.options.host);
  JournalBatch batch;
  batch.epochs.emplace_back(vm, claimed);
  if (auto written = context_.journal.write(batch); !written) return;
  context_.epochs[vm] = claimed;
  context_.log(vm + " runs here: ours by epoch " + to_string(claimed) + ", newer than " +
               to_string(newer) + " of " + peer);
}

}  // namespace godwit::migration
