// SPDX-License-Identifier: Apache-2.0
//
// Readers of the configuration's sections, and the draft that they fill. Each reader throws a
// ConfigRefusal at the first error.
#pragma once

#include <functional>
#include <map>
#include <string>
#include <vector>

#include "control/config/config_value.h"
#include "control/config/host_config.h"

namespace godwit::control {

inline constexpr size_t kMaxSocketPath = 107;  // sun_path without its final zero

// The configuration while its file is read.
struct ConfigDraft {
  HostConfig config;
  // Work that needs the whole file: checks of names, and the reading of rules_file.
  std::vector<std::function<void()>> deferred;
  std::map<std::string, std::string> socket_owners;  // path -> endpoint
  std::map<std::string, uint32_t> endpoint_lines;    // endpoint -> line of its name
};

void read_workers(const ConfigValue& value, WorkersConfig& out);
void read_memory(const ConfigValue& value, MemoryConfig& out);
void read_fdb(const ConfigValue& value, FdbConfig& out);
void read_uplink(const ConfigValue& value, HostConfig& config);
void read_endpoint(const ConfigValue& value, ConfigDraft& draft);
void read_migration(const ConfigValue& value, ConfigDraft& draft);
void read_state(const ConfigValue& value, StateConfig& out);
void read_fault(const ConfigValue& value, std::vector<FaultConfig>& out);

// Readers that several sections use.
// Each returns the value, or throws a ConfigRefusal if it breaks the rules for its kind.
std::string read_host_name(const ConfigValue& value, const std::string& expected = "a host's name");
std::string read_endpoint_name(const ConfigValue& value);
std::string read_socket_path(const ConfigValue& value);
// Returns the path; a relative one starts at the folder of the configuration.
std::string read_file_path(const ConfigValue& value);

// Throws a ConfigRefusal at `place` unless the configuration has an uplink of that name.
void require_uplink(const HostConfig& config, const std::string& name, const Place& place);

}  // namespace godwit::control
