// SPDX-License-Identifier: Apache-2.0
//
// Checks and accidents that a run has only if it is asked for them (`--also NAME`). The switch does
// not stand all of them yet: what it stands becomes part of every run, and is no extra any more.
#pragma once

#include <string>
#include <string_view>

namespace godwit::sim {

// The first four: invariant 7 in runs in which this happens. A run is checked if all is asked for
// that happens in it.
struct Extras {
  bool links = false;     // cuts, partings, crashes of switches
  bool finishes = false;  // migrations that fail when the VM has run at its new place already
  bool cancels = false;   // operators who cancel a move while QEMU goes on
  bool full = false;      // disks that are full
  bool claims = false;    // a claim may not cost a VM the last changes of its rules
  bool aimed = false;     // accidents at the moments in which they hurt most
  bool disks = false;     // older states of disks in runs with crashes
  bool liar = false;      // a peer that lies

  // Sets the extra of that name; `runs` sets the first four. Returns false if there is none.
  bool set(std::string_view name);
  // Returns the arguments that ask for the same extras, each after a space.
  [[nodiscard]] std::string arguments() const;
};

}  // namespace godwit::sim
