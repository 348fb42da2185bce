// SPDX-License-Identifier: Apache-2.0
#include "migration/driver.h"

#include <algorithm>
#include <cstdio>
#include <deque>
#include <set>
#include <utility>

#include "migration/announce.h"
#include "migration/destination_move.h"
#include "migration/log_limit.h"
#include "migration/move_context.h"
#include "migration/peer.h"
#include "migration/policy_record.h"
#include "migration/pull_request.h"
#include "migration/source_move.h"

namespace godwit::migration {

using dataplane::EndpointKind;
using dataplane::EndpointRecord;
using dataplane::Location;
using dataplane::LocationKind;

namespace {

constexpr size_t kMaxStrangers = 4096;   // sessions that have not said what they want; the network has limits of its own
constexpr size_t kMaxQueued = 65536;     // moves that wait for their turn
constexpr size_t kMaxPulls = 256;
constexpr size_t kMaxPingsAtOnce = 64;
constexpr uint64_t kPingTimeoutMs = 5000;
constexpr size_t kMaxEvacuations = 16;
constexpr size_t kTakeAtOnce = 256;
constexpr uint64_t kFlushMs = 1000;      // a disk that was full is tried again

std::string new_move_id(Network& network) {
  char text[17];
  std::snprintf(text, sizeof(text), "%016llx", static_cast<unsigned long long>(network.random()));
  return text;
}

// An import by hand that cannot be stored: the VM is behind the uplink again.
void give_back(dataplane::PolicyStore& store, dataplane::Ports& ports, EndpointId uplink, const std::string& vm, const std::vector<OwnedRule>& arrived,
               const StagedImport::Bindings& bindings) {
  std::vector<PortId> made;
  for (const EndpointRecord* endpoint : store.endpoints_of_vm(vm)) {
    const auto given = bindings.find(endpoint->profile.name);
    if (given != bindings.end() && !given->second.port.valid()) made.push_back(endpoint->port);
  }
  (void)take_out(store, vm, LocationKind::kUplink, uplink, false);
  destroy_rules(store, arrived);
  for (const PortId port : made) (void)ports.remove(port);
  store.collect_implicit();
}

}  // namespace

struct Driver::Impl {
  MemoryJournal nothing;  // where there is no journal
  MoveContext context;
  std::unique_ptr<Timer> gate_timer, flush_timer;
  std::vector<std::shared_ptr<SourceMove>> outgoing;
  std::vector<std::shared_ptr<DestinationMove>> incoming;
  struct Queued {
    MoveStatus status;
    std::string address;
  };
  std::deque<Queued> queued;  // moves from here that wait: for others to be prepared, or for what goes back to their VM
  std::vector<std::shared_ptr<PullRequest>> pulls;
  std::vector<std::shared_ptr<PeerPing>> pings;
  std::deque<EvacuationStatus> evacuations;  // total, done, failed and rules are kept; the rest is counted when asked
  struct Stuck {
    MoveStatus status;
    MoveRole role;
  };
  std::vector<Stuck> stuck;  // of the journal, but they cannot be taken up
  std::deque<MoveStatus> finished;
  bool sweep_waits = false;
  std::set<std::shared_ptr<PeerSession>> strangers;
  LogLimit stranger_log{[this](const std::string& line) { context.log(line); }};
  std::vector<dataplane::Frame> taken;
  std::shared_ptr<int> alive = std::make_shared<int>(0);

  Impl(Network& network, DriverOptions options, dataplane::PolicyStore& store, dataplane::Ports& ports,
       dataplane::PacketGate& gate, const Clock& clock, Driver::Log log, Journal* journal, MoveTables tables)
      : context{network, std::move(options), store, ports, gate, clock, std::move(log), journal == nullptr ? nothing : *journal,
                tables, {}, 1, {}, {}, {}, {}},
        gate_timer(network.timer()),
        flush_timer(network.timer()) {
    context.epochs = context.journal.epochs();
    context.journal_waits = [this](const std::string& why) {
      context.log("journal: cannot be written, so a restart would have to ask the peers again: " + why);
      flush_later();
    };
    context.pump = [this] { pump(); };
    context.changed = [this] { sweep_later(); };
    context.store.on_rule_change([this](const dataplane::RuleChange& change) {
      for (const auto& move : outgoing) move->on_rule_change(change);
    });
  }
  ~Impl() { context.store.on_rule_change(nullptr); }

  void flush_later() {
    flush_timer->set(kFlushMs, [this] {
      if (context.journal.flush()) return context.log("journal: written again");
      flush_later();
    });
  }

  // Somebody connected. Until it says which move it means it is one of a bounded number of strangers.
  void welcome(std::shared_ptr<PeerSession> session) {
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
          const std::string who = stranger->link().address + (stranger->host().empty() ? "" : " (" + stranger->host() + ")");
          const std::string why = reason.starts_with("peer: ") ? reason.substr(6) : reason;
          // Who has said hello and then hangs up has pinged, or asked and been answered.
          if (!stranger->host().empty() && (reason == "closed" || reason == "the peer closed the connection")) return;
          stranger_log.write("peer: the connection from " + who + " ended before it was of use: " + why, context.clock.now_ns() / 1'000'000);
        });
  }

  void introduce(const std::shared_ptr<PeerSession>& session, wire::Envelope& message) {
    if (message.has_hello()) {
      if (!context.options.peers.contains(message.hello().host())) {
        return session->close("peer: host " + message.hello().host().substr(0, kMaxHostName) + " is not among this switch's peers");
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
        if (other->vm() == message.vm() && other->id() != message.move() && other->peer() == session->host()) other->supersede();
      }
      if (move != nullptr) return session->close("peer: move " + message.move() + " was offered before");
      move = std::make_shared<DestinationMove>(context, message.vm(), session->host(), message.move());
      own(session, move);
      move->attach(session);
      if (const std::string reason = refuse_offer(message, session->host()); !reason.empty()) {
        context.log("move " + message.move() + " of " + message.vm() + " from " + session->host() + " is refused: " + reason);
        wire::Envelope refused;
        refused.set_vm(message.vm());
        refused.set_move(message.move());
        refused.mutable_refused()->add_reasons(reason);
        session->send(refused);
        return session->close_when_sent();
      }
      incoming.push_back(move);
      for (const auto& pull : pulls) {
        if (pull->status().id == message.move() && pull->status().peer == session->host()) pull->arrived();
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

  [[nodiscard]] bool may_move_in(const std::string& peer) const {
    const DriverOptions& options = context.options;
    return options.peers.contains(peer) && (!options.allow_in || options.allow_in->contains(peer));
  }
  [[nodiscard]] bool may_move_out(const std::string& peer) const {
    const DriverOptions& options = context.options;
    return options.peers.contains(peer) && (!options.allow_out || options.allow_out->contains(peer));
  }

  std::string refuse_offer(const wire::Envelope& message, const std::string& peer) const {
    if (!may_move_in(peer)) return context.options.host + " takes no VMs from " + peer + " (migration.allow_in)";
    if (auto good = dataplane::check_endpoint_name(message.vm()); !good) return "bad VM name: expected " + good.error().expected;
    if (moving(message.vm())) return message.vm() + " is part of another move at " + context.options.host;
    if (incoming.size() >= context.options.max_incoming) {
      return context.options.host + " takes no more moves at once than " + std::to_string(context.options.max_incoming);
    }
    return {};
  }

  // From here on the session's messages go to the move.
  void own(const std::shared_ptr<PeerSession>& session, const std::shared_ptr<DestinationMove>& move) {
    strangers.erase(session);
    const std::weak_ptr<DestinationMove> weak = move;
    session->hand_over(
        [this, weak](wire::Envelope& message) {
          auto found = weak.lock();
          if (found == nullptr || message.vm() != found->vm() || message.move() != found->id()) return;
          found->on_message(message);
          sweep();
        },
        [this, weak, raw = session.get(), watch = std::weak_ptr<int>(alive)](const std::string& reason) {
          if (watch.expired()) return;
          if (auto found = weak.lock()) found->on_connection_lost(reason, raw);
          sweep_later();
        });
  }

  // A source that comes back after this switch has settled the move, or has never heard of it.
  void answer_unknown(const std::shared_ptr<PeerSession>& session, const wire::Envelope& message) {
    wire::Envelope answer;
    answer.set_vm(message.vm());
    answer.set_move(message.move());
    const Epoch its = from_wire(message.epoch());
    Epoch ours = context.newest_epoch(message.vm());
    const SettledMove* settled = context.journal.settled(message.move(), MoveRole::kDestination);
    const bool known = settled != nullptr && settled->vm == message.vm() && settled->peer == session->host();
    if (message.has_done() || message.has_abort()) {
      return context.absorb(message.move(), message.vm(), message.has_done() ? "done" : "abort", its, ours);
    }
    if (message.has_revoke() && ours < its && here(message.vm()) && !moving(message.vm())) {
      // The source has it by a newer epoch, and the operator of this host has not waited to hear of it.
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

  // A destination that has lost us. A move that goes on takes the session, and answers by what it says next.
  void answer_ask(const std::shared_ptr<PeerSession>& session, const wire::Envelope& message) {
    for (const auto& move : outgoing) {
      if (move->vm() != message.vm() || move->id() != message.move() || move->peer() != session->host()) continue;
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
    const bool known = settled != nullptr && settled->vm == message.vm() && settled->peer == session->host();
    // One that has it in force says its epoch. Ours, and the VM is not here: we know already.
    const Epoch ours = context.newest_epoch(message.vm());
    const bool newer = its > ours || (its == ours && its.counter > 0 && !here(message.vm()));
    if (newer && here(message.vm()) && moving(message.vm())) return session->close_when_sent();  // it asks again
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

  // A peer has the VM in force by an epoch that is newer than any seen here. False: it runs here, and is ours by one that is
  // newer still.
  bool give_way(const std::string& vm, const std::string& peer, const Epoch& its) {
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
      context.log(vm + " runs here: ours by epoch " + to_string(minted) + ", newer than " + to_string(its) + " of " + peer);
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
      context.log(vm + " has gone to " + peer + " by epoch " + to_string(its) + ", newer than " + to_string(context.newest_epoch(vm)) + ", and does not run here");
      if (context.journal.keeps_policy()) note_vm(context.store, context.ports, vm, batch);
    }
    batch.epochs.emplace_back(vm, its);
    context.epochs[vm] = its;
    context.keep(std::move(batch));
    return true;
  }

  // A move that the journal has.
  void take_up(const MoveRecord& record) {
    MoveStatus status;
    status.vm = record.vm;
    status.peer = record.peer;
    status.id = record.id;
    Result<void> recovered;
    if (record.role == MoveRole::kSource) {
      auto move = std::make_shared<SourceMove>(context, status, context.address_of(record.peer));
      recovered = move->recover(record);
      if (recovered) outgoing.push_back(move);
    } else {
      auto move = std::make_shared<DestinationMove>(context, record.vm, record.peer, record.id);
      recovered = move->recover(record);
      if (recovered) incoming.push_back(move);
    }
    if (recovered) {
      return context.log("move " + record.id + " of " + record.vm + ": taken up again as " + std::string(name_of(record.role)) + ", peer " +
                         record.peer + ", last written as " + record.state);
    }
    status.role = std::string(name_of(record.role));
    status.state = record.state;
    status.doubt = "the journal has it as " + record.state + ", but it cannot be taken up: " + recovered.error().message;
    note_step(status, context.clock.now_ns(), status.state, {}, status.doubt);
    context.log("move " + record.id + " of " + record.vm + ": " + status.doubt);
    stuck.push_back({std::move(status), record.role});
  }

  // Whether the VM has a port here: it is ours, or a move is about to make it so.
  bool here(const std::string& vm) const {
    return std::ranges::any_of(context.store.endpoints_of_vm(vm), [](const EndpointRecord* e) { return e->port.valid(); });
  }

  std::shared_ptr<DestinationMove> find_incoming(const std::string& vm, const std::string& id) const {
    for (const auto& move : incoming) {
      if (move->vm() == vm && move->id() == id) return move;
    }
    return nullptr;
  }

  [[nodiscard]] bool moving(const std::string& vm) const { return undecided(vm) || going_back(vm); }
  // A move of it has not ended, or waits.
  [[nodiscard]] bool undecided(const std::string& vm) const {
    return std::ranges::any_of(queued, [&](const Queued& q) { return q.status.vm == vm; }) ||
           std::ranges::any_of(stuck, [&](const Stuck& s) { return s.status.vm == vm; }) ||
           std::ranges::any_of(outgoing, [&](const auto& m) { return m->vm() == vm && !m->settled(); }) ||
           std::ranges::any_of(incoming, [&](const auto& m) { return m->vm() == vm && !m->over(); });
  }
  // Its move from here has ended, and what was kept for it is still on its way back to it.
  [[nodiscard]] bool going_back(std::string_view vm) const {
    return std::ranges::any_of(outgoing, [&](const auto& m) { return m->vm() == vm && m->settled() && !m->over(); });
  }

  Result<std::string> listed_address(const std::string& peer) const {
    const auto found = context.options.peers.find(peer);
    if (found == context.options.peers.end()) return fail(Error{"no such peer", 0, 0, peer, "a peer of `peer list`"});
    auto address = parse_address(found->second);
    if (!address) return fail(address.error());
    if (!address->address().is_loopback() && !context.options.plaintext_anywhere && !context.options.encrypted) {
      return fail("peer " + peer + " at " + found->second + " is not on loopback: plaintext beyond it needs `plaintext: anywhere`");
    }
    return found->second;
  }
  // What speaks against any move to `peer`; else its address.
  Result<std::string> address_of(const std::string& peer) const {
    auto address = listed_address(peer);
    if (address && !context.uplink().valid()) return fail("no uplink leads to the other hosts: receive rules have nowhere to go");
    return address;
  }

  // Begins, or queues: behind those that are being prepared, or until what was kept in the VM's last move has gone back. An
  // error: nothing has begun.
  Result<std::string> start(const std::string& vm, const std::string& peer, const std::string& id, const std::string& evacuation) {
    auto address = address_of(peer);
    if (!address) return fail(address.error());
    if (!may_move_out(peer)) return fail(Error{"no VM may be moved there from " + context.options.host, 0, 0, peer, "a host of migration.allow_out"});
    if (undecided(vm)) return fail(vm + " is moving already");
    const bool waits = going_back(vm);
    if (auto good = waits ? Result<void>{} : SourceMove::check(context, vm); !good) return fail(good.error());
    MoveStatus status;
    status.vm = vm;
    status.peer = peer;
    status.id = id;
    status.evacuation = evacuation;
    if (!waits && next_in_turn() == queued.end() && preparing() < context.options.max_preparing) {
      auto move = std::make_shared<SourceMove>(context, std::move(status), std::move(*address));
      if (auto begun = move->begin(); !begun) return fail(begun.error());
      outgoing.push_back(move);
      return id;
    }
    if (queued.size() >= kMaxQueued) return fail("too many moves wait already");
    status.role = "source";
    status.state = "queued";
    note_step(status, context.clock.now_ns(), status.state, {}, {});
    queued.push_back({std::move(status), std::move(*address)});
    return id;
  }

  size_t preparing() const {
    return static_cast<size_t>(std::ranges::count_if(outgoing, [](const auto& move) { return move->preparing(); }));
  }

  // The first that could begin; end(): none.
  std::deque<Queued>::iterator next_in_turn() {
    return std::ranges::find_if(queued, [&](const Queued& waiting) { return !going_back(waiting.status.vm); });
  }

  void begin_queued() {
    for (auto turn = next_in_turn(); turn != queued.end() && preparing() < context.options.max_preparing; turn = next_in_turn()) {
      Queued next = std::move(*turn);
      queued.erase(turn);
      auto move = std::make_shared<SourceMove>(context, next.status, next.address);
      if (auto begun = move->begin(); begun) {
        outgoing.push_back(move);
      } else {
        give_up(std::move(next.status), begun.error().message);
      }
    }
  }

  // A move that has not begun ends.
  void give_up(MoveStatus status, const std::string& why) {
    context.log("move " + status.id + " of " + status.vm + " to " + status.peer + ": " + status.state + " -> aborted (" + why + ")");
    status.state = "aborted";
    status.error = why;
    note_step(status, context.clock.now_ns(), status.state, {}, why);
    remember(std::move(status));
  }

  void answer_pull(const std::shared_ptr<PeerSession>& session, const wire::Envelope& message) {
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
      context.log("pull " + message.move() + " of " + message.vm() + " by " + session->host() + ": begun");
    } else {
      const Error& error = started.error();
      answer.mutable_refused()->add_reasons(error.message + (error.token.empty() ? "" : ": " + error.token));
      context.log("pull " + message.move() + " by " + session->host() + " refused: " + error.message);
    }
    session->send(answer);
    session->close_when_sent();
  }

  bool known(const std::string& id) const {
    const auto all = statuses();
    return std::ranges::any_of(all, [&](const MoveStatus& status) { return status.id == id; });
  }

  // The finished ones first.
  std::vector<MoveStatus> statuses() const {
    std::vector<MoveStatus> all(finished.begin(), finished.end());
    for (const auto& move : outgoing) all.push_back(move->status());
    for (const Queued& move : queued) all.push_back(move.status);
    for (const Stuck& move : stuck) all.push_back(move.status);
    for (const auto& pull : pulls) {
      if (!pull->over()) all.push_back(pull->status());
    }
    for (const auto& move : incoming) all.push_back(move->status());
    return all;
  }

  // Redirected frames to the sessions, as long as these take them.
  void pump() {
    for (;;) {
      // Frames of all moves share the ring: one slow peer holds them all back, in order.
      const bool room = std::ranges::all_of(outgoing, [](const auto& move) { return move->can_take(); });
      if (!room) {
        gate_timer->set(1, [this] { pump(); });
        break;
      }
      taken.clear();
      if (context.gate.take_redirected(taken, kTakeAtOnce) == 0) break;
      for (const dataplane::Frame& frame : taken) {
        const auto move = std::ranges::find_if(outgoing, [&](const auto& m) { return !m->over() && m->owns(frame.endpoint); });
        if (move != outgoing.end()) {
          (*move)->redirect(frame);
        } else {
          context.gate.drop(frame, dataplane::Drop::k_redirect_overflow);  // its move ended while it was on its way here
        }
      }
    }
    for (const auto& move : outgoing) move->flush_redirect();
  }

  void remember(MoveStatus status) {
    for (EvacuationStatus& evacuation : evacuations) {
      if (status.evacuation.empty() || evacuation.id != status.evacuation) continue;
      ++(status.error.empty() ? evacuation.done : evacuation.failed);
      evacuation.rules += status.error.empty() ? status.rules_imported : 0;
      if (evacuation.over()) evacuation.ended_ns = context.clock.now_ns();
    }
    finished.push_back(std::move(status));
    if (finished.size() > kMaxFinished) finished.pop_front();
  }

  // Moves that are over go to the list of the finished. Not called from within a move's own step.
  void sweep() {
    std::erase_if(outgoing, [&](const auto& move) {
      if (move->over()) remember(move->status());
      return move->over();
    });
    std::erase_if(incoming, [&](const auto& move) {
      if (move->over()) remember(move->status());
      return move->over();
    });
    std::erase_if(pulls, [&](const auto& pull) {
      if (pull->failed()) remember(pull->status());
      return pull->over();
    });
    begin_queued();
  }
  void sweep_later() {
    if (std::exchange(sweep_waits, true)) return;
    context.network.post([this, watch = std::weak_ptr<int>(alive)] {
      if (watch.expired()) return;
      sweep_waits = false;
      sweep();
    });
  }
};

Driver::Driver(Network& network, DriverOptions options, dataplane::PolicyStore& store, dataplane::Ports& ports,
               dataplane::PacketGate& gate, const Clock& clock, Log log, Journal* journal, MoveTables tables)
    : impl_(std::make_unique<Impl>(network, std::move(options), store, ports, gate, clock, std::move(log), journal, tables)) {}

Driver::~Driver() { stop(); }

void Driver::recover() {
  auto moves = impl_->context.journal.moves();
  if (!moves) return impl_->context.log("journal: the moves cannot be read: " + moves.error().message);
  for (const MoveRecord& move : *moves) impl_->take_up(move);
  impl_->sweep();
}

Result<void> Driver::listen() {
  const DriverOptions& options = impl_->context.options;
  if (options.listen.empty()) return {};
  auto address = parse_address(options.listen);
  if (!address) return fail(address.error());
  if (!address->address().is_loopback() && !options.plaintext_anywhere && !options.encrypted) {
    return fail("migration.listen " + options.listen + " is not a loopback address: plaintext beyond it needs `plaintext: anywhere`");
  }
  return impl_->context.network.listen(options.listen, [impl = impl_.get(), watch = std::weak_ptr<int>(impl_->alive)](auto session) {
    if (!watch.expired()) impl->welcome(std::move(session));
  });
}

void Driver::stop() {
  impl_->context.network.stop_listening();
  impl_->alive.reset();
  const auto strangers = std::move(impl_->strangers);
  impl_->strangers.clear();
  for (const auto& session : strangers) session->close("the switch ends");
  for (const auto& move : impl_->outgoing) move->stop();
  for (const auto& move : impl_->incoming) move->stop();
  for (const auto& pull : impl_->pulls) pull->stop();
  for (const auto& ping : impl_->pings) ping->stop();
  impl_->pings.clear();
  impl_->flush_timer->cancel();
  (void)impl_->context.journal.flush();
  impl_->queued.clear();
  impl_->pulls.clear();
  impl_->outgoing.clear();
  impl_->incoming.clear();
}

Result<Document> Driver::export_vm(const std::string& vm) {
  return migration::export_vm(impl_->context.store, impl_->context.ports, vm, impl_->context.options.host, impl_->context.newest_epoch(vm));
}

Result<RewriteReport> Driver::rewrite_vm(const std::string& vm) {
  if (moving(vm)) return fail(vm + " is moving: `migrate cancel` first");
  const EndpointId uplink = impl_->context.uplink();
  if (!uplink.valid()) return fail("no uplink leads to the other hosts: receive rules have nowhere to go");
  for (const EndpointRecord* endpoint : impl_->context.store.endpoints_of_vm(vm)) {
    if (!endpoint->port.valid()) return fail(endpoint->profile.name + " is not local here: there is nothing to move out");
  }
  MoveContext& context = impl_->context;
  if (context.journal.keeps_policy()) {
    if (auto written = context.journal.write(moved_out(context.store, vm, uplink)); !written) return fail("it cannot be stored, so it is not done: " + written.error().message);
  }
  RewriteReport report;
  auto taken = take_out(impl_->context.store, vm, LocationKind::kUplink, uplink, false);
  if (!taken) return fail(taken.error());
  report.uplink_rules_removed = remove_uplink_rules(impl_->context.store, vm).size();
  report.transmit_rules_removed = taken->transmit_rules;
  report.receive_rules_rewritten = taken->receive_rules;
  report.old_ports = taken->old_ports;
  return report;
}

Result<ImportReport> Driver::import_vm(const Document& document, const std::map<std::string, ImportBinding>& bindings) {
  MoveContext& context = impl_->context;
  if (moving(document.vm)) return fail(document.vm + " is moving: `migrate cancel` first");
  const Epoch known = context.newest_epoch(document.vm);
  if (document.epoch < known) {
    return fail("epoch " + to_string(document.epoch) + " of the document is older than " + to_string(known) + " seen here");
  }
  StagedImport::Bindings places;
  for (const dataplane::Profile& profile : document.profiles) {
    const auto given = bindings.find(profile.name);
    StagedImport::Binding place;
    if (given != bindings.end()) place = {given->second.socket_path, given->second.port};
    if (!place.port.valid() && place.socket_path.empty()) place.socket_path = context.socket_for(profile.name);
    if (!place.port.valid() && place.socket_path.empty()) {
      return fail("no port for " + profile.name + ": give one, or configure migration.vhost_template");
    }
    places[profile.name] = place;
  }
  for (const auto& [name, binding] : bindings) {
    if (!places.contains(name)) return fail(name + " is bound to a port but is not in the document");
  }
  auto staged = StagedImport::stage(context.store, context.ports, context.uplink(), document, places);
  if (!staged) return fail(staged.error());
  auto published = (*staged)->publish([](const EndpointRecord& endpoint) { return Location{LocationKind::kPort, endpoint.port, {}}; });
  if (!published) return fail(published.error());
  const StagedImport::Report report = (*staged)->settle();
  const Epoch epoch{document.epoch.counter + 1, context.options.host};
  JournalBatch batch;
  batch.epochs.emplace_back(document.vm, epoch);
  if (context.journal.keeps_policy()) note_import(context.store, context.ports, document.vm, report.arrived, batch);
  if (auto written = context.journal.write(batch); !written) {
    give_back(context.store, context.ports, context.uplink(), document.vm, report.arrived, places);
    return fail("it cannot be stored, so it is not done: " + written.error().message);
  }
  context.epochs[document.vm] = epoch;
  return ImportReport{report.rules, report.receive_rules, report.uplink_rules, report.new_ports, epoch};
}

Result<std::string> Driver::start(const std::string& vm, const std::string& peer) {
  impl_->sweep();
  return impl_->start(vm, peer, new_move_id(impl_->context.network), {});
}

Result<EvacuationReport> Driver::start_all(const std::string& peer) {
  const MoveContext& context = impl_->context;
  if (auto address = impl_->address_of(peer); !address) return fail(address.error());
  if (!impl_->may_move_out(peer)) return fail(Error{"no VM may be moved there from " + context.options.host, 0, 0, peer, "a host of migration.allow_out"});
  impl_->sweep();
  std::set<std::string> vms;
  for (const EndpointRecord* endpoint : context.store.endpoints()) {
    const std::string_view vm = dataplane::vm_of(endpoint->profile.name);
    const LocationKind where = endpoint->location.kind;
    const bool local = where == LocationKind::kPort || (where == LocationKind::kParked && impl_->going_back(vm));
    if (local && endpoint->profile.kind == EndpointKind::kVm) vms.emplace(vm);
  }
  if (vms.empty()) return fail("no VM is local here: there is nothing to move to " + peer);
  EvacuationReport report;
  report.id = new_move_id(impl_->context.network);
  EvacuationStatus& evacuation = impl_->evacuations.emplace_back();
  evacuation.id = report.id;
  evacuation.peer = peer;
  evacuation.started_ns = context.clock.now_ns();
  for (const std::string& vm : vms) {
    auto started = impl_->start(vm, peer, new_move_id(impl_->context.network), report.id);
    if (started) {
      report.started.emplace_back(vm, *started);
    } else {
      report.refused.emplace_back(vm, started.error().message);
    }
  }
  evacuation.total = report.started.size();
  if (evacuation.total == 0) impl_->evacuations.pop_back();
  if (impl_->evacuations.size() > kMaxEvacuations) impl_->evacuations.pop_front();
  return report;
}

Result<std::string> Driver::pull(const std::string& vm, const std::string& from) {
  impl_->sweep();
  if (auto good = dataplane::check_endpoint_name(vm); !good) return fail(good.error());
  auto address = impl_->address_of(from);
  if (!address) return fail(address.error());
  if (!impl_->may_move_in(from)) {
    return fail(Error{"no VM may be moved from there to " + impl_->context.options.host, 0, 0, from, "a host of migration.allow_in"});
  }
  const auto same = [&](const auto& pull) { return pull->status().vm == vm; };
  if (moving(vm) || std::ranges::any_of(impl_->pulls, same)) return fail(vm + " is moving already");
  for (const EndpointRecord* endpoint : impl_->context.store.endpoints_of_vm(vm)) {
    if (endpoint->location.kind == LocationKind::kPort) return fail(endpoint->profile.name + " is local here already");
  }
  if (impl_->pulls.size() >= kMaxPulls) return fail("too many VMs have been asked for already");
  auto request = std::make_shared<PullRequest>(impl_->context, vm, from, new_move_id(impl_->context.network), std::move(*address));
  impl_->pulls.push_back(request);
  request->begin();
  return request->status().id;
}

Result<void> Driver::cancel(const std::string& vm) {
  Result<void> result = fail(Error{"no move of that VM is going on", 0, 0, vm, "a VM of `migrate status`"});
  for (auto at = impl_->queued.begin(); at != impl_->queued.end(); ++at) {
    if (at->status.vm != vm) continue;
    MoveStatus status = std::move(at->status);
    impl_->queued.erase(at);
    impl_->give_up(std::move(status), "cancelled");
    return {};
  }
  for (auto at = impl_->stuck.begin(); at != impl_->stuck.end(); ++at) {
    if (at->status.vm != vm) continue;
    Impl::Stuck gone = std::move(*at);
    impl_->stuck.erase(at);
    const MoveStatus& status = gone.status;
    impl_->context.settle({status.id, vm, status.peer, gone.role, false, impl_->context.newest_epoch(vm), "cancelled"}, false);
    impl_->give_up(std::move(gone.status), "cancelled");
    return {};
  }
  for (const auto& move : impl_->outgoing) {
    if (move->vm() == vm && !move->over()) result = move->cancel();
  }
  for (const auto& move : impl_->incoming) {
    if (move->vm() == vm && !move->over()) result = move->cancel();
  }
  for (const auto& pull : impl_->pulls) {
    if (pull->status().vm != vm || pull->over()) continue;
    pull->cancel();
    result = {};
  }
  impl_->sweep();
  return result;
}

std::vector<MoveStatus> Driver::status(const std::string& vm) const {
  std::vector<MoveStatus> all = impl_->statuses();
  if (!vm.empty()) std::erase_if(all, [&](const MoveStatus& status) { return status.vm != vm; });
  return all;
}

Result<MoveStatus> Driver::show(const std::string& id) const {
  std::vector<MoveStatus> all = impl_->statuses();
  std::erase_if(all, [&](const MoveStatus& status) { return id.empty() || !status.id.starts_with(id); });
  if (all.empty()) return fail(Error{"no such move", 0, 0, id, "an id of `migrate status`"});
  if (std::ranges::any_of(all, [&](const MoveStatus& status) { return status.id != all.front().id; })) {
    return fail(Error{std::to_string(all.size()) + " moves have an id that begins so", 0, 0, id, "more of the id"});
  }
  return all.back();
}

std::vector<EvacuationStatus> Driver::evacuations() const {
  std::vector<EvacuationStatus> all(impl_->evacuations.begin(), impl_->evacuations.end());
  for (EvacuationStatus& evacuation : all) {
    for (const auto& waiting : impl_->queued) evacuation.queued += waiting.status.evacuation == evacuation.id ? 1 : 0;
    for (const auto& move : impl_->outgoing) {
      const MoveStatus status = move->status();
      if (status.evacuation != evacuation.id) continue;
      ++(move->preparing() ? evacuation.preparing : status.state == "prepared" ? evacuation.prepared : evacuation.moving);
    }
  }
  return all;
}

uint64_t Driver::now_ns() const { return impl_->context.clock.now_ns(); }

std::vector<PeerStatus> Driver::peers() const {
  std::vector<PeerStatus> all;
  const std::vector<LinkInfo> links = impl_->context.network.links();
  for (const auto& [host, address] : impl_->context.options.peers) {
    PeerStatus status;
    status.host = host;
    status.address = address;
    status.may_move_in = impl_->may_move_in(host);
    status.may_move_out = impl_->may_move_out(host);
    std::ranges::copy_if(links, std::back_inserter(status.sessions), [&](const LinkInfo& link) { return link.host == host; });
    for (const MoveStatus& move : this->status()) {
      if (move.peer != host) continue;
      status.connected = move.state != "done" && move.state != "aborted" && move.state != "connecting" && move.state != "in-doubt";
      status.error = move.error;
    }
    status.connected = status.connected || !status.sessions.empty();
    all.push_back(std::move(status));
  }
  return all;
}

Result<void> Driver::ping(const std::string& peer, uint64_t count, PeerPing::Done done) {
  auto address = impl_->listed_address(peer);
  if (!address) return fail(address.error());
  std::erase_if(impl_->pings, [](const auto& ping) { return ping->over(); });
  if (impl_->pings.size() >= kMaxPingsAtOnce) return fail("too many pings are under way");
  MoveContext& context = impl_->context;
  auto allowed = [in = impl_->may_move_in(peer), out = impl_->may_move_out(peer), done = std::move(done)](Result<PingReport> report) {
    if (report) report->may_move_in = in, report->may_move_out = out;
    done(std::move(report));
  };
  impl_->pings.push_back(std::make_shared<PeerPing>(context.network, context.clock, context.options.host, peer, *address, count, std::move(allowed)));
  impl_->pings.back()->begin(kPingTimeoutMs);
  return {};
}

void Driver::on_port_event(const dataplane::PortEvent& event) {
  const auto outgoing = impl_->outgoing;
  const auto incoming = impl_->incoming;
  for (const auto& move : outgoing) move->on_port_event(event);
  for (const auto& move : incoming) move->on_port_event(event);
  impl_->sweep();
}

void Driver::on_gate_ready() {
  std::vector<dataplane::Frame> announcements_seen;
  impl_->context.gate.take_announcements(announcements_seen);
  for (const dataplane::Frame& frame : announcements_seen) {
    const auto message = read_fabric_message(frame.bytes);
    if (!message) continue;
    const auto outgoing = impl_->outgoing;
    for (const auto& move : outgoing) move->on_fabric_message(*message);
    for (const auto& move : impl_->incoming) move->on_fabric_message(*message);
  }
  impl_->pump();
  impl_->sweep();
}

void Driver::watch(Watcher watcher) { impl_->context.watcher = std::move(watcher); }

bool Driver::moving(const std::string& vm) const { return impl_->moving(vm); }

}  // namespace godwit::migration
