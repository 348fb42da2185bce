// SPDX-License-Identifier: Apache-2.0
//
// Opens the host's ports at the start and binds each to its endpoint.
//
// A port of the configuration that cannot be opened ends the start with the endpoint's place. A
// port of the stored state, which a command or a move had made, is logged and left out: the other
// VMs' traffic does not wait for it.
//
// Thread safety: the control thread only, once.
#pragma once

#include <set>
#include <string>
#include <vector>

#include "base/ids.h"
#include "base/result.h"
#include "control/config/host_config.h"
#include "dataplane/policy/policy_store.h"
#include "dataplane/ports.h"
#include "migration/journal/policy_record.h"

namespace godwit::control {

// The endpoints of the stored state, some of which had ports.
struct StoredPorts {
  std::vector<migration::StoredEndpoint> endpoints;
  // VMs with a move in the journal. Whether they are here is not known yet, so their ports stay
  // inactive.
  std::set<std::string> held_vms;
  // Endpoints whose policy lacks a damaged rule. Their ports stay closed.
  std::set<std::string> incomplete;
};

class PortOpening {
 public:
  PortOpening(const HostConfig& config, dataplane::Ports& ports, dataplane::PolicyStore& store)
      : config_(config), ports_(ports), store_(store) {}

  // Opens the configured uplinks.
  Result<void> open_uplinks();
  // Opens the ports of the configured endpoints, on a host without stored state.
  Result<void> open_configured();
  // Opens the ports of the stored endpoints.
  Result<void> open_stored(const StoredPorts& stored);

 private:
  Result<void> bind(const std::string& endpoint, PortId port);
  Result<void> open_stored(const migration::StoredEndpoint& endpoint, bool held);

  const HostConfig& config_;
  dataplane::Ports& ports_;
  dataplane::PolicyStore& store_;
};

}  // namespace godwit::control
