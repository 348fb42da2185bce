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

bool LateAnswers::local(const std::string& vm) const {
  return std::ranges::any_of(context_.store.endpoints_of_vm(vm),
                             [](const EndpointRecord* e) { return e->port.valid(); });
}

bool LateAnswers::runs(const std::string& vm) const {
  return std::ranges::any_of(
      context_.store.endpoints_of_vm(vm), [&](const EndpointRecord* endpoint) {
        const auto info = endpoint->port.valid() ? context_.ports.info(endpoint->port) : fail("");
        return info && info->rings_running;
      });
}

const SettledMove* LateAnswers::settled(const wire::Envelope& message, MoveRole role,
                                        const std::string& peer) const {
  const SettledMove* found = context_.journal.settled(message.move(), role);
  return found != nullptr && found->vm == message.vm() && found->peer == peer ? found : nullptr;
}

void LateAnswers::answer_source(const std::shared_ptr<PeerSession>& session,
                                const wire::Envelope& message) {
  const Epoch its = from_wire(message.epoch());
  Epoch ours = context_.newest_epoch(message.vm());
  if (message.has_done() || message.has_abort()) {
    return context_.absorb(message.move(), message.vm(), message.has_done() ? "done" : "abort", its,
                           ours);
  }
  wire::Envelope answer;
  answer.set_vm(message.vm());
  answer.set_move(message.move());
  const SettledMove* ended = settled(message, MoveRole::kDestination, session->host());
  if (message.has_revoke() && ours < its && local(message.vm()) && !moves_.moving(message.vm())) {
    // The source owns the VM by a newer epoch. The operator of this host ended the move without
    // waiting for the source.
    if (yield_to(session->host(), message.vm(), its)) {
      answer.mutable_revoked()->set_reason(message.vm() + " is " + session->host() + "'s");
    } else {
      answer.mutable_active()->set_frames_held(kTakesNoFrames);
    }
    ours = context_.newest_epoch(message.vm());
  } else if (ended != nullptr && ended->done) {
    if (ours < its) {
      // The source had claimed the VM, and yields by an epoch newer than its claim.
      JournalBatch batch;
      batch.epochs.emplace_back(message.vm(), its);
      context_.keep(std::move(batch));
      ours = context_.epochs[message.vm()] = its;
    }
    answer.mutable_active()->set_frames_held(kTakesNoFrames);
  } else {
    const std::string what = ended != nullptr ? " was aborted at " : " is not known at ";
    answer.mutable_revoked()->set_reason("move " + message.move() + what + context_.options.host);
    if (its < ours) context_.absorb(message.move(), message.vm(), "a message", its, ours);
  }
  to_wire(ours, *answer.mutable_epoch());
  session->send(answer);
  session->close_when_sent();
}

void LateAnswers::answer_destination(const std::shared_ptr<PeerSession>& session,
                                     const wire::Envelope& message) {
  wire::Envelope answer;
  answer.set_vm(message.vm());
  answer.set_move(message.move());
  const Epoch its = from_wire(message.epoch());
  const SettledMove* ended = settled(message, MoveRole::kSource, session->host());
  // A destination that has the VM in force sends its epoch. If that epoch is ours and the VM is not
  // here, this host has yielded before.
  const Epoch ours = context_.newest_epoch(message.vm());
  const bool newer = its > ours || (its == ours && its.counter > 0 && !local(message.vm()));
  if (newer && local(message.vm()) && moves_.moving(message.vm()))
    return session->close_when_sent();  // the destination asks again
  if (newer ? yield_to(session->host(), message.vm(), its) : ended != nullptr && ended->done) {
    answer.mutable_done();
    to_wire(std::max(its, context_.newest_epoch(message.vm())), *answer.mutable_epoch());
  } else {
    const std::string why = ended == nullptr     ? "not known"
                            : ended->why.empty() ? "aborted"
                                                 : ended->why;
    answer.mutable_abort()->set_reason("at " + context_.options.host + ": " + why);
    to_wire(context_.newest_epoch(message.vm()), *answer.mutable_epoch());
  }
  session->send(answer);
  session->close_when_sent();
}

bool LateAnswers::yield_to(const std::string& peer, const std::string& vm, const Epoch& newer) {
  if (runs(vm)) {
    claim(peer, vm, newer);
    return false;
  }
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
