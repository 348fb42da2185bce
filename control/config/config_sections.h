// SPDX-License-Identifier: Apache-2.0
//
// Functions that read one section of the configuration each, and the draft that they fill. Each
// throws a ConfigRefusal at the first error. config_reader.cc calls them and catches it.
//
// A section reader checks its own section. A check that needs another section, such as the name of
// an uplink, is deferred until the whole file is read.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "control/config/config_value.h"
#include "control/config/host_config.h"

namespace godwit::control {

inline constexpr size_t kMaxSocketPath = 107;  // bytes of sun_path without the final zero

// The configuration while its file is read.
struct ConfigDraft {
  HostConfig config;
  // Checks of names, and the reading of rules_file. They run in order after the whole file is read.
  std::vector<std::function<void()>> deferred;
  // Finds duplicates: the endpoint of each socket's path, and the line of each endpoint's name.
  std::map<std::string, std::string> socket_owners;
  std::map<std::string, uint32_t> endpoint_lines;
};

void read_workers(const ConfigValue& value, WorkersConfig& out);
void read_memory(const ConfigValue& value, MemoryConfig& out);
void read_fdb(const ConfigValue& value, FdbConfig& out);
void read_uplink(const ConfigValue& value, HostConfig& config);
void read_endpoint(const ConfigValue& value, ConfigDraft& draft);
void read_migration(const ConfigValue& value, ConfigDraft& draft);
void read_state(const ConfigValue& value, StateConfig& out);
void read_fault(const ConfigValue& value, std::vector<FaultConfig>& out);

// Functions that several sections use. Each returns the value, or throws a ConfigRefusal if the
// value is not valid. `expected` describes a valid value in the error.
std::string read_host_name(const ConfigValue& value, const std::string& expected = "a host's name");
std::string read_endpoint_name(const ConfigValue& value);
std::string read_socket_path(const ConfigValue& value);
// A relative path begins at the folder of the configuration; the returned path includes the folder.
std::string read_file_path(const ConfigValue& value);

// Throws a ConfigRefusal at `place` unless the configuration has an uplink of that name.
void require_uplink(const HostConfig& config, const std::string& name, const Place& place);

}  // namespace godwit::control
