// SPDX-License-Identifier: Apache-2.0
//
// What the daemon gives to migration at start: who this host and its peers are, and the bounds of a
// move.
//
// Thread safety: constant after construction.
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

// The tables by which moves decide. The simulator's mutants are other ones.
struct MoveTables {
  std::span<const SourceTransition> source = source_transitions();
  std::span<const DestinationTransition> destination = destination_transitions();
};

struct MigrationOptions {
  std::string host;                          // this host's id
  std::string listen;                        // "address:port", empty: does not listen
  bool plaintext_anywhere = false;           // else peers in plain text only over loopback
  bool encrypted = false;                    // the network's sessions are: peers anywhere
  std::map<std::string, std::string> peers;  // host id -> "address:port"
  std::optional<std::set<std::string>> allow_in,
      allow_out;               // of the peers, who may move VMs here, and get them; none: all
  std::string vhost_template;  // "/run/x/{vm}-{nic}.sock"
  std::string uplink;          // endpoint that leads to the other hosts
  uint64_t prepare_timeout_ms = 10000;
  uint64_t window_timeout_ms = 2000;  // longest redirect window when no proof comes
  uint64_t max_preparing = 8;  // moves from here that are being prepared together; the others queue
  uint64_t max_incoming = 256;  // moves to here at once; further offers are refused
  dataplane::ParkLimits ahead;  // sent ahead of a VM and kept here, each move; the same waits for
                                // it at the destination
};

}  // namespace godwit::migration
