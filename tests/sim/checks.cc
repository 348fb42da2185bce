// SPDX-License-Identifier: Apache-2.0
//
// The invariants of a migration, by the numbers that violations carry.
//
// After each event, for hosts that have published since:
//   1  at most one host accepts the VM's transmissions
//   2  a port is polled only with all its rules
// When everything has healed:
//   3  the owner has the VM's policy, byte for byte, and no other host has anything of it
//   4  the owner's rules may be changed again
//   5  each VM has an owner, and no move is left
//   7  a VM that runs has its policy, and ports that forward, where it runs
// For each packet:
//   6  it is delivered once and in order, or its drop is counted
#include <algorithm>
#include <utility>

#include "tests/sim/world.h"

namespace godwit::sim {

using dataplane::LocationKind;

void World::violate(const std::string& what) {
  if (!report_.violation.empty()) return;
  report_.violation = what;
  trace.line("", "VIOLATION: " + what);
}

// Returns the host that has the VM in force, of those that are up, or kNowhere.
int World::owner_of(const Vm& vm) const {
  for (const auto& host : hosts) {
    if (!host->up()) continue;
    const auto* endpoint = host->sw->store.find(nics_[vm.nics[0]].name);
    if (endpoint != nullptr && endpoint->active && endpoint->port.valid())
      return static_cast<int>(host->index);
  }
  return kNowhere;
}

void World::check_host(Host& host) {
  auto& accepts = accepts_[host.index];
  const dataplane::ForwardingState* state = host.up() ? host.sw->cell.load() : nullptr;
  for (unsigned n = 0; n < nics_.size(); ++n) {
    accepts[n] = false;
    if (state == nullptr) continue;
    const auto* record = host.sw->store.find(nics_[n].name);
    if (record == nullptr) continue;
    const auto* entry = state->endpoint(record->id);
    if (entry == nullptr || !entry->active) continue;
    accepts[n] = record->port.valid();
    const Vm& vm = vms_[nics_[n].vm];
    const size_t expected = vm.rules_inside[nics_[n].place];
    if (entry->ingress == nullptr || entry->egress == nullptr) {
      violate("2: " + host.name + " polls " + nics_[n].name + " without its tables");
    } else if (const auto* port = host.sw->ports.find(record->port);
               port != nullptr && port->rings_running && record->inside.size() != expected &&
               !vm.claimed && !disks_lost()) {
      violate("2: " + host.name + " polls " + nics_[n].name + " with " +
              std::to_string(record->inside.size()) + " rules of " + std::to_string(expected));
    }
  }
}

void World::check_owners() {
  if (disks_lost()) return;
  for (unsigned n = 0; n < nics_.size(); ++n) {
    unsigned polled = 0, transmitting = 0;
    std::string where;
    for (const auto& host : hosts) {
      if (!host->up() || !accepts_[host->index][n]) continue;
      const auto* port = host->sw->ports.find(nics_[n].name);
      ++polled;
      transmitting += port != nullptr && port->rings_running ? 1 : 0;
      where += (where.empty() ? "" : " and ") + host->name;
    }
    if (transmitting > 1) violate("1: " + where + " accept the transmissions of " + nics_[n].name);
    // Without false evidence and claims, not even two hosts are ready to accept.
    if (polled > 1 && plan.orderly && !vms_[nics_[n].vm].claimed)
      violate("1: " + where + " would accept the transmissions of " + nics_[n].name);
  }
}

// Returns whether invariant 7 is checked in this run.
bool World::checks_service() const {
  const Faults& faults = plan.faults;
  const Aims& aims = plan.aims;
  const bool links = faults.crashes || faults.cuts || faults.partings || aims.cut_in_copy ||
                     aims.part_in_pause || !aims.kill_in_state.empty();
  return (options.extras.links || !links) && (options.extras.finishes || !faults.false_evidence) &&
         (options.extras.cancels || !plan.deeds.cancels) &&
         (options.extras.full || !faults.full_disks);
}

// Returns what a VM that runs lacks there: its policy, or a port that forwards. Empty if nothing.
std::string World::missing(const Vm& vm) const {
  if (vm.runs_at == kNowhere) return {};
  const auto at = static_cast<size_t>(vm.runs_at);
  const Host& host = *hosts[at];
  if (host.disk_state.lost) return {};  // perhaps the only copy is gone
  if (!host.up()) return "its switch";
  for (size_t n = 0; n < vm.nics.size(); ++n) {
    const std::string& name = nics_[vm.nics[n]].name;
    const auto* endpoint = host.sw->store.find(name);
    const PortId port = vm.at[at].port[n];
    const auto* info = port.valid() ? host.sw->ports.find(port) : nullptr;
    if (info == nullptr) return "the port of " + name;
    if (!info->rings_running) return "the rings of " + name;
    if (endpoint == nullptr) return "the profile of " + name;
    if (endpoint->inside.size() != vm.rules_inside[n]) return "rules of " + name;
    if (!endpoint->active || endpoint->port != port ||
        endpoint->location.kind != LocationKind::kPort || !host.sw->cell.load()->polled(port))
      return "the forwarding of " + name;
  }
  return {};
}

void World::check_owned(const Vm& vm, const Host& owner) {
  const std::string at = vm.name + " at " + owner.name;
  for (const unsigned nic : vm.nics) {
    const auto* endpoint = owner.sw->store.find(nics_[nic].name);
    if (endpoint == nullptr || !endpoint->active || !endpoint->port.valid() ||
        endpoint->location.kind != LocationKind::kPort) {
      return violate("5: " + nics_[nic].name + " is not in force at " + owner.name +
                     ", which has the VM");
    }
    if (!endpoint->guarded_by.empty())
      return violate("4: the rules of " + at + " are still guarded: " + endpoint->guarded_by);
    if (endpoint->location.dedupe != 0)
      return violate("3: the window of " + at + " was not closed");
    if (owner.sw->ports.find(endpoint->port) == nullptr)
      return violate("5: the port of " + nics_[nic].name + " at " + owner.name + " is gone");
  }
  const std::string picture = owner.picture_of(vm.name);
  const bool claimed = vm.claimed && !options.extras.claims &&
                       (options.mutant == nullptr || !options.mutant->claims);
  if (claimed ? !vm.pictures.contains(picture) : picture != vm.picture) {
    return violate("3: the policy of " + at + " is not its own: have\n" + picture + "want\n" +
                   vm.picture);
  }
  if (!claimed && owner.digest_of(vm.name) != vm.digest)
    return violate("3: the digest of " + at + " is another");
  const std::string uplinks = owner.uplinks_of(vm.name);
  if (claimed ? !vm.uplinks_ever.contains(uplinks) : uplinks != vm.uplinks) {
    violate("3: the uplink rules that lead to " + at + " are not its own: have\n" + uplinks +
            "want\n" + vm.uplinks);
  }
}

void World::check_left(const Vm& vm, const Host& other) {
  std::vector<EndpointId> ids;
  for (const auto* endpoint : other.sw->store.endpoints_of_vm(vm.name)) {
    const std::string what = endpoint->profile.name + " at " + other.name;
    ids.push_back(endpoint->id);
    if (endpoint->location.kind != LocationKind::kUplink)
      return violate("3: the location of " + what + ", which does not have the VM, is " +
                     std::to_string(static_cast<int>(endpoint->location.kind)));
    if (endpoint->location.redirect_late)
      return violate("3: the redirect of " + what + " is still open");
    if (endpoint->active || endpoint->port.valid())
      return violate("3: " + what + " still has a port");
    if (!endpoint->inside.empty())
      return violate("3: " + what + " still has " + std::to_string(endpoint->inside.size()) +
                     " rules");
    if (!endpoint->guarded_by.empty()) return violate("3: " + what + " is still guarded");
    if (other.sw->ports.find(endpoint->profile.name) != nullptr)
      return violate("3: the port of " + what + " was not removed");
  }
  if (!other.sw->store.uplink_rules_to(ids).empty())
    violate("3: uplink rules that lead to " + vm.name + " were left at " + other.name);
}

bool World::disks_lost() const {
  return std::ranges::any_of(hosts, [](const auto& host) { return host->disk_state.lost; });
}

// A host polls no port of a VM of which it does not know who has it.
void World::check_doubts() {
  for (Vm& vm : vms_) {
    const int at = std::exchange(vm.doubted_at, kNowhere);
    if (at == kNowhere || !hosts[static_cast<size_t>(at)]->up()) continue;
    const Host& host = *hosts[static_cast<size_t>(at)];
    for (const unsigned nic : vm.nics) {
      const auto* endpoint = host.sw->store.find(nics_[nic].name);
      if (endpoint != nullptr && endpoint->active)
        violate("1: " + host.name + " is in doubt about " + vm.name + " and polls " +
                nics_[nic].name);
      if (endpoint != nullptr && endpoint->location.kind != LocationKind::kParked)
        violate("6: " + host.name + " is in doubt about " + vm.name +
                " and does not park what comes for " + nics_[nic].name);
    }
  }
}

// Both ends of the VM's last move remember its epoch, or a newer one.
void World::check_epochs() {
  for (const Vm& vm : vms_) {
    for (const unsigned end : {vm.taken_at, vm.taken_from}) {
      if (end >= hosts.size()) continue;
      const auto& known = hosts[end]->disk->epochs;
      const auto found = known.find(vm.name);
      if (found != known.end() && !(found->second < vm.taken_by)) continue;
      violate("5: " + hosts[end]->name + " has written epoch " +
              (found == known.end() ? "none" : migration::to_string(found->second)) + " of " +
              vm.name + ", which was taken by " + migration::to_string(vm.taken_by));
    }
  }
}

void World::check_at_the_end() {
  // A host with an older copy has VMs that are elsewhere, and nobody to ask.
  if (disks_lost()) return;
  if (options.extras.claims || (options.mutant != nullptr && options.mutant->claims))
    check_epochs();
  for (const Vm& vm : vms_) {
    const int owner = owner_of(vm);
    if (owner == kNowhere) return violate("5: nobody has " + vm.name);
    for (const auto& host : hosts) {
      if (static_cast<int>(host->index) == owner) {
        check_owned(vm, *host);
      } else {
        check_left(vm, *host);
      }
    }
  }
  for (const auto& host : hosts) {
    if (!host->disk->moves.empty())
      violate("5: the journal of " + host->name + " still has move " +
              host->disk->moves.front().id);
    for (const auto& move : host->engine->status()) {
      if (move.state != "done" && move.state != "aborted")
        violate("5: move " + move.id + " of " + move.vm + " is " + move.state + " at " +
                host->name);
    }
  }
}

void World::check_tokens() {
  if (disks_lost()) return;
  for (size_t id = 0; id < tokens_.size(); ++id) {
    const Token& token = tokens_[id];
    report_.excused += token.excused ? 1 : 0;
    if (token.delivered || token.counted || token.excused || token.touched == 0) continue;
    violate("6: packet " + std::to_string(id) + " of flow " + std::to_string(token.flow) + " to " +
            nics_[flows_[token.flow].nic].name + " is lost");
  }
}

}  // namespace godwit::sim
