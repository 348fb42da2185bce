// SPDX-License-Identifier: Apache-2.0
#include "tests/sim/plan.h"

#include <algorithm>

#include "migration/moves/destination_machine.h"
#include "migration/moves/source_machine.h"

namespace godwit::sim {

namespace {

Aims draw_aims(Chance& chance) {
  Aims aims;
  aims.cut_in_copy = chance.one_in(3);
  aims.part_in_pause = chance.one_in(3);
  if (!chance.one_in(2)) return aims;
  aims.kill_source = chance.one_in(2);
  const auto pick = [&](auto first, auto end) {
    const auto at = chance.between(static_cast<uint64_t>(first), static_cast<uint64_t>(end) - 1);
    aims.kill_in_state = migration::name_of(static_cast<decltype(first)>(at));
  };
  if (aims.kill_source) {
    pick(migration::SourceState::kConnecting, migration::SourceState::kCount);
  } else {
    pick(migration::DestinationState::kOffered, migration::DestinationState::kCount);
  }
  return aims;
}

}  // namespace

Plan Plan::draw(Chance& chance, const Extras& extras) {
  Plan plan;
  const uint64_t kind = chance.below(100);
  plan.calm = kind < 10;
  plan.orderly = kind < 45;
  const auto maybe = [&](uint64_t percent, bool allowed) {
    return chance.percent(percent) && allowed;
  };
  const bool wild = !plan.orderly;
  plan.faults.crashes = maybe(55, wild);
  plan.faults.cuts = maybe(45, wild);
  plan.faults.partings = maybe(35, wild);
  plan.faults.slow_network = maybe(25, wild);
  plan.faults.late_evidence = maybe(25, wild);
  plan.faults.lost_announcements = maybe(30, wild);
  plan.faults.full_disks = maybe(30, !plan.calm);
  plan.deeds.cancels = maybe(40, !plan.calm);
  plan.faults.false_evidence = maybe(40, !plan.calm);
  plan.faults.killed_vms = maybe(20, !plan.calm);
  plan.deeds.doubles = maybe(30, !plan.calm);
  plan.faults.skewed_clocks = maybe(40, true);
  plan.deeds.rule_changes = maybe(50, true);
  plan.deeds.evacuations = maybe(25, true);
  plan.deeds.pulls = maybe(40, true);
  plan.deeds.silent_vms = maybe(30, true);
  plan.faults.slow_fabric = maybe(30, true);
  plan.vms = static_cast<unsigned>(chance.between(1, chance.one_in(3) ? 3 : 2));
  plan.most_nics = chance.one_in(3) ? 3 : chance.one_in(2) ? 2 : 1;
  plan.length = chance.spread(200 * kMs, 2 * kSecond);
  plan.action_low = 500 * kUs;
  plan.action_high = chance.spread(16 * kMs, 256 * kMs);
  plan.traffic_busy = chance.spread(100 * kUs, 4 * kMs);
  plan.traffic_idle = plan.traffic_busy * 16;
  if (plan.faults.slow_network) {
    plan.wires.delay_low = 1 * kMs;
    plan.wires.delay_high = chance.spread(8 * kMs, 400 * kMs);
  }
  if (plan.orderly && chance.one_in(3)) plan.wires.delay_high = chance.spread(400 * kUs, 4 * kMs);
  if (plan.faults.cuts) {
    plan.wires.cut_one_in = chance.spread(8, 64);
    plan.wires.late_end_percent = chance.below(60);
  }
  if (chance.one_in(3)) plan.limits.inject = chance.spread(1, 16);
  if (chance.one_in(4)) plan.limits.redirect = chance.spread(2, 32);
  // A backlog that does not drain in time costs order: direct arrivals wait 50 ms and no longer.
  if (plan.orderly) plan.limits.redirect = std::max<size_t>(plan.limits.redirect, 64);
  if (chance.one_in(4)) plan.limits.park = chance.spread(2, 32);
  if (extras.aimed && wild && chance.percent(60)) plan.aims = draw_aims(chance);
  plan.faults.lost_disks = plan.faults.crashes && extras.disks;
  return plan;
}

std::string Plan::text() const {
  std::string out = calm ? "calm" : orderly ? "orderly" : "wild";
  const auto add = [&](bool has, const char* name) {
    if (has) out += std::string(", ") + name;
  };
  add(faults.crashes, "crashes");
  add(faults.cuts, "cuts");
  add(faults.partings, "partings");
  add(faults.full_disks, "full disks");
  add(faults.false_evidence, "false evidence");
  add(faults.late_evidence, "late evidence");
  add(faults.skewed_clocks, "skewed clocks");
  add(faults.slow_network, "slow network");
  add(faults.lost_announcements, "lost announcements");
  add(faults.slow_fabric, "slow fabric");
  add(faults.killed_vms, "killed VMs");
  add(deeds.cancels, "cancels");
  add(deeds.rule_changes, "rule changes");
  add(deeds.doubles, "doubles");
  add(deeds.evacuations, "evacuations");
  add(deeds.pulls, "pulls");
  add(deeds.silent_vms, "silent VMs");
  add(faults.lost_disks, "lost disks");
  add(aims.cut_in_copy, "cuts while QEMU copies");
  add(aims.part_in_pause, "partings in the pause");
  if (!aims.kill_in_state.empty())
    out += std::string(", kills the ") + (aims.kill_source ? "source" : "destination") +
           " in state " + std::string(aims.kill_in_state);
  return out;
}

}  // namespace godwit::sim
