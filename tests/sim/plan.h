// SPDX-License-Identifier: Apache-2.0
//
// What may happen in a run, drawn from its seed. Each kind of fault is in some runs only: what
// hides one bug often brings out another.
#pragma once

#include <cstdint>

#include "tests/sim/chance.h"
#include "tests/sim/sim_network.h"
#include "tests/sim/sim_switch.h"

namespace godwit::sim {

struct Plan {
  bool calm =
      false;  // nothing goes wrong: every move ends done, and the VM's policy is where it runs
  bool orderly =
      false;  // nothing that may cost packets their order: no crash, no cut, no long delay
  bool crashes = false, cuts = false, partings = false, full_disks = false;
  bool cancels = false, false_evidence = false, late_evidence = false, skewed_clocks = false,
       slow_network = false;
  bool lost_announcements = false, silent_vms = false, slow_fabric = false, rule_changes = false,
       doubles = false, evacuations = false, pulls = false, killed_vms = false;
  unsigned vms = 1, most_nics = 1;
  uint64_t length = 0;  // ns in which things happen; then all heals
  uint64_t action_low = 0, action_high = 0;
  uint64_t traffic_busy = 0,
           traffic_idle = 0;  // ns between packets of a VM: while it moves, and else
  WireFaults wires;
  WorkerLimits limits;

  static Plan draw(Chance& chance);
};

}  // namespace godwit::sim
