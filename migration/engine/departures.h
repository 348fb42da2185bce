// SPDX-License-Identifier: Apache-2.0
//
// Notices VMs that leave this host by a QEMU migration without a move of their policy: the memory
// was logged, then the rings stopped, then the front-end went away, and the policy is still here.
// `virsh save` looks the same.
//
// Thread safety: the control thread only.
#pragma once

#include <set>
#include <string>

#include "dataplane/ports.h"
#include "migration/engine/move_registry.h"
#include "migration/moves/move_context.h"

namespace godwit::migration {

class Departures {
 public:
  Departures(MoveContext& context, const MoveRegistry& moves) : context_(context), moves_(moves) {}

  // Logs a VM that has left. The moves have taken the event before.
  void on_port_event(const dataplane::PortEvent& event);

 private:
  // Returns the endpoint of a port that has left with no move, or an empty name.
  [[nodiscard]] std::string left_behind(PortId port) const;

  MoveContext& context_;
  const MoveRegistry& moves_;
  std::set<uint16_t> logged_;   // ports of VMs whose memory is being copied
  std::set<uint16_t> stopped_;  // those of them whose rings have stopped since
};

}  // namespace godwit::migration
