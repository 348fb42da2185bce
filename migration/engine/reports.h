// SPDX-License-Identifier: Apache-2.0
//
// The answers of the engine's calls: peers, operations by hand, evacuations.
//
// Thread safety: values.
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
  bool may_move_in = false, may_move_out = false;  // VMs, from there to here and from here to there
  bool connected = false;
  std::string error;  // of the last attempt
  std::vector<LinkInfo> sessions;
};

// By hand (`migration export|rewrite|import`).
struct RewriteReport {
  uint64_t transmit_rules_removed = 0;
  uint64_t receive_rules_rewritten = 0;
  uint64_t uplink_rules_removed = 0;
  std::map<std::string, uint16_t> old_ports;  // endpoint -> the port it had
};
struct ImportBinding {
  std::string socket_path;  // make a vhost port there, or
  PortId port;              // use this one; neither: the template
};
struct ImportReport {
  uint64_t rules_imported = 0;
  uint64_t receive_rules_rewritten = 0;
  uint64_t uplink_rules_added = 0;
  std::map<std::string, uint16_t> new_ports;
  Epoch epoch;
};

struct EvacuationReport {
  std::string id;
  std::vector<std::pair<std::string, std::string>> started;  // VM, move
  std::vector<std::pair<std::string, std::string>> refused;  // VM, reason
};

}  // namespace godwit::migration
