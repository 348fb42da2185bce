// SPDX-License-Identifier: Apache-2.0
//
// The results of the engine's calls: the state of the peers, the effects of migration by hand, and
// the moves that an evacuation started.
//
// Thread safety: plain values.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "base/ids.h"
#include "migration/link/network.h"
#include "migration/policy/document.h"

namespace godwit::migration {

struct PeerStatus {
  std::string host, address;
  bool may_move_in = false;   // VMs may move from the peer to this host
  bool may_move_out = false;  // VMs may move from this host to the peer
  bool connected = false;
  std::string error;  // of the newest move with the peer
  std::vector<LinkInfo> sessions;
};

// Result of `migration rewrite`.
struct RewriteReport {
  uint64_t transmit_rules_removed = 0;
  uint64_t receive_rules_rewritten = 0;
  uint64_t uplink_rules_removed = 0;
  std::map<std::string, uint16_t> old_ports;  // former ports, by endpoint
};

// The place of one endpoint for `migration import`. With neither member set, the import makes a
// vhost port by migration.vhost_template.
struct ImportBinding {
  std::string socket_path;  // of the vhost port to make
  PortId port;              // an existing port, used instead
};

// Result of `migration import`.
struct ImportReport {
  uint64_t rules_imported = 0;
  uint64_t receive_rules_rewritten = 0;
  uint64_t uplink_rules_added = 0;
  std::map<std::string, uint16_t> new_ports;  // by endpoint
  Epoch epoch;                                // the VM's from now on
};

// Result of `migrate start --all`.
struct EvacuationReport {
  std::string id;
  std::vector<std::pair<std::string, std::string>> started;  // VM, id of its move
  std::vector<std::pair<std::string, std::string>> refused;  // VM, reason
};

}  // namespace godwit::migration
