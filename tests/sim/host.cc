// SPDX-License-Identifier: Apache-2.0
#include <algorithm>

#include "dataplane/rules/flow_command.h"
#include "migration/journal/policy_record.h"
#include "tests/sim/world.h"

namespace godwit::sim {

using dataplane::LocationKind;
using migration::JournalBatch;

namespace {

// A mutant's journal, which changes each batch before it is stored. It knows at its start what a
// MemoryJournal of the same disk knows.
class TamperedJournal final : public migration::Journal {
 public:
  TamperedJournal(migration::MemoryJournal& inner, const migration::MemoryDisk& disk,
                  const std::function<void(JournalBatch&)>& tamper)
      : inner_(inner), tamper_(tamper) {
    JournalBatch known;
    known.epochs.assign(disk.epochs.begin(), disk.epochs.end());
    known.settled.assign(disk.settled.begin(), disk.settled.end());
    remember(known);
  }
  Result<std::vector<migration::MoveRecord>> moves() override { return inner_.moves(); }
  Result<migration::StoredPolicy> policy() override { return inner_.policy(); }
  [[nodiscard]] bool keeps_policy() const override { return inner_.keeps_policy(); }

 private:
  Result<void> store(const JournalBatch& batch) override {
    JournalBatch changed = batch;
    tamper_(changed);
    return inner_.write(changed);
  }
  migration::MemoryJournal& inner_;
  std::function<void(JournalBatch&)> tamper_;
};

}  // namespace

Host::Host(World& its_world, unsigned its_index, double its_clock_rate)
    : world(its_world),
      index(its_index),
      name(Wires::host_name(its_index)),
      clock_rate(its_clock_rate),
      clock(its_world.schedule, its_clock_rate) {}

Host::~Host() {
  if (life != nullptr) life->dead = true;
  clear();
}

bool Host::effect() {
  if (life->dead) return false;
  if (crash_in == 0 || --crash_in > 0) return true;
  crash("at a chosen point");
  return false;
}

// A switch may crash just before a batch is on the disk, or right after.
Result<void> Host::gatekeeper() {
  if (life->dead || !effect()) return fail("the process is gone");
  if (disk_state.full) return fail("database or disk is full");
  if (crash_in > 0 && --crash_in == 0) crash("right after a write");
  return {};
}

void Host::start() {
  life = std::make_shared<Life>();
  life->effect = [this, mine = life.get()] { return life.get() == mine && effect(); };
  last_event_at_ = 0;
  gate_waits_ = collect_waits_ = false;
  checked_generation = 0;
  sw = std::make_unique<Switch>(world.schedule, world.chance, life, *this, world.plan.limits);
  sw->ports.on_added = [this, mine = life](const dataplane::PortInfo& port) {
    if (!mine->dead && port.kind == dataplane::PortKind::kVhost)
      world.on_port_added(index, port.name);
  };
  sw->ports.on_removed = [this, mine = life](const dataplane::PortInfo& port) {
    if (!mine->dead) world.on_port_removed(index, port.name);
  };
  memory = std::make_unique<migration::MemoryJournal>(disk);
  memory->gatekeeper = [this](const JournalBatch&) { return gatekeeper(); };
  journal = memory.get();
  migration::MoveTables tables;
  if (const Mutant* mutant = world.options.mutant) {
    tables = mutant->tables();
    if (mutant->journal) {
      tampered = std::make_unique<TamperedJournal>(*memory, *disk, mutant->journal());
      journal = tampered.get();
    }
  }
  network = world.wires.attach(index, life, clock_rate);
  migration::MigrationOptions settings;
  settings.host = name;
  settings.listen = Wires::address_of(index);
  for (unsigned peer = 0; peer < world.options.hosts; ++peer) {
    if (peer != index) settings.peers[Wires::host_name(peer)] = Wires::address_of(peer);
  }
  settings.allow_pull.emplace();
  for (const auto& [peer, address] : settings.peers) settings.allow_pull->insert(peer);
  if (world.options.extras.liar && world.options.hosts < kMaxHosts)
    settings.peers[Wires::host_name(world.options.hosts)] = Wires::address_of(world.options.hosts);
  settings.vhost_template = "/run/{vm}-{nic}.sock";
  settings.uplink = "physnet1";
  settings.prepare_timeout_ms = 1000;
  settings.window_timeout_ms = 200;
  settings.max_preparing = 2;
  engine = std::make_unique<migration::Engine>(
      *network, settings, sw->store, sw->ports, sw->worker, clock,
      [this, mine = life](const std::string& line) {
        if (!mine->dead) world.on_log(index, line);
      },
      journal, tables);
  restore();
}

void Host::restore() {
  dataplane::Profile profile;
  profile.name = "physnet1";
  profile.kind = dataplane::EndpointKind::kUplink;
  const PortId port = *sw->ports.add_ethdev({profile.name, "sim", 1500});
  {
    dataplane::Transaction transaction(sw->store);
    sw->uplink = *transaction.add_endpoint(profile, {LocationKind::kPort, port, {}});
    (void)transaction.bind_port(sw->uplink, port);
    (void)transaction.set_active(sw->uplink, true);
    transaction.commit();
  }
  const auto policy = journal->policy();
  const auto moves = journal->moves();
  if (auto restored = migration::restore_policy(sw->store, sw->uplink, *policy); !restored) {
    world.violate(name + " cannot restore its policy: " + restored.error().message);
    return;
  }
  for (const migration::StoredEndpoint& endpoint : policy->endpoints) {
    if (endpoint.socket.empty()) continue;
    const auto made =
        sw->ports.add_vhost({endpoint.profile.name, endpoint.socket, endpoint.server, 1, 1500});
    if (!made) {
      world.violate(name + " cannot make the port of " + endpoint.profile.name +
                    " again: " + made.error().message);
      continue;
    }
    const auto vm = dataplane::vm_of(endpoint.profile.name);
    const bool held = std::ranges::any_of(*moves, [&](const migration::MoveRecord& move) {
      return move.vm == vm && migration::holds_vm(move);
    });
    (void)migration::bind_restored(sw->store, endpoint.profile.name, *made, held);
  }
  engine->recover();
  if (!up()) return;  // it may have died in recover()
  (void)engine->listen();
}

void Host::keep_policy() {
  JournalBatch batch;
  batch.forget_policy = true;
  for (const auto* endpoint : sw->store.endpoints()) {
    batch.endpoints.push_back(migration::stored_endpoint(sw->store, sw->ports, *endpoint));
    for (const auto& [id, rule] : endpoint->rules)
      batch.created.push_back(migration::stored_rule(sw->store, *rule));
  }
  (void)memory->write(batch);
}

void Host::crash(const char* when) {
  if (life->dead) return;
  world.trace.line(name, std::string("CRASHES, ") + when);
  life->dead = true;
  crash_in = 0;
  world.on_crashed(index);
}

void Host::clear() {
  engine.reset();
  network.reset();
  journal = nullptr;
  tampered.reset();
  memory.reset();
  sw.reset();
  life.reset();
}

void Host::port_event(dataplane::PortEventKind kind, PortId port) {
  const uint64_t late = world.plan.faults.late_evidence && !world.healing && world.chance.one_in(4)
                            ? world.chance.spread(5 * kMs, 300 * kMs)
                            : world.chance.spread(5 * kUs, 300 * kUs);
  last_event_at_ = std::max(last_event_at_, world.schedule.now() + late);
  world.schedule.at(last_event_at_, [this, mine = life, kind, port] {
    if (mine->dead) return;
    engine->on_port_event({kind, port, clock.now_ns()});
  });
}

void Host::collect_later() {
  if (collect_waits_ || sw->reclaimer.pending() == 0) return;
  collect_waits_ = true;
  world.schedule.after(world.chance.spread(20 * kUs, 1 * kMs), [this, mine = life] {
    if (mine->dead) return;
    collect_waits_ = false;
    sw->reclaimer.collect();
  });
}

void Host::delivered(TokenId token, PortId port) {
  const auto* info = sw->ports.find(port);
  if (info == nullptr) return world.on_dropped(index, token, "tx_down");
  world.on_delivered(index, token, *info);
}
void Host::dropped(TokenId token, const char* reason) { world.on_dropped(index, token, reason); }
void Host::transmitted(TokenId token, EndpointId) { world.on_transmitted(index, token); }
void Host::emitted(const std::vector<uint8_t>& frame) { world.on_emitted(index, frame); }

void Host::gate_ready() {
  if (gate_waits_) return;
  gate_waits_ = true;
  world.schedule.after(world.chance.spread(2 * kUs, 60 * kUs), [this, mine = life] {
    if (mine->dead) return;
    gate_waits_ = false;
    engine->on_gate_ready();
  });
}

std::string Host::picture_of(const std::string& vm) const {
  std::string out;
  for (const auto* endpoint : sw->store.endpoints_of_vm(vm)) {
    out += endpoint->profile.name + " " + std::to_string(endpoint->profile.macs.size()) + " macs\n";
    for (const auto* rule : sw->store.rules_inside(endpoint->id)) {
      const auto& owner = sw->store.endpoint(rule->owner)->profile.name;
      // Rules of other owners get other ids at the destination.
      out += "  " + owner +
             (dataplane::vm_of(owner) == vm ? " " + std::to_string(rule->id.value) : "") + " " +
             dataplane::to_text(rule->rule) + "\n";
    }
  }
  return out;
}

std::string Host::uplinks_of(const std::string& vm) const {
  std::vector<EndpointId> ids;
  for (const auto* endpoint : sw->store.endpoints_of_vm(vm)) ids.push_back(endpoint->id);
  std::vector<std::string> rules;
  for (const auto* rule : sw->store.uplink_rules_to(ids))
    rules.push_back(sw->store.endpoint(rule->owner)->profile.name + " " +
                    dataplane::to_text(rule->rule));
  std::ranges::sort(rules);
  std::string out;
  for (const std::string& rule : rules) out += "  " + rule + "\n";
  return out;
}

std::string Host::digest_of(const std::string& vm) const {
  const auto document = engine->export_vm(vm);
  return document ? document->digest : document.error().message;
}

std::string Host::state_of(const std::string& vm, const std::string& peer) const {
  if (!up()) return "down";
  std::string state;
  for (const auto& move : engine->status(vm)) {
    if (move.role == "source" && move.peer == peer) state = move.state;
  }
  return state;
}

}  // namespace godwit::sim
