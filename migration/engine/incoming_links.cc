// SPDX-License-Identifier: Apache-2.0
#include "migration/engine/incoming_links.h"

#include <utility>

#include "migration/link/codec.h"
#include "migration/link/peer_address.h"

namespace godwit::migration {

IncomingLinks::IncomingLinks(MoveContext& context, const PeerDirectory& peers, MoveRegistry& moves,
                             MoveStarter& starter, std::function<void()> retire)
    : context_(context),
      peers_(peers),
      moves_(moves),
      starter_(starter),
      retire_(std::move(retire)),
      late_answers_(context, moves),
      pending_log_([&context](const std::string& line) { context.log(line); }) {}

Result<void> IncomingLinks::listen() {
  const MigrationOptions& options = context_.options;
  if (options.listen.empty()) return {};
  auto address = parse_address(options.listen);
  if (!address) return fail(address.error());
  if (!address->address().is_loopback() && !options.plaintext_anywhere && !options.encrypted) {
    return fail("migration.listen " + options.listen +
                " is not a loopback address: plaintext beyond it needs `plaintext: anywhere`");
  }
  return context_.network.listen(options.listen,
                                 [this, watch = std::weak_ptr<int>(alive_)](SessionPtr session) {
                                   if (!watch.expired()) accept(std::move(session));
                                 });
}

void IncomingLinks::stop() {
  context_.network.stop_listening();
  alive_.reset();
  const auto pending = std::exchange(pending_, {});
  for (const SessionPtr& session : pending) session->close("the switch ends");
}

void IncomingLinks::accept(SessionPtr session) {
  if (pending_.size() >= kMaxPendingConnections)
    return session->close("too many connections at once");
  pending_.insert(session);
  const std::weak_ptr<PeerSession> weak = session;
  session->start(
      [this, weak](wire::Envelope& message) {
        if (const auto pending = weak.lock()) introduce(pending, message);
      },
      [this, weak, watch = std::weak_ptr<int>(alive_)](const std::string& reason) {
        if (watch.expired()) return;
        if (const auto pending = weak.lock()) on_pending_closed(pending, reason);
      });
}

void IncomingLinks::on_pending_closed(const SessionPtr& session, const std::string& reason) {
  if (pending_.erase(session) == 0) return;
  // A peer that closes after its hello sent pings, or an ask that was answered.
  if (!session->host().empty() &&
      (reason == "closed" || reason == "the peer closed the connection"))
    return;
  const std::string who =
      session->link().address + (session->host().empty() ? "" : " (" + session->host() + ")");
  const std::string why = reason.starts_with("peer: ") ? reason.substr(6) : reason;
  pending_log_.write("peer: the pending connection from " + who + " ended: " + why,
                     context_.clock.now_ns() / 1'000'000);
}

void IncomingLinks::introduce(const SessionPtr& session, wire::Envelope& message) {
  if (message.has_hello()) return answer_hello(session, message.hello());
  if (message.has_pull()) return on_pull(session, message);
  if (message.has_ask()) return on_ask(session, message);
  if (message.has_offer()) {
    on_offer(session, message);
  } else if (const auto move =
                 moves_.find_incoming(message.vm(), message.move(), session->host())) {
    resume(session, move, message);
  } else {
    late_answers_.answer_source(session, message);
    retire_();
  }
}

void IncomingLinks::answer_hello(const SessionPtr& session, const wire::Hello& hello) {
  if (!context_.options.peers.contains(hello.host())) {
    return session->close("peer: host " + hello.host().substr(0, kMaxHostName) +
                          " is not among this switch's peers");
  }
  wire::Envelope answer;
  *answer.mutable_hello() = make_hello(context_.options.host);
  session->send(answer);
}

void IncomingLinks::resume(const SessionPtr& session, const std::shared_ptr<DestinationMove>& move,
                           wire::Envelope& message) {
  assign(session, move);
  move->attach(session);
  move->on_message(message);
  retire_();
}

void IncomingLinks::on_offer(const SessionPtr& session, wire::Envelope& message) {
  const auto offered_before = moves_.find_incoming(message.vm(), message.move(), session->host());
  const Epoch offered = from_wire(message.offer().epoch());
  for (const auto& other : moves_.incoming()) {
    if (other->vm() != message.vm() || other->id() == message.move()) continue;
    if (other->peer() == session->host() ||
        (peers_.may_move_in(session->host()) && other->outrun_by(offered)))
      other->supersede(session->host() + " has begun another move of it");
  }
  if (offered_before != nullptr) return resume(session, offered_before, message);
  if (const std::string reason = check_offer(message, session->host()); !reason.empty())
    return refuse(session, message, reason);
  const auto move =
      std::make_shared<DestinationMove>(context_, message.vm(), session->host(), message.move());
  assign(session, move);
  move->attach(session);
  moves_.add(move);
  for (const auto& pull : moves_.pulls()) {
    if (pull->status().id == message.move() && pull->status().peer == session->host())
      pull->arrived();
  }
  move->on_offer(message.offer());
  retire_();
}

std::string IncomingLinks::check_offer(const wire::Envelope& offer, const std::string& peer) const {
  if (!peers_.may_move_in(peer))
    return context_.options.host + " takes no VMs from " + peer + " (migration.allow_in)";
  if (auto good = dataplane::check_endpoint_name(offer.vm()); !good)
    return "bad VM name: expected " + good.error().expected;
  if (offer.move().empty()) return "an offer without the id of a move";
  if (moves_.moving(offer.vm()))
    return offer.vm() + " is part of another move at " + context_.options.host;
  if (moves_.incoming().size() >= context_.options.max_incoming) {
    return context_.options.host + " takes no more moves at once than " +
           std::to_string(context_.options.max_incoming);
  }
  return {};
}

void IncomingLinks::refuse(const SessionPtr& session, const wire::Envelope& offer,
                           const std::string& reason) {
  pending_.erase(session);
  session->hand_over([](wire::Envelope&) {},
                     [this, watch = std::weak_ptr<int>(alive_)](const std::string&) {
                       if (!watch.expired()) context_.changed();
                     });
  context_.log("move " + offer.move() + " of " + offer.vm() + " from " + session->host() +
               " is refused: " + reason);
  wire::Envelope refused;
  refused.set_vm(offer.vm());
  refused.set_move(offer.move());
  refused.mutable_refused()->add_reasons(reason);
  session->send(refused);
  session->close_when_sent();
}

void IncomingLinks::assign(const SessionPtr& session,
                           const std::shared_ptr<DestinationMove>& move) {
  pending_.erase(session);
  const std::weak_ptr<DestinationMove> weak = move;
  session->hand_over(
      [this, weak](wire::Envelope& message) {
        auto found = weak.lock();
        if (found == nullptr || message.vm() != found->vm() || message.move() != found->id())
          return;
        found->on_message(message);
        retire_();
      },
      [this, weak, raw = session.get(),
       watch = std::weak_ptr<int>(alive_)](const std::string& reason) {
        if (watch.expired()) return;
        if (auto found = weak.lock()) found->on_connection_lost(reason, raw);
        context_.changed();
      });
}

void IncomingLinks::on_ask(const SessionPtr& session, const wire::Envelope& message) {
  for (const auto& move : moves_.outgoing()) {
    if (move->vm() != message.vm() || move->id() != message.move() ||
        move->peer() != session->host())
      continue;
    pending_.erase(session);
    if (move->attach(session)) return;
    pending_.insert(session);
    if (move->settled()) break;
    return session->close_when_sent();  // the destination asks again
  }
  late_answers_.answer_destination(session, message);
}

void IncomingLinks::on_pull(const SessionPtr& session, const wire::Envelope& message) {
  wire::Envelope answer;
  answer.set_vm(message.vm());
  answer.set_move(message.move());
  Result<std::string> started = fail("");
  if (auto good = dataplane::check_endpoint_name(message.vm()); !good) {
    started = fail("bad VM name: expected " + good.error().expected);
  } else if (message.move().empty() || moves_.known(message.move())) {
    started = fail("a move with the id \"" + message.move() + "\" was here before");
  } else if (!peers_.may_pull(session->host())) {
    started = fail(session->host() + " may not pull VMs from " + context_.options.host +
                   " (migration.allow_pull)");
  } else if (!late_answers_.runs(message.vm())) {
    started = fail(message.vm() + " does not run at " + context_.options.host +
                   ": only the operator there may move it (`migrate start`)");
  } else {
    started = starter_.start(message.vm(), session->host(), message.move(), {});
  }
  if (started) {
    answer.mutable_pulled();
    context_.log("pull " + message.move() + " of " + message.vm() + " by " + session->host() +
                 ": begun");
  } else {
    const Error& error = started.error();
    answer.mutable_refused()->add_reasons(error.message +
                                          (error.token.empty() ? "" : ": " + error.token));
    context_.log("pull " + message.move() + " by " + session->host() +
                 " refused: " + error.message);
  }
  session->send(answer);
  session->close_when_sent();
}

}  // namespace godwit::migration
