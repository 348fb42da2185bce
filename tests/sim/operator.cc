// SPDX-License-Identifier: Apache-2.0
//
// The commands that hosts are given, and the faults that they suffer.
#include "dataplane/rules/flow_command.h"
#include "migration/journal/policy_record.h"
#include "tests/sim/world.h"

namespace godwit::sim {

void World::act_later() {
  schedule.after(chance.spread(plan.action_low, plan.action_high), [this] {
    if (healing) return;
    act();
    act_later();
  });
}

int World::other_host(unsigned than) {
  const auto other = static_cast<unsigned>(chance.below(options.hosts - 1));
  return static_cast<int>(other < than ? other : other + 1);
}

void World::act() {
  const auto vm = static_cast<unsigned>(chance.below(vms_.size()));
  const uint64_t what = chance.below(100);
  if (what < 45) {
    if (vms_[vm].busy || vms_[vm].runs_at == kNowhere) return;
    const auto from = static_cast<unsigned>(vms_[vm].runs_at);
    if (plan.deeds.evacuations && chance.one_in(4))
      return evacuate(from, static_cast<unsigned>(other_host(from)));
    return move(vm);
  }
  if (what < 55) return plan.deeds.rule_changes ? change_rules(vm) : void();
  if (what < 60)
    return plan.deeds.cancels ? cancel(vm, static_cast<unsigned>(chance.below(options.hosts)))
                              : void();
  if (what < 66) return plan.faults.false_evidence && chance.one_in(2) ? reset_driver(vm) : void();
  if (what < 68) return plan.faults.killed_vms ? kill_vm(vm) : void();
  if (!plan.calm) fault();
}

void World::move(unsigned vm) {
  const auto from = static_cast<unsigned>(vms_[vm].runs_at);
  const auto to = static_cast<unsigned>(other_host(from));
  const std::string& name = vms_[vm].name;
  const bool pulled = plan.deeds.pulls && chance.one_in(2);
  Host& asked = *hosts[pulled ? to : from];
  const auto begun = [&](const Result<std::string>& id, const char* what, const Host& at) {
    trace([&] {
      return std::string(what) + " " + name + " from " + hosts[from]->name + " to " +
             hosts[to]->name + " at " + at.name + ": " + (id ? *id : id.error().message);
    });
    return id.has_value();
  };
  bool moves = false;
  if (asked.up())
    moves = pulled ? begun(asked.engine->pull(name, hosts[from]->name), "pull", asked)
                   : begun(asked.engine->start(name, hosts[to]->name), "move", asked);
  if (plan.deeds.doubles && chance.one_in(2)) {
    // A second operator moves the VM as well: to the same host or another, from the right host or a
    // wrong one.
    const auto at = static_cast<unsigned>(chance.below(options.hosts));
    const auto other = static_cast<unsigned>(other_host(at));
    schedule.after(chance.spread(10 * kUs, 20 * kMs), [=, this] {
      if (!hosts[at]->up()) return;
      const bool pull = chance.one_in(2);
      const auto id = pull ? hosts[at]->engine->pull(vms_[vm].name, hosts[other]->name)
                           : hosts[at]->engine->start(vms_[vm].name, hosts[other]->name);
      trace([&] {
        return std::string("another ") + (pull ? "pull" : "move") + " of " + vms_[vm].name +
               " at " + hosts[at]->name + ": " + (id ? *id : id.error().message);
      });
    });
  }
  if (!moves) return;
  vms_[vm].busy = true;
  // The source learns of a pull a little later.
  schedule.after(pulled ? 20 * kMs : 1 * kMs,
                 [=, this] { wait_until_prepared(vm, from, to, schedule.now() + 1500 * kMs); });
}

void World::evacuate(unsigned from, unsigned to) {
  if (!hosts[from]->up()) return;
  const auto begun = hosts[from]->engine->start_all(hosts[to]->name);
  trace([&] {
    return "evacuate " + hosts[from]->name + " to " + hosts[to]->name + ": " +
           (begun ? std::to_string(begun->started.size()) + " begun" : begun.error().message);
  });
  if (!begun) return;
  for (const auto& [name, id] : begun->started) {
    for (unsigned vm = 0; vm < vms_.size(); ++vm) {
      if (vms_[vm].name != name || vms_[vm].busy || vms_[vm].runs_at != static_cast<int>(from))
        continue;
      vms_[vm].busy = true;
      schedule.after(1 * kMs,
                     [=, this] { wait_until_prepared(vm, from, to, schedule.now() + 3000 * kMs); });
    }
  }
}

void World::cancel(unsigned vm, unsigned at) {
  if (!hosts[at]->up() || !hosts[at]->engine->moving(vms_[vm].name)) return;
  // To cancel there would mean that the peer is gone for good, which is wrong. Where the VM runs,
  // the operator may decide that it stays.
  for (const auto& move : hosts[at]->engine->status(vms_[vm].name)) {
    if (!move.doubt.empty() &&
        (move.role == "destination" || vms_[vm].runs_at != static_cast<int>(at)))
      return;
  }
  const auto done = hosts[at]->engine->cancel(vms_[vm].name);
  trace([&] {
    return "cancel " + vms_[vm].name + " at " + hosts[at]->name + ": " +
           (done ? "done" : done.error().message);
  });
}

// Creates or destroys a rule at the VM's owner: one of the VM's own, or one of the uplink's that
// lead to the VM.
void World::change_rules(unsigned vm_index) {
  Vm& vm = vms_[vm_index];
  const unsigned nic = vm.nics[chance.below(vm.nics.size())];
  // Any host with its rules and a port: also one that has handed the VM over, which must refuse.
  const auto has_it = [&](const Host& one) {
    const auto* endpoint = one.up() ? one.sw->store.find(nics_[nic].name) : nullptr;
    return endpoint != nullptr && endpoint->port.valid() && !endpoint->inside.empty();
  };
  int at = owner_of(vm);
  for (const auto& one : hosts) {
    if (at == kNowhere && has_it(*one)) at = static_cast<int>(one->index);
  }
  if (at == kNowhere || !has_it(*hosts[static_cast<size_t>(at)])) return;
  Host& host = *hosts[static_cast<size_t>(at)];
  if (!change_rule(host, vm_index, nic, chance.one_in(3))) return;
  vm.picture = host.picture_of(vm.name);
  vm.pictures.insert(vm.picture);
  vm.uplinks = host.uplinks_of(vm.name);
  vm.uplinks_ever.insert(vm.uplinks);
  vm.digest = host.digest_of(vm.name);
  for (size_t n = 0; n < vm.nics.size(); ++n)
    vm.rules_inside[n] = host.sw->store.find(nics_[vm.nics[n]].name)->inside.size();
}

// Writes the journal first. Returns false if the change was refused or cannot be written.
bool World::change_rule(Host& host, unsigned vm_index, unsigned nic, bool of_uplink) {
  Vm& vm = vms_[vm_index];
  const auto* endpoint = host.sw->store.find(nics_[nic].name);
  const auto* owner = of_uplink ? host.sw->store.endpoint(host.sw->uplink) : endpoint;
  uint32_t number = 0;
  if (of_uplink) {
    const auto to_it = host.sw->store.uplink_rules_to({&endpoint->id, 1});
    if (!to_it.empty() && chance.percent(40)) number = to_it.back()->id.value;
  } else if (!endpoint->rules.empty() && !chance.percent(60)) {
    number = endpoint->rules.rbegin()->first;
    if (number <= 1) number = 0;
  }
  migration::JournalBatch batch;
  dataplane::Transaction transaction(host.sw->store);
  if (number != 0) {
    if (auto gone = transaction.destroy_rule(owner->id, RuleId{number}); !gone) return false;
    batch.destroyed.emplace_back(owner->profile.name, number);
  } else {
    ++vm.rules_made;
    const std::string text =
        "ingress priority " + std::to_string(vm.rules_made) + " pattern eth / ipv4 / udp dst is " +
        std::to_string(1000 + vm.rules_made) + " / end actions " +
        (of_uplink ? "represented_port ethdev_port_id " + nics_[nic].name : "drop") + " / end";
    const auto rule = dataplane::parse_rule(text);
    const auto made = transaction.create_rule(owner->id, *rule);
    if (!made) return false;
    batch.created.push_back(
        {owner->profile.name, made->value, owner->profile.name, dataplane::to_text(*rule)});
  }
  const uint64_t spared = std::exchange(host.crash_in, 0);
  // An operator's change is no mutant's business, and comes after what waits.
  const bool written = host.journal->flush() && host.memory->write(batch);
  host.crash_in = spared;
  if (!written) return false;
  transaction.commit();
  trace([&] {
    return "a rule of " + (of_uplink ? owner->profile.name + " to " : "") + nics_[nic].name +
           (batch.created.empty() ? " goes at " : " is made at ") + host.name;
  });
  return true;
}

void World::crash(unsigned host_index) {
  Host& host = *hosts[host_index];
  if (!host.up()) return;
  if (chance.one_in(3)) {
    host.crash("from outside");
  } else {
    host.crash_in = chance.spread(1, 24);
  }
}

void World::part(unsigned a, unsigned b, uint64_t for_ns) {
  if (healing || wires.parted(a, b)) return;
  trace([&] { return hosts[a]->name + " and " + hosts[b]->name + " do not hear each other"; });
  wires.part(a, b, true);
  schedule.after(for_ns, [=, this] {
    if (healing || !wires.parted(a, b)) return;
    trace([&] { return hosts[a]->name + " and " + hosts[b]->name + " hear each other again"; });
    wires.part(a, b, false);
  });
}

// While QEMU copies, the hosts do not hear each other for a while or their sessions are cut.
void World::aim_at_copy(unsigned from, unsigned to) {
  if (!plan.aims.cut_in_copy || healing || chance.one_in(3)) return;
  if (chance.one_in(2)) return wires.cut_between(from, to);
  part(from, to, chance.spread(20 * kMs, 6 * kSecond));
}

void World::lie_later() {
  schedule.after(chance.spread(1 * kMs, 20 * kMs), [this] {
    if (healing) return;
    liar_->lie();
    lie_later();
  });
}

// The host has a copy of its disk from before at its next start, or of what it was set up with.
void World::lose_disk(Host& host) {
  if (!plan.faults.lost_disks || healing || !chance.one_in(3) || host.disk_state.old == nullptr)
    return;
  trace.line(host.name, "its disk is an older copy");
  host.disk = std::make_shared<migration::MemoryDisk>(*host.disk_state.old);
  host.disk_state.lost = true;
}

void World::fault() {
  const auto host = static_cast<unsigned>(chance.below(options.hosts));
  if (plan.faults.lost_disks && !hosts[host]->disk_state.lost && chance.one_in(2))
    hosts[host]->disk_state.old = std::make_shared<migration::MemoryDisk>(*hosts[host]->disk);
  switch (chance.below(4)) {
    case 0:
      if (plan.faults.crashes) crash(host);
      return;
    case 1:
      if (plan.faults.cuts) wires.cut_some();
      return;
    case 2: {
      const auto other = static_cast<unsigned>(other_host(host));
      if (plan.faults.partings) part(host, other, chance.spread(5 * kMs, 6 * kSecond));
      return;
    }
    default:
      if (!plan.faults.full_disks || hosts[host]->disk_state.full) return;
      trace.line(hosts[host]->name, "its disk is full");
      hosts[host]->disk_state.full = true;
      schedule.after(chance.spread(1 * kMs, 500 * kMs), [=, this] {
        if (hosts[host]->disk_state.full) trace.line(hosts[host]->name, "its disk has room again");
        hosts[host]->disk_state.full = false;
      });
  }
}

}  // namespace godwit::sim
