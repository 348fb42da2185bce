// SPDX-License-Identifier: Apache-2.0
//
// The settings of migration: this host, its peers, and the bounds of a move.
//
// Thread safety: the control thread only. Engine::reload() names the members that may change.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <set>
#include <span>
#include <string>

#include "dataplane/pipeline/parking.h"
#include "migration/moves/destination_machine.h"
#include "migration/moves/source_machine.h"

namespace godwit::migration {

// Takes one line of the log, without a newline.
using MoveLog = std::function<void(const std::string& line)>;

// The tables by which moves decide. The simulator replaces them by defective ones.
struct MoveTables {
  std::span<const SourceTransition> source = source_transitions();
  std::span<const DestinationTransition> destination = destination_transitions();
};

struct MigrationOptions {
  std::string host;                          // this host's id
  std::string listen;                        // "address:port"; empty to listen nowhere
  bool plaintext_anywhere = false;           // allows plain text beyond loopback
  bool encrypted = false;                    // sessions use TLS, so peers may be anywhere
  std::map<std::string, std::string> peers;  // host id -> "address:port"
  // The peers that may move VMs here, and those that VMs may move to. All peers if not set.
  std::optional<std::set<std::string>> allow_in, allow_out;
  // The peers that may ask for a VM of this host. No peer if not set.
  std::optional<std::set<std::string>> allow_pull;
  std::string vhost_template;  // "/run/x/{vm}-{nic}.sock"
  std::string uplink;          // endpoint that leads to the other hosts
  uint64_t prepare_timeout_ms = 10000;
  uint64_t window_timeout_ms = 2000;  // longest redirect window when no proof comes
  uint64_t max_preparing = 8;   // moves from here that are prepared at once; others are queued
  uint64_t max_incoming = 256;  // moves to here at once; further offers are refused
  // Frames of one move that are sent ahead of the VM and kept at the source. As many wait at the
  // destination.
  dataplane::ParkLimits ahead;
};

}  // namespace godwit::migration
