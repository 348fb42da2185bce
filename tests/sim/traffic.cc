// SPDX-License-Identifier: Apache-2.0
//
// Numbered packets for the VMs, through the fabric and the hosts, and the fate of each.
//
// The fabric is one switch: it learns MACs, sends no packet back to where it came from, and keeps
// order on the path to a host.
#include <algorithm>

#include "tests/sim/world.h"

namespace godwit::sim {

namespace {
constexpr size_t kMostTokens = 400;
}

void World::traffic_later(unsigned vm) {
  const uint64_t interval = vms_[vm].busy ? plan.traffic_busy : plan.traffic_idle;
  schedule.after(interval / 2 + chance.below(interval), [this, vm] {
    if (over_ || tokens_.size() >= kMostTokens || (healing && !vms_[vm].busy)) return;
    vm_speaks(vm);
    for (unsigned flow = 0; flow < flows_.size(); ++flow) {
      if (nics_[flows_[flow].nic].vm == vm && chance.one_in(2)) send(flow);
    }
    traffic_later(vm);
  });
}

// The fabric learns from the VM's own packets. They leave only a host where the policy is in force.
void World::vm_speaks(unsigned vm_index) {
  Vm& vm = vms_[vm_index];
  if (vm.runs_at == kNowhere || plan.deeds.silent_vms) return;
  const auto at = static_cast<unsigned>(vm.runs_at);
  Host& host = *hosts[at];
  if (!host.up()) return;
  for (unsigned n = 0; n < vm.nics.size(); ++n) {
    const PortId port = vm.at[at].port[n];
    if (!port.valid() || !vm.at[at].rings[n] || !host.sw->cell.load()->polled(port)) continue;
    // After what the worker still has in hand.
    schedule.after(fabric_.path_ns[at] + 50 * kUs,
                   [this, nic = vm.nics[n], at] { nics_[nic].learned_at = at; });
  }
}

void World::send(unsigned flow_index) {
  Flow& flow = flows_[flow_index];
  const auto id = static_cast<TokenId>(tokens_.size());
  tokens_.push_back({flow_index, ++flow.sent});
  trace([&] {
    return "packet " + std::to_string(id) + " (flow " + std::to_string(flow_index) + " #" +
           std::to_string(flow.sent) + ") is sent by " +
           (flow.from == kNowhere ? "the fabric" : hosts[static_cast<size_t>(flow.from)]->name);
  });
  if (flow.from == kNowhere) return route(id);
  const auto from = static_cast<unsigned>(flow.from);
  Host& host = *hosts[from];
  if (!host.up()) return;
  const auto* endpoint = host.sw->store.find(nics_[flow.nic].name);
  if (endpoint == nullptr) return;
  tokens_[id].touched |= static_cast<uint8_t>(1u << from);
  host.sw->worker.receive(id, endpoint->id, false);
}

uint64_t World::path_to(unsigned host) {
  fabric_.path_last[host] =
      std::max(fabric_.path_last[host], schedule.now() + fabric_.path_ns[host]);
  return fabric_.path_last[host];
}

// Sends a packet from the fabric to the host behind which it has learned the MAC.
void World::route(TokenId id) {
  const unsigned nic = flows_[tokens_[id].flow].nic;
  const unsigned at = nics_[nic].learned_at;
  ++fabric_.under_way;
  schedule.at(path_to(at), [this, id, at, nic] {
    --fabric_.under_way;
    Host& host = *hosts[at];
    if (!host.up()) {
      tokens_[id].excused = true;  // no host was up
      return;
    }
    const auto* endpoint = host.sw->store.find(nics_[nic].name);
    tokens_[id].touched |= static_cast<uint8_t>(1u << at);
    if (endpoint == nullptr) return on_dropped(at, id, "no_receiver");
    host.sw->worker.receive(id, endpoint->id, true);
  });
}

void World::on_transmitted(unsigned host, TokenId id) {
  ++fabric_.under_way;
  schedule.after(fabric_.path_ns[host], [this, host, id] {
    --fabric_.under_way;
    if (nics_[flows_[tokens_[id].flow].nic].learned_at != host) return route(id);
    // The fabric sends no packet back to where it came from.
    if (plan.orderly)
      return violate("packet " + std::to_string(id) + " for " +
                     nics_[flows_[tokens_[id].flow].nic].name + " left " + hosts[host]->name +
                     " by its uplink, and the fabric has the VM behind " + hosts[host]->name);
    tokens_[id].excused = true;
  });
}

// Carries the switches' own frames. Announcements and echoes go everywhere and teach the fabric; a
// probe goes to where the fabric has learned the VM.
void World::on_emitted(unsigned from, const std::vector<uint8_t>& frame) {
  if (frame.size() < 14) return;
  const bool broadcast = frame[0] == 0xff;
  const unsigned nic = broadcast ? frame[11] : frame[5];
  const bool rarp = frame[12] == 0x80 && frame[13] == 0x35;
  if (nic >= nics_.size() || (plan.faults.lost_announcements && !healing && chance.one_in(2)))
    return;
  schedule.after(fabric_.path_ns[from], [this, from, nic, rarp, broadcast, frame] {
    if (broadcast) nics_[nic].learned_at = from;
    for (unsigned to = 0; to < options.hosts; ++to) {
      if (to == from || !rarp || (!broadcast && to != nics_[nic].learned_at)) continue;
      schedule.at(path_to(to), [this, to, frame] {
        if (hosts[to]->up()) hosts[to]->sw->worker.hear_announcement(hosts[to]->sw->uplink, frame);
      });
    }
  });
}

void World::on_delivered(unsigned host, TokenId id, const dataplane::PortInfo& port) {
  Token& token = tokens_[id];
  Flow& flow = flows_[token.flow];
  const Nic& nic = nics_[flow.nic];
  token.touched |= static_cast<uint8_t>(1u << host);
  if (port.name != nic.name)
    return violate("packet " + std::to_string(id) + " for " + nic.name + " came out at " +
                   port.name);
  if (!port.rings_running) return on_dropped(host, id, "tx_down");
  if (token.delivered && !token.excused)
    return violate("packet " + std::to_string(id) + " for " + nic.name +
                   " was delivered twice, now at " + hosts[host]->name);
  token.delivered = true;
  token.delivered_at = static_cast<uint8_t>(host);
  ++report_.delivered;
  trace([&] {
    return "packet " + std::to_string(id) + " (flow " + std::to_string(token.flow) + " #" +
           std::to_string(token.sequence) + ") is delivered at " + hosts[host]->name;
  });
  if (plan.orderly && !vms_[nic.vm].order_lost && token.sequence < flow.last) {
    return violate("packet " + std::to_string(id) + " of flow " + std::to_string(token.flow) +
                   " to " + nic.name + " came after a later one");
  }
  flow.last = std::max(flow.last, token.sequence);
}

// Discards the VM as it ran at `host`, with all that it has received: it continues from where it
// was paused.
void World::forget_delivered(unsigned vm, unsigned host) {
  for (Token& token : tokens_) {
    if (token.delivered && token.delivered_at == host && nics_[flows_[token.flow].nic].vm == vm)
      token.excused = true;
  }
  vms_[vm].order_lost = true;
}

void World::on_dropped(unsigned host, TokenId id, const char* reason) {
  trace([&] {
    return "packet " + std::to_string(id) + " (flow " + std::to_string(tokens_[id].flow) + " #" +
           std::to_string(tokens_[id].sequence) + ") is dropped at " + hosts[host]->name + ": " +
           reason;
  });
  tokens_[id].counted = true;
  ++report_.dropped;
}

// Frames that the lost session held are gone. Others would have been delivered all the same.
void World::on_crashed(unsigned host) {
  ++report_.crashes;
  rings_changed = true;
  for (Token& token : tokens_) token.excused |= (token.touched >> host & 1) != 0;
  for (Vm& vm : vms_) {
    for (PortId& port : vm.at[host].port) port = PortId{};
  }
  schedule.after(chance.spread(2 * kMs, 4 * kSecond), [this, host] {
    if (hosts[host]->up()) return;
    lose_disk(*hosts[host]);
    trace.line(hosts[host]->name, "starts again");
    hosts[host]->start();
  });
}

}  // namespace godwit::sim
