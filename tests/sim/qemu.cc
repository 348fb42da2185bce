// SPDX-License-Identifier: Apache-2.0
//
// QEMU and libvirt: where a VM really runs. It runs in one place at a time; hosts may see its rings
// late.
#include <algorithm>

#include "tests/sim/world.h"

namespace godwit::sim {

using dataplane::PortEventKind;

// QEMU at `host` connects to the ports that are there.
void World::connect(unsigned vm_index, unsigned host_index) {
  Vm& vm = vms_[vm_index];
  Host& host = *hosts[host_index];
  Process& process = vm.at[host_index];
  if (!process.there || !host.up()) return;
  for (unsigned n = 0; n < vm.nics.size(); ++n) {
    if (process.port[n].valid()) continue;
    auto* port = host.sw->ports.find(nics_[vm.nics[n]].name);
    if (port == nullptr) continue;
    process.port[n] = port->id;
    process.connected[n] = true;
    port->features = uint64_t{1} << 32;
    port->connected = true;
    host.port_event(PortEventKind::kConnected, port->id);
    if (process.rings[n]) set_ring(vm_index, host_index, n, true);
  }
}

void World::set_ring(unsigned vm, unsigned host_index, unsigned nic, bool on) {
  Process& process = vms_[vm].at[host_index];
  process.rings[nic] = on;
  Host& host = *hosts[host_index];
  if (!host.up() || !process.port[nic].valid()) return;
  auto* port = host.sw->ports.find(process.port[nic]);
  if (port == nullptr || port->rings_running == on) return;
  port->rings_running = on;
  rings_changed = true;
  trace([&] {
    return nics_[vms_[vm].nics[nic]].name + (on ? " runs at " : " stops at ") + host.name;
  });
  host.port_event(on ? PortEventKind::kRingsRunning : PortEventKind::kRingsStopped, port->id);
}

// Starts or stops the NICs one after the other.
void World::set_rings(unsigned vm, unsigned host, bool on) {
  for (unsigned n = 0; n < vms_[vm].nics.size(); ++n) {
    schedule.after(n == 0 ? 0 : chance.spread(10 * kUs, 2 * kMs) * n, [this, vm, host, n, on] {
      const Vm& it = vms_[vm];
      // Something else has happened in the meantime.
      if (on != (it.runs_at == static_cast<int>(host)) || !it.at[host].there) return;
      set_ring(vm, host, n, on);
    });
  }
}

void World::leave(unsigned vm_index, unsigned host_index) {
  Vm& vm = vms_[vm_index];
  Process& process = vm.at[host_index];
  Host& host = *hosts[host_index];
  for (unsigned n = 0; n < vm.nics.size(); ++n) {
    set_ring(vm_index, host_index, n, false);
    if (!host.up() || !process.port[n].valid()) continue;
    if (auto* port = host.sw->ports.find(process.port[n])) port->connected = false;
    host.port_event(PortEventKind::kDisconnected, process.port[n]);
  }
  process = {};
}

void World::log_memory(unsigned vm, unsigned host_index, bool on) {
  Host& host = *hosts[host_index];
  const Process& process = vms_[vm].at[host_index];
  for (unsigned n = 0; n < vms_[vm].nics.size() && host.up(); ++n) {
    auto* port = process.port[n].valid() ? host.sw->ports.find(process.port[n]) : nullptr;
    if (port == nullptr || port->dirty_logging == on) continue;
    port->dirty_logging = on;
    host.port_event(on ? PortEventKind::kLoggingStarted : PortEventKind::kLoggingStopped, port->id);
  }
}

void World::on_port_added(unsigned host, const std::string& endpoint) {
  const auto vm = dataplane::vm_of(endpoint);
  for (unsigned v = 0; v < vms_.size(); ++v) {
    if (vms_[v].name == vm) {
      schedule.after(
          plan.orderly ? chance.spread(50 * kUs, 1 * kMs) : chance.spread(100 * kUs, 200 * kMs),
          [this, v, host] { connect(v, host); });
    }
  }
}

void World::on_port_removed(unsigned host, const std::string& endpoint) {
  for (Vm& vm : vms_) {
    for (unsigned n = 0; n < vm.nics.size(); ++n) {
      if (nics_[vm.nics[n]].name == endpoint) vm.at[host].port[n] = PortId{};
    }
  }
  rings_changed = true;
}

// libvirt has had the move started, and waits until the policy is prepared at the destination.
void World::wait_until_prepared(unsigned vm, unsigned from, unsigned to, uint64_t until) {
  const std::string state = hosts[from]->state_of(vms_[vm].name, hosts[to]->name);
  if (state == "prepared") return copy(vm, from, to);
  const bool over = state == "aborted" || state == "done" || state.empty();
  if (over || schedule.now() > until) {
    if (plan.faults.false_evidence && chance.one_in(4)) return copy(vm, from, to);  // does not wait
    vms_[vm].busy = false;
    return;
  }
  schedule.after(chance.between(2 * kMs, 10 * kMs),
                 [=, this] { wait_until_prepared(vm, from, to, until); });
}

void World::copy(unsigned vm, unsigned from, unsigned to) {
  vms_[vm].at[to].there = true;
  connect(vm, to);
  log_memory(vm, from, true);
  if (plan.aims.cut_in_copy)
    schedule.after(chance.spread(1 * kMs, 30 * kMs), [=, this] { aim_at_copy(from, to); });
  schedule.after(chance.spread(2 * kMs, 60 * kMs), [=, this] {
    log_memory(vm, from, false);
    const auto nics = static_cast<std::ptrdiff_t>(vms_[vm].nics.size());
    const auto& connected = vms_[vm].at[to].connected;
    if (std::find(connected.begin(), connected.begin() + nics, false) != connected.begin() + nics) {
      trace([&] { return "QEMU finds no ports for " + vms_[vm].name + " at " + hosts[to]->name; });
      leave(vm, to);
      vms_[vm].busy = false;
      return;
    }
    if (plan.faults.false_evidence && chance.one_in(6)) {
      trace([&] { return "the migration of " + vms_[vm].name + " is cancelled in QEMU"; });
      leave(vm, to);
      vms_[vm].busy = false;
      return;
    }
    pause(vm, from, to);
  });
}

void World::pause(unsigned vm, unsigned from, unsigned to) {
  if (vms_[vm].runs_at != static_cast<int>(from)) {
    vms_[vm].busy = false;
    return;
  }
  trace([&] { return vms_[vm].name + " is paused at " + hosts[from]->name; });
  vms_[vm].runs_at = kNowhere;
  set_rings(vm, from, false);
  if (plan.aims.part_in_pause && !healing && chance.one_in(2))
    schedule.after(chance.spread(10 * kUs, 10 * kMs),
                   [=, this] { part(from, to, chance.spread(20 * kMs, 6 * kSecond)); });
  const uint64_t long_ms = plan.orderly ? 16 : 250;
  schedule.after(5 * kMs + chance.spread(500 * kUs, long_ms * kMs), [=, this] {
    const bool fails = plan.faults.false_evidence && chance.one_in(5);
    if (!fails || !chance.one_in(3)) return resume(vm, from, to, !fails);
    // QEMU fails at the last moment: the VM has run there already.
    trace([&] { return vms_[vm].name + " runs at " + hosts[to]->name + " for a moment"; });
    vms_[vm].runs_at = static_cast<int>(to);
    set_rings(vm, to, true);
    if (plan.faults.partings && chance.one_in(2))
      part(from, to, chance.spread(10 * kMs, 6 * kSecond));
    if (plan.deeds.cancels && chance.one_in(2))
      schedule.after(chance.spread(10 * kMs, 200 * kMs), [=, this] { cancel(vm, from); });
    schedule.after(6 * kMs + chance.spread(100 * kUs, 30 * kMs), [=, this] {
      leave(vm, to);
      forget_delivered(vm, to);
      resume(vm, from, to, false);
    });
  });
}

void World::resume(unsigned vm_index, unsigned from, unsigned to, bool there) {
  Vm& vm = vms_[vm_index];
  const unsigned host = there ? to : from;
  trace([&] {
    return vm.name + (there ? " resumes at " : ", whose migration has failed, goes on at ") +
           hosts[host]->name;
  });
  vm.runs_at = static_cast<int>(host);
  set_rings(vm_index, host, true);
  schedule.after(5 * kMs + chance.spread(200 * kUs, 50 * kMs), [=, this] {
    if (vms_[vm_index].runs_at != static_cast<int>(there ? from : to))
      leave(vm_index, there ? from : to);
    vms_[vm_index].busy = false;
  });
}

// A guest reboots, or is saved to a file: its rings stop and then run again.
void World::reset_driver(unsigned vm) {
  const int host = vms_[vm].runs_at;
  if (host == kNowhere) return;
  trace([&] { return vms_[vm].name + " resets its driver"; });
  for (unsigned n = 0; n < vms_[vm].nics.size(); ++n) {
    set_ring(vm, static_cast<unsigned>(host), n, false);
    schedule.after(chance.spread(200 * kUs, 100 * kMs), [=, this] {
      if (vms_[vm].runs_at == host) set_ring(vm, static_cast<unsigned>(host), n, true);
    });
  }
}

void World::kill_vm(unsigned vm) {
  const int host = vms_[vm].runs_at;
  if (host == kNowhere || vms_[vm].busy) return;
  trace([&] { return vms_[vm].name + " is killed"; });
  vms_[vm].busy = true;
  vms_[vm].runs_at = kNowhere;
  leave(vm, static_cast<unsigned>(host));
  schedule.after(chance.spread(5 * kMs, 300 * kMs), [=, this] {
    trace([&] { return vms_[vm].name + " is started again"; });
    vms_[vm].at[static_cast<unsigned>(host)].there = true;
    vms_[vm].runs_at = host;
    set_rings(vm, static_cast<unsigned>(host), true);
    connect(vm, static_cast<unsigned>(host));
    vms_[vm].busy = false;
  });
}

}  // namespace godwit::sim
