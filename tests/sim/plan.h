// SPDX-License-Identifier: Apache-2.0
//
// The plan of a run, drawn from its seed: which kinds of faults happen, how much traffic there is,
// for how long. Each kind of fault is in some runs only, since one fault often hides a bug that
// another would show.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "tests/sim/chance.h"
#include "tests/sim/extras.h"
#include "tests/sim/sim_network.h"
#include "tests/sim/sim_switch.h"

namespace godwit::sim {

// Which faults happen.
struct Faults {
  bool crashes = false;   // of switches, at any effect
  bool cuts = false;      // of sessions
  bool partings = false;  // two hosts cannot reach each other for a while
  bool full_disks = false;
  bool false_evidence = false;  // rings run where the VM does not stay
  bool late_evidence = false;   // what rings do is seen late
  bool skewed_clocks = false;
  bool slow_network = false;  // between the peers
  bool lost_announcements = false;
  bool slow_fabric = false;
  bool killed_vms = false;
  bool lost_disks = false;  // a host comes back with an older copy of its state, or with none
};

// What operators and VMs do besides plain moves.
struct Deeds {
  bool cancels = false;
  bool rule_changes = false;
  bool doubles = false;  // two moves of one VM at once
  bool evacuations = false;
  bool pulls = false;
  bool silent_vms = false;  // that send nothing by which the fabric would learn
};

// Accidents at chosen moments.
struct Aims {
  bool cut_in_copy = false;    // the hosts are parted, or their sessions cut, while QEMU copies
  bool part_in_pause = false;  // they are parted between the VM's pause and its start elsewhere
  // A switch dies when a move of its own has come to this state; empty for none.
  std::string_view kill_in_state;
  bool kill_source = false;  // the one that moves the VM away, or else the other one
};

struct Plan {
  // Nothing goes wrong: every move is done, and the VM's policy is where the VM runs.
  bool calm = false;
  // Nothing happens that may cost packets their order: no crash, no cut, no long delay.
  bool orderly = false;
  Faults faults;
  Aims aims;
  Deeds deeds;
  unsigned vms = 1, most_nics = 1;
  uint64_t length = 0;                          // ns in which things happen; then all heals
  uint64_t action_low = 0, action_high = 0;     // ns between two actions
  uint64_t traffic_busy = 0, traffic_idle = 0;  // ns between packets of a VM: in a move, and else
  WireFaults wires;
  WorkerLimits limits;

  static Plan draw(Chance& chance, const Extras& extras);
  // Returns the names of what the run has, for its trace.
  [[nodiscard]] std::string text() const;
};

}  // namespace godwit::sim
