// SPDX-License-Identifier: Apache-2.0
#include "migration/engine/departures.h"

namespace godwit::migration {

using dataplane::EndpointRecord;
using dataplane::PortEventKind;

void Departures::on_port_event(const dataplane::PortEvent& event) {
  const uint16_t port = event.port.value;
  switch (event.kind) {
    case PortEventKind::kLoggingStarted: logged_.insert(port); break;
    case PortEventKind::kLoggingStopped:
      // QEMU ends the logging of a VM that it has stopped when the VM runs again, or never.
      if (!stopped_.contains(port)) logged_.erase(port);
      break;
    case PortEventKind::kRingsStopped:
      if (logged_.contains(port)) stopped_.insert(port);
      break;
    case PortEventKind::kRingsRunning: stopped_.erase(port); break;
    case PortEventKind::kDisconnected: {
      logged_.erase(port);
      if (stopped_.erase(port) == 0) break;
      const std::string name = left_behind(event.port);
      if (name.empty()) break;
      const std::string vm(dataplane::vm_of(name));
      context_.log(name + ": the VM has left by a migration or a save, and its policy is still " +
                   "here; `migrate start " + vm + " PEER` sends the policy after it");
      break;
    }
    default: break;
  }
}

std::string Departures::left_behind(PortId port) const {
  for (const EndpointRecord* endpoint : context_.store.endpoints()) {
    if (endpoint->port != port) continue;
    const std::string vm(dataplane::vm_of(endpoint->profile.name));
    const bool here = endpoint->location.kind == dataplane::LocationKind::kPort;
    return here && !moves_.moving(vm) ? endpoint->profile.name : std::string{};
  }
  return {};
}

}  // namespace godwit::migration
