// SPDX-License-Identifier: Apache-2.0
//
// The parts of the switch that commands work on, and lookups in them that many commands use.
//
// Lookups refuse (command_refusal.h) a port or endpoint that does not exist.
//
// Thread safety: the control thread only.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "base/ids.h"
#include "dataplane/runtime_report.h"

namespace godwit::dataplane {
class Fdb;
class PolicyStore;
class Ports;
class Transaction;
struct EndpointRecord;
struct Location;
struct PortInfo;
}  // namespace godwit::dataplane
namespace godwit::migration {
class Engine;
class Journal;
struct JournalBatch;
}  // namespace godwit::migration

namespace godwit::control {

class Parameters;

struct CommandContext {
  std::string host;
  std::string version;
  dataplane::PolicyStore& store;
  dataplane::Ports& ports;
  dataplane::Fdb& fdb;
  migration::Engine& engine;
  migration::Journal* journal;      // null if no state is kept
  std::function<uint32_t()> now_s;  // the FDB's clock
  // Reports of the running switch, without DPDK.
  std::function<dataplane::DropTotals()> drops;
  std::function<std::vector<dataplane::WorkerInfo>()> workers;
  std::function<dataplane::MemoryInfo()> memory;
};

// Writes the changes of an open transaction to the journal, then commits it. Refuses, and changes
// nothing, if the journal cannot be written. `note` fills the batch from the store as it will be
// after the commit; it is not called if no state is kept.
void commit(const CommandContext& context, dataplane::Transaction& transaction,
            const std::function<void(migration::JournalBatch& batch)>& note);

// Returns the endpoint of a port's number or an endpoint's name.
const dataplane::EndpointRecord& find_endpoint(const CommandContext& context,
                                               const std::string& port);
// Returns the port of a port's number or an endpoint's name. A port without an endpoint is found by
// its number.
PortId find_port(const CommandContext& context, const std::string& port);
// Returns the ports that {"port": "all" | port} names, ordered by number. The default is all.
std::vector<dataplane::PortInfo> find_ports(const CommandContext& context,
                                            const Parameters& params);

// Refuses the command if the endpoint's VM is moving to or from another host.
void refuse_if_moving(const CommandContext& context, std::string_view endpoint);

// Returns "port 0", "uplink physnet1", "parked", "redirect" or "none".
std::string location_text(const CommandContext& context, const dataplane::Location& location);

}  // namespace godwit::control
