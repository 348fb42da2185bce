// SPDX-License-Identifier: Apache-2.0
//
// What the driver says to those who connect: strangers until they name a move, sources that come
// back, destinations that ask or pull.
#include <algorithm>
#include <utility>

#include "migration/engine/engine_impl.h"
#include "migration/journal/policy_record.h"
#include "migration/link/codec.h"
#include "migration/link/peer.h"
#include "migration/policy/rewriting.h"

namespace godwit::migration {

using dataplane::EndpointRecord;
using dataplane::LocationKind;

namespace {

constexpr size_t kMaxStrangers =
    4096;  // sessions that have not said what they want; the network has limits of its own

}  // namespace

void Engine::Impl::welcome(std::shared_ptr<PeerSession> session) {
  if (strangers.size() >= kMaxStrangers) return session->close("too many connections at once");
  strangers.insert(session);
  const std::weak_ptr<PeerSession> weak = session;
  session->start(
      [this, weak](wire::Envelope& message) {
        if (auto stranger = weak.lock()) introduce(stranger, message);
      },
      [this, weak, watch = std::weak_ptr<int>(alive)](const std::string& reason) {
        if (watch.expired()) return;
        const auto stranger = weak.lock();
        if (stranger == nullptr || strangers.erase(stranger) == 0) return;
        const std::string who = stranger->link().address +
                                (stranger->host().empty() ? "" : " (" + stranger->host() + ")");
        const std::string why = reason.starts_with("peer: ") ? reason.substr(6) : reason;
        // Who has said hello and then hangs up has pinged, or asked and been answered.
        if (!stranger->host().empty() &&
            (reason == "closed" || reason == "the peer closed the connection"))
          return;
        stranger_log.write(
            "peer: the connection from " + who + " ended before it was of use: " + why,
            context.clock.now_ns() / 1'000'000);
      });
}

void Engine::Impl::introduce(const std::shared_ptr<PeerSession>& session, wire::Envelope& message) {
  if (message.has_hello()) {
    if (!context.options.peers.contains(message.hello().host())) {
      return session->close("peer: host " + message.hello().host().substr(0, kMaxHostName) +
                            " is not among this switch's peers");
    }
    wire::Envelope hello;
    *hello.mutable_hello() = make_hello(context.options.host);
    return session->send(hello);
  }
  if (message.has_pull()) return answer_pull(session, message);
  if (message.has_ask()) return answer_ask(session, message);
  auto move = find_incoming(message.vm(), message.move());
  if (message.has_offer()) {
    for (const auto& other : incoming) {
      if (other->vm() == message.vm() && other->id() != message.move() &&
          other->peer() == session->host())
        other->supersede();
    }
    if (move != nullptr)
      return session->close("peer: move " + message.move() + " was offered before");
    move =
        std::make_shared<DestinationMove>(context, message.vm(), session->host(), message.move());
    own(session, move);
    move->attach(session);
    if (const std::string reason = refuse_offer(message, session->host()); !reason.empty()) {
      context.log("move " + message.move() + " of " + message.vm() + " from " + session->host() +
                  " is refused: " + reason);
      wire::Envelope refused;
      refused.set_vm(message.vm());
      refused.set_move(message.move());
      refused.mutable_refused()->add_reasons(reason);
      session->send(refused);
      return session->close_when_sent();
    }
    incoming.push_back(move);
    for (const auto& pull : pulls) {
      if (pull->status().id == message.move() && pull->status().peer == session->host())
        pull->arrived();
    }
    move->on_offer(message.offer());
  } else if (move != nullptr) {
    own(session, move);
    move->attach(session);
    move->on_message(message);
  } else {
    answer_unknown(session, message);
  }
  sweep();
}

std::string Engine::Impl::refuse_offer(const wire::Envelope& message,
                                       const std::string& peer) const {
  if (!may_move_in(peer))
    return context.options.host + " takes no VMs from " + peer + " (migration.allow_in)";
  if (auto good = dataplane::check_endpoint_name(message.vm()); !good)
    return "bad VM name: expected " + good.error().expected;
  if (moving(message.vm()))
    return message.vm() + " is part of another move at " + context.options.host;
  if (incoming.size() >= context.options.max_incoming) {
    return context.options.host + " takes no more moves at once than " +
           std::to_string(context.options.max_incoming);
  }
  return {};
}

void Engine::Impl::own(const std::shared_ptr<PeerSession>& session,
                       const std::shared_ptr<DestinationMove>& move) {
  strangers.erase(session);
  const std::weak_ptr<DestinationMove> weak = move;
  session->hand_over(
      [this, weak](wire::Envelope& message) {
        auto found = weak.lock();
        if (found == nullptr || message.vm() != found->vm() || message.move() != found->id())
          return;
        found->on_message(message);
        sweep();
      },
      [this, weak, raw = session.get(),
       watch = std::weak_ptr<int>(alive)](const std::string& reason) {
        if (watch.expired()) return;
        if (auto found = weak.lock()) found->on_connection_lost(reason, raw);
        sweep_later();
      });
}

void Engine::Impl::answer_unknown(const std::shared_ptr<PeerSession>& session,
                                  const wire::Envelope& message) {
  wire::Envelope answer;
  answer.set_vm(message.vm());
  answer.set_move(message.move());
  const Epoch its = from_wire(message.epoch());
  Epoch ours = context.newest_epoch(message.vm());
  const SettledMove* settled = context.journal.settled(message.move(), MoveRole::kDestination);
  const bool known =
      settled != nullptr && settled->vm == message.vm() && settled->peer == session->host();
  if (message.has_done() || message.has_abort()) {
    return context.absorb(message.move(), message.vm(), message.has_done() ? "done" : "abort", its,
                          ours);
  }
  if (message.has_revoke() && ours < its && here(message.vm()) && !moving(message.vm())) {
    // The source has it by a newer epoch, and the operator of this host has not waited to hear of
    // it.
    if (give_way(message.vm(), session->host(), its)) {
      answer.mutable_revoked()->set_reason(message.vm() + " is " + session->host() + "'s");
    } else {
      answer.mutable_active()->set_frames_held(kTakesNoFrames);
    }
    ours = context.newest_epoch(message.vm());
  } else if (known && settled->done) {
    if (ours < its) {
      // The source had claimed the VM, and yields by an epoch newer than its claim.
      JournalBatch batch;
      batch.epochs.emplace_back(message.vm(), its);
      context.keep(std::move(batch));
      ours = context.epochs[message.vm()] = its;
    }
    answer.mutable_active()->set_frames_held(kTakesNoFrames);
  } else {
    const std::string what = known ? " was aborted at " : " is not known at ";
    answer.mutable_revoked()->set_reason("move " + message.move() + what + context.options.host);
    if (its < ours) context.absorb(message.move(), message.vm(), "a message", its, ours);
  }
  to_wire(ours, *answer.mutable_epoch());
  session->send(answer);
  session->close_when_sent();
}

void Engine::Impl::answer_ask(const std::shared_ptr<PeerSession>& session,
                              const wire::Envelope& message) {
  for (const auto& move : outgoing) {
    if (move->vm() != message.vm() || move->id() != message.move() ||
        move->peer() != session->host())
      continue;
    strangers.erase(session);
    if (move->attach(session)) return;
    strangers.insert(session);
    if (move->settled()) break;
    return session->close_when_sent();  // it asks again
  }
  wire::Envelope answer;
  answer.set_vm(message.vm());
  answer.set_move(message.move());
  const Epoch its = from_wire(message.epoch());
  const SettledMove* settled = context.journal.settled(message.move(), MoveRole::kSource);
  const bool known =
      settled != nullptr && settled->vm == message.vm() && settled->peer == session->host();
  // One that has it in force says its epoch. Ours, and the VM is not here: we know already.
  const Epoch ours = context.newest_epoch(message.vm());
  const bool newer = its > ours || (its == ours && its.counter > 0 && !here(message.vm()));
  if (newer && here(message.vm()) && moving(message.vm()))
    return session->close_when_sent();  // it asks again
  if (newer ? give_way(message.vm(), session->host(), its) : known && settled->done) {
    answer.mutable_done();
    to_wire(std::max(its, context.newest_epoch(message.vm())), *answer.mutable_epoch());
    session->send(answer);
    return session->close_when_sent();
  } else {
    const std::string why = !known ? "not known" : settled->why.empty() ? "aborted" : settled->why;
    answer.mutable_abort()->set_reason("at " + context.options.host + ": " + why);
  }
  to_wire(context.newest_epoch(message.vm()), *answer.mutable_epoch());
  session->send(answer);
  session->close_when_sent();
}

bool Engine::Impl::give_way(const std::string& vm, const std::string& peer, const Epoch& its) {
  const auto endpoints = context.store.endpoints_of_vm(vm);
  const bool runs = std::ranges::any_of(endpoints, [&](const EndpointRecord* endpoint) {
    const auto info = endpoint->port.valid() ? context.ports.info(endpoint->port) : fail("");
    return info && info->rings_running;
  });
  JournalBatch batch;
  if (runs) {
    const Epoch minted{its.counter + 1, context.options.host};
    batch.epochs.emplace_back(vm, minted);
    if (auto written = context.journal.write(batch); !written) return false;
    context.epochs[vm] = minted;
    context.log(vm + " runs here: ours by epoch " + to_string(minted) + ", newer than " +
                to_string(its) + " of " + peer);
    return false;
  }
  if (here(vm)) {
    std::vector<PortId> ports;
    for (const EndpointRecord* endpoint : endpoints) ports.push_back(endpoint->port);
    if (!take_out(context.store, vm, LocationKind::kUplink, context.uplink(), false)) return false;
    auto removed = remove_uplink_rules(context.store, vm);
    if (context.journal.keeps_policy()) batch.destroyed = std::move(removed);
    for (const PortId port : ports) (void)context.ports.remove(port);
    context.store.collect_implicit();
    context.log(vm + " has gone to " + peer + " by epoch " + to_string(its) + ", newer than " +
                to_string(context.newest_epoch(vm)) + ", and does not run here");
    if (context.journal.keeps_policy()) note_vm(context.store, context.ports, vm, batch);
  }
  batch.epochs.emplace_back(vm, its);
  context.epochs[vm] = its;
  context.keep(std::move(batch));
  return true;
}

void Engine::Impl::answer_pull(const std::shared_ptr<PeerSession>& session,
                               const wire::Envelope& message) {
  wire::Envelope answer;
  answer.set_vm(message.vm());
  answer.set_move(message.move());
  Result<std::string> started = fail("");
  if (auto good = dataplane::check_endpoint_name(message.vm()); !good) {
    started = fail("bad VM name: expected " + good.error().expected);
  } else if (message.move().empty() || known(message.move())) {
    started = fail("a move with the id \"" + message.move() + "\" was here before");
  } else {
    started = start(message.vm(), session->host(), message.move(), {});
  }
  if (started) {
    answer.mutable_pulled();
    context.log("pull " + message.move() + " of " + message.vm() + " by " + session->host() +
                ": begun");
  } else {
    const Error& error = started.error();
    answer.mutable_refused()->add_reasons(error.message +
                                          (error.token.empty() ? "" : ": " + error.token));
    context.log("pull " + message.move() + " by " + session->host() + " refused: " + error.message);
  }
  session->send(answer);
  session->close_when_sent();
}

}  // namespace godwit::migration
