// SPDX-License-Identifier: Apache-2.0
#include "migration/engine/engine.h"

#include <algorithm>
#include <cstdio>
#include <set>
#include <utility>

#include "migration/engine/engine_impl.h"
#include "migration/journal/policy_record.h"
#include "migration/link/peer.h"
#include "migration/moves/fabric/announce.h"
#include "migration/policy/rewriting.h"

namespace godwit::migration {

using dataplane::EndpointKind;
using dataplane::EndpointRecord;
using dataplane::Location;
using dataplane::LocationKind;

namespace {

constexpr size_t kMaxQueued = 65536;  // moves that wait for their turn
constexpr size_t kMaxPulls = 256;
constexpr size_t kMaxPingsAtOnce = 64;
constexpr uint64_t kPingTimeoutMs = 5000;
constexpr size_t kMaxEvacuations = 16;
constexpr size_t kTakeAtOnce = 256;
constexpr uint64_t kFlushMs = 1000;  // a disk that was full is tried again

std::string new_move_id(Network& network) {
  char text[17];
  std::snprintf(text, sizeof(text), "%016llx", static_cast<unsigned long long>(network.random()));
  return text;
}

// An import by hand that cannot be stored: the VM is behind the uplink again.
void give_back(dataplane::PolicyStore& store, dataplane::Ports& ports, EndpointId uplink,
               const std::string& vm, const std::vector<OwnedRule>& arrived,
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

Engine::Impl::Impl(Network& network, MigrationOptions options, dataplane::PolicyStore& store,
                   dataplane::Ports& ports, dataplane::PacketGate& gate, const Clock& clock,
                   MoveLog log, Journal* journal, MoveTables tables)
    : context{network,
              std::move(options),
              store,
              ports,
              gate,
              clock,
              std::move(log),
              journal == nullptr ? nothing : *journal,
              tables,
              {},
              1,
              false,
              {},
              {},
              {},
              {}},
      gate_timer(network.timer()),
      flush_timer(network.timer()) {
  context.epochs = context.journal.epochs();
  context.journal_waits = [this](const std::string& why) {
    context.log("journal: cannot be written, so a restart would have to ask the peers again: " +
                why);
    flush_later();
  };
  context.pump = [this] { pump(); };
  context.changed = [this] { sweep_later(); };
  context.store.on_rule_change([this](const dataplane::RuleChange& change) {
    for (const auto& move : outgoing) move->on_rule_change(change);
  });
}

Engine::Impl::~Impl() { context.store.on_rule_change(nullptr); }

void Engine::Impl::flush_later() {
  flush_timer->set(kFlushMs, [this] {
    if (context.journal.flush()) return context.log("journal: written again");
    flush_later();
  });
}

bool Engine::Impl::may_move_in(const std::string& peer) const {
  const MigrationOptions& options = context.options;
  return options.peers.contains(peer) && (!options.allow_in || options.allow_in->contains(peer));
}

bool Engine::Impl::may_move_out(const std::string& peer) const {
  const MigrationOptions& options = context.options;
  return options.peers.contains(peer) && (!options.allow_out || options.allow_out->contains(peer));
}

void Engine::Impl::take_up(const MoveRecord& record) {
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
    return context.log("move " + record.id + " of " + record.vm + ": taken up again as " +
                       std::string(name_of(record.role)) + ", peer " + record.peer +
                       ", last written as " + record.state);
  }
  status.role = std::string(name_of(record.role));
  status.state = record.state;
  status.doubt = "the journal has it as " + record.state +
                 ", but it cannot be taken up: " + recovered.error().message;
  note_step(status, context.clock.now_ns(), status.state, {}, status.doubt);
  context.log("move " + record.id + " of " + record.vm + ": " + status.doubt);
  stuck.push_back({std::move(status), record.role});
}

bool Engine::Impl::here(const std::string& vm) const {
  return std::ranges::any_of(context.store.endpoints_of_vm(vm),
                             [](const EndpointRecord* e) { return e->port.valid(); });
}

std::shared_ptr<DestinationMove> Engine::Impl::find_incoming(const std::string& vm,
                                                             const std::string& id) const {
  for (const auto& move : incoming) {
    if (move->vm() == vm && move->id() == id) return move;
  }
  return nullptr;
}

bool Engine::Impl::moving(const std::string& vm) const { return undecided(vm) || going_back(vm); }

bool Engine::Impl::undecided(const std::string& vm) const {
  return std::ranges::any_of(queued, [&](const Queued& q) { return q.status.vm == vm; }) ||
         std::ranges::any_of(stuck, [&](const Stuck& s) { return s.status.vm == vm; }) ||
         std::ranges::any_of(outgoing,
                             [&](const auto& m) { return m->vm() == vm && !m->settled(); }) ||
         std::ranges::any_of(incoming, [&](const auto& m) { return m->vm() == vm && !m->over(); });
}

bool Engine::Impl::going_back(std::string_view vm) const {
  return std::ranges::any_of(
      outgoing, [&](const auto& m) { return m->vm() == vm && m->settled() && !m->over(); });
}

Result<std::string> Engine::Impl::listed_address(const std::string& peer) const {
  const auto found = context.options.peers.find(peer);
  if (found == context.options.peers.end())
    return fail(Error{"no such peer", 0, 0, peer, "a peer of `peer list`"});
  auto address = parse_address(found->second);
  if (!address) return fail(address.error());
  if (!address->address().is_loopback() && !context.options.plaintext_anywhere &&
      !context.options.encrypted) {
    return fail("peer " + peer + " at " + found->second +
                " is not on loopback: plaintext beyond it needs `plaintext: anywhere`");
  }
  return found->second;
}

Result<std::string> Engine::Impl::address_of(const std::string& peer) const {
  auto address = listed_address(peer);
  if (address && !context.uplink().valid())
    return fail("no uplink leads to the other hosts: receive rules have nowhere to go");
  return address;
}

Result<std::string> Engine::Impl::start(const std::string& vm, const std::string& peer,
                                        const std::string& id, const std::string& evacuation) {
  auto address = address_of(peer);
  if (!address) return fail(address.error());
  if (!may_move_out(peer))
    return fail(Error{"no VM may be moved there from " + context.options.host, 0, 0, peer,
                      "a host of migration.allow_out"});
  if (undecided(vm)) return fail(vm + " is moving already");
  const bool waits = going_back(vm);
  if (auto good = waits ? Result<void>{} : SourceMove::check(context, vm); !good)
    return fail(good.error());
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

size_t Engine::Impl::preparing() const {
  return static_cast<size_t>(
      std::ranges::count_if(outgoing, [](const auto& move) { return move->preparing(); }));
}

std::deque<Engine::Impl::Queued>::iterator Engine::Impl::next_in_turn() {
  return std::ranges::find_if(
      queued, [&](const Queued& waiting) { return !going_back(waiting.status.vm); });
}

void Engine::Impl::begin_queued() {
  for (auto turn = next_in_turn();
       turn != queued.end() && preparing() < context.options.max_preparing; turn = next_in_turn()) {
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

void Engine::Impl::give_up(MoveStatus status, const std::string& why) {
  context.log("move " + status.id + " of " + status.vm + " to " + status.peer + ": " +
              status.state + " -> aborted (" + why + ")");
  status.state = "aborted";
  status.error = why;
  note_step(status, context.clock.now_ns(), status.state, {}, why);
  remember(std::move(status));
}

bool Engine::Impl::known(const std::string& id) const {
  const auto all = statuses();
  return std::ranges::any_of(all, [&](const MoveStatus& status) { return status.id == id; });
}

std::vector<MoveStatus> Engine::Impl::statuses() const {
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

void Engine::Impl::pump() {
  for (;;) {
    // Frames of all moves share the ring: one slow peer holds them all back, in order.
    const bool room =
        std::ranges::all_of(outgoing, [](const auto& move) { return move->can_take(); });
    if (!room) {
      gate_timer->set(1, [this] { pump(); });
      break;
    }
    taken.clear();
    if (context.gate.take_redirected(taken, kTakeAtOnce) == 0) break;
    for (const dataplane::Frame& frame : taken) {
      const auto move = std::ranges::find_if(
          outgoing, [&](const auto& m) { return !m->over() && m->owns(frame.endpoint); });
      if (move != outgoing.end()) {
        (*move)->redirect(frame);
      } else {
        context.gate.drop(
            frame,
            dataplane::Drop::k_redirect_closed);  // its move ended while it was on its way here
      }
    }
  }
  for (const auto& move : outgoing) move->flush_redirect();
}

void Engine::Impl::remember(MoveStatus status) {
  for (EvacuationStatus& evacuation : evacuations) {
    if (status.evacuation.empty() || evacuation.id != status.evacuation) continue;
    ++(status.error.empty() ? evacuation.done : evacuation.failed);
    evacuation.rules += status.error.empty() ? status.rules_imported : 0;
    if (evacuation.over()) evacuation.ended_ns = context.clock.now_ns();
  }
  finished.push_back(std::move(status));
  if (finished.size() > kMaxFinished) finished.pop_front();
}

void Engine::Impl::sweep() {
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

void Engine::Impl::sweep_later() {
  if (std::exchange(sweep_waits, true)) return;
  context.network.post([this, watch = std::weak_ptr<int>(alive)] {
    if (watch.expired()) return;
    sweep_waits = false;
    sweep();
  });
}

Engine::Engine(Network& network, MigrationOptions options, dataplane::PolicyStore& store,
               dataplane::Ports& ports, dataplane::PacketGate& gate, const Clock& clock,
               MoveLog log, Journal* journal, MoveTables tables)
    : impl_(std::make_unique<Impl>(network, std::move(options), store, ports, gate, clock,
                                   std::move(log), journal, tables)) {}

Engine::~Engine() { stop(); }

void Engine::recover() {
  auto moves = impl_->context.journal.moves();
  if (!moves)
    return impl_->context.log("journal: the moves cannot be read: " + moves.error().message);
  for (const MoveRecord& move : *moves) impl_->take_up(move);
  impl_->sweep();
}

Result<void> Engine::listen() {
  const MigrationOptions& options = impl_->context.options;
  if (options.listen.empty()) return {};
  auto address = parse_address(options.listen);
  if (!address) return fail(address.error());
  if (!address->address().is_loopback() && !options.plaintext_anywhere && !options.encrypted) {
    return fail("migration.listen " + options.listen +
                " is not a loopback address: plaintext beyond it needs `plaintext: anywhere`");
  }
  return impl_->context.network.listen(
      options.listen, [impl = impl_.get(), watch = std::weak_ptr<int>(impl_->alive)](auto session) {
        if (!watch.expired()) impl->welcome(std::move(session));
      });
}

void Engine::stop() {
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

Result<Document> Engine::export_vm(const std::string& vm) {
  return migration::export_vm(impl_->context.store, impl_->context.ports, vm,
                              impl_->context.options.host, impl_->context.newest_epoch(vm));
}

Result<RewriteReport> Engine::rewrite_vm(const std::string& vm) {
  if (moving(vm)) return fail(vm + " is moving: `migrate cancel` first");
  const EndpointId uplink = impl_->context.uplink();
  if (!uplink.valid())
    return fail("no uplink leads to the other hosts: receive rules have nowhere to go");
  for (const EndpointRecord* endpoint : impl_->context.store.endpoints_of_vm(vm)) {
    if (!endpoint->port.valid())
      return fail(endpoint->profile.name + " is not local here: there is nothing to move out");
  }
  MoveContext& context = impl_->context;
  if (context.journal.keeps_policy()) {
    if (auto written = context.journal.write(moved_out(context.store, vm, uplink)); !written)
      return fail("it cannot be stored, so it is not done: " + written.error().message);
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

Result<ImportReport> Engine::import_vm(const Document& document,
                                       const std::map<std::string, ImportBinding>& bindings) {
  MoveContext& context = impl_->context;
  if (moving(document.vm)) return fail(document.vm + " is moving: `migrate cancel` first");
  const Epoch known = context.newest_epoch(document.vm);
  if (document.epoch < known) {
    return fail("epoch " + to_string(document.epoch) + " of the document is older than " +
                to_string(known) + " seen here");
  }
  StagedImport::Bindings places;
  for (const dataplane::Profile& profile : document.profiles) {
    const auto given = bindings.find(profile.name);
    StagedImport::Binding place;
    if (given != bindings.end()) place = {given->second.socket_path, given->second.port};
    if (!place.port.valid() && place.socket_path.empty())
      place.socket_path = context.socket_for(profile.name);
    if (!place.port.valid() && place.socket_path.empty()) {
      return fail("no port for " + profile.name +
                  ": give one, or configure migration.vhost_template");
    }
    places[profile.name] = place;
  }
  for (const auto& [name, binding] : bindings) {
    if (!places.contains(name))
      return fail(name + " is bound to a port but is not in the document");
  }
  auto staged =
      StagedImport::stage(context.store, context.ports, context.uplink(), document, places);
  if (!staged) return fail(staged.error());
  auto published = (*staged)->publish([](const EndpointRecord& endpoint) {
    return Location{LocationKind::kPort, endpoint.port, {}};
  });
  if (!published) return fail(published.error());
  const StagedImport::Report report = (*staged)->settle();
  const Epoch epoch{document.epoch.counter + 1, context.options.host};
  JournalBatch batch;
  batch.epochs.emplace_back(document.vm, epoch);
  if (context.journal.keeps_policy())
    note_import(context.store, context.ports, document.vm, report.arrived, batch);
  if (auto written = context.journal.write(batch); !written) {
    give_back(context.store, context.ports, context.uplink(), document.vm, report.arrived, places);
    return fail("it cannot be stored, so it is not done: " + written.error().message);
  }
  context.epochs[document.vm] = epoch;
  return ImportReport{report.rules, report.receive_rules, report.uplink_rules, report.new_ports,
                      epoch};
}

Result<std::string> Engine::start(const std::string& vm, const std::string& peer) {
  impl_->sweep();
  return impl_->start(vm, peer, new_move_id(impl_->context.network), {});
}

Result<EvacuationReport> Engine::start_all(const std::string& peer) {
  const MoveContext& context = impl_->context;
  if (auto address = impl_->address_of(peer); !address) return fail(address.error());
  if (!impl_->may_move_out(peer))
    return fail(Error{"no VM may be moved there from " + context.options.host, 0, 0, peer,
                      "a host of migration.allow_out"});
  impl_->sweep();
  std::set<std::string> vms;
  for (const EndpointRecord* endpoint : context.store.endpoints()) {
    const std::string_view vm = dataplane::vm_of(endpoint->profile.name);
    const LocationKind where = endpoint->location.kind;
    const bool local =
        where == LocationKind::kPort || (where == LocationKind::kParked && impl_->going_back(vm));
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

Result<std::string> Engine::pull(const std::string& vm, const std::string& from) {
  impl_->sweep();
  if (auto good = dataplane::check_endpoint_name(vm); !good) return fail(good.error());
  auto address = impl_->address_of(from);
  if (!address) return fail(address.error());
  if (!impl_->may_move_in(from)) {
    return fail(Error{"no VM may be moved from there to " + impl_->context.options.host, 0, 0, from,
                      "a host of migration.allow_in"});
  }
  const auto same = [&](const auto& pull) { return pull->status().vm == vm; };
  if (moving(vm) || std::ranges::any_of(impl_->pulls, same)) return fail(vm + " is moving already");
  for (const EndpointRecord* endpoint : impl_->context.store.endpoints_of_vm(vm)) {
    if (endpoint->location.kind == LocationKind::kPort)
      return fail(endpoint->profile.name + " is local here already");
  }
  if (impl_->pulls.size() >= kMaxPulls) return fail("too many VMs have been asked for already");
  auto request = std::make_shared<PullRequest>(
      impl_->context, vm, from, new_move_id(impl_->context.network), std::move(*address));
  impl_->pulls.push_back(request);
  request->begin();
  return request->status().id;
}

Result<void> Engine::cancel(const std::string& vm) {
  Result<void> result =
      fail(Error{"no move of that VM is going on", 0, 0, vm, "a VM of `migrate status`"});
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
    impl_->context.settle({status.id, vm, status.peer, gone.role, false,
                           impl_->context.newest_epoch(vm), "cancelled"},
                          false);
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

std::vector<MoveStatus> Engine::status(const std::string& vm) const {
  std::vector<MoveStatus> all = impl_->statuses();
  if (!vm.empty()) std::erase_if(all, [&](const MoveStatus& status) { return status.vm != vm; });
  return all;
}

Result<MoveStatus> Engine::show(const std::string& id) const {
  std::vector<MoveStatus> all = impl_->statuses();
  std::erase_if(all,
                [&](const MoveStatus& status) { return id.empty() || !status.id.starts_with(id); });
  if (all.empty()) return fail(Error{"no such move", 0, 0, id, "an id of `migrate status`"});
  if (std::ranges::any_of(all,
                          [&](const MoveStatus& status) { return status.id != all.front().id; })) {
    return fail(Error{std::to_string(all.size()) + " moves have an id that begins so", 0, 0, id,
                      "more of the id"});
  }
  return all.back();
}

std::vector<EvacuationStatus> Engine::evacuations() const {
  std::vector<EvacuationStatus> all(impl_->evacuations.begin(), impl_->evacuations.end());
  for (EvacuationStatus& evacuation : all) {
    for (const auto& waiting : impl_->queued)
      evacuation.queued += waiting.status.evacuation == evacuation.id ? 1 : 0;
    for (const auto& move : impl_->outgoing) {
      const MoveStatus status = move->status();
      if (status.evacuation != evacuation.id) continue;
      ++(move->preparing()            ? evacuation.preparing
         : status.state == "prepared" ? evacuation.prepared
                                      : evacuation.moving);
    }
  }
  return all;
}

uint64_t Engine::now_ns() const { return impl_->context.clock.now_ns(); }

std::vector<PeerStatus> Engine::peers() const {
  std::vector<PeerStatus> all;
  const std::vector<LinkInfo> links = impl_->context.network.links();
  for (const auto& [host, address] : impl_->context.options.peers) {
    PeerStatus status;
    status.host = host;
    status.address = address;
    status.may_move_in = impl_->may_move_in(host);
    status.may_move_out = impl_->may_move_out(host);
    std::ranges::copy_if(links, std::back_inserter(status.sessions),
                         [&](const LinkInfo& link) { return link.host == host; });
    for (const MoveStatus& move : this->status()) {
      if (move.peer != host) continue;
      status.connected = move.state != "done" && move.state != "aborted" &&
                         move.state != "connecting" && move.state != "in-doubt";
      status.error = move.error;
    }
    status.connected = status.connected || !status.sessions.empty();
    all.push_back(std::move(status));
  }
  return all;
}

Result<void> Engine::ping(const std::string& peer, uint64_t count, PeerPing::Done done) {
  auto address = impl_->listed_address(peer);
  if (!address) return fail(address.error());
  std::erase_if(impl_->pings, [](const auto& ping) { return ping->over(); });
  if (impl_->pings.size() >= kMaxPingsAtOnce) return fail("too many pings are under way");
  MoveContext& context = impl_->context;
  auto allowed = [in = impl_->may_move_in(peer), out = impl_->may_move_out(peer),
                  done = std::move(done)](Result<PingReport> report) {
    if (report) report->may_move_in = in, report->may_move_out = out;
    done(std::move(report));
  };
  impl_->pings.push_back(std::make_shared<PeerPing>(context.network, context.clock,
                                                    context.options.host, peer, *address, count,
                                                    std::move(allowed)));
  impl_->pings.back()->begin(kPingTimeoutMs);
  return {};
}

void Engine::on_port_event(const dataplane::PortEvent& event) {
  const auto outgoing = impl_->outgoing;
  const auto incoming = impl_->incoming;
  for (const auto& move : outgoing) move->on_port_event(event);
  for (const auto& move : incoming) move->on_port_event(event);
  impl_->sweep();
}

void Engine::on_gate_ready() {
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

void Engine::watch(Watcher watcher) { impl_->context.watcher = std::move(watcher); }

bool Engine::moving(const std::string& vm) const { return impl_->moving(vm); }

}  // namespace godwit::migration
