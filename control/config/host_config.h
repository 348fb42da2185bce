// SPDX-License-Identifier: Apache-2.0
//
// The configuration of one host as values. config_reader.h fills it from a YAML file;
// conf/host.yaml shows every key.
//
// Thread safety: values. The control thread owns the configuration in use; a reload changes the
// members that reload_settings.h names.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "control/config/place.h"
#include "dataplane/policy/policy_store.h"

namespace godwit::control {

struct VhostConfig {
  std::string socket;
  bool server = false;
  bool operator==(const VhostConfig&) const = default;
};

struct UplinkConfig {
  std::string name;
  std::string devargs;
  uint16_t mtu = 1500;
  Place place;
};

struct EndpointConfig {
  dataplane::Profile profile;
  std::optional<VhostConfig> vhost;  // the endpoint's port on this host, if it has one
  std::string uplink;                // the uplink that leads to an endpoint without a port
  Place place;
};

// One line `flow create ...`. `place` is that of the line's first byte.
struct RuleConfig {
  std::string text;
  Place place;
};

struct WorkersConfig {
  std::vector<uint16_t> cpus;  // empty for all CPUs but the first
  uint32_t spin_us = 50;
  uint32_t max_sleep_us = 10'000;
  uint32_t poll_us = 100;
  bool operator==(const WorkersConfig&) const = default;
};

struct MemoryConfig {
  bool hugepages = true;
  uint32_t socket_mb = 256;
  std::string file_prefix;  // set by the reader if the file has none
  uint32_t mbufs = 16384;
  bool operator==(const MemoryConfig&) const = default;
};

struct FdbConfig {
  uint32_t entries = 65536;
  uint32_t ageing_s = 300;  // 0 disables ageing
  bool operator==(const FdbConfig&) const = default;
};

struct FileConfig {
  std::string path;
  Place place;
};

// PEM files: this host's certificate and key, the authority that signs the peers' certificates, and
// the lists of certificates that it has revoked. The path of the last is empty without such lists.
struct TlsConfig {
  FileConfig certificate, key, ca, revoked;
};

struct MigrationConfig {
  std::string listen;                        // empty if the host accepts no peers
  std::optional<TlsConfig> tls;              // without it peers talk plain text
  bool plaintext_anywhere = false;           // plain text is otherwise limited to loopback
  std::map<std::string, std::string> peers;  // host -> address:port
  // Peers that may move VMs to and from this host. Without a list all peers may.
  std::optional<std::set<std::string>> allow_in, allow_out;
  std::optional<std::set<std::string>> allow_pull;  // peers that may ask for VMs of this host
  uint64_t handshake_timeout_ms = 5000;
  uint64_t idle_timeout_ms = 15000;
  uint64_t max_connections = 1024;
  uint64_t max_connections_per_address = 512;
  uint64_t max_strangers = 256;  // connections that take part in no move
  std::string vhost_template;    // without it each import names its sockets
  std::string uplink;  // empty without uplinks, or if the file has several and names none here
  uint64_t prepare_timeout_ms = 10000;
  uint64_t window_timeout_ms = 2000;
  uint64_t max_preparing = 8;
  uint64_t max_incoming = 256;
  uint32_t park_packets = 4096;
  uint64_t park_bytes = 8u << 20;
};

// The state that survives a restart (control/state/).
struct StateConfig {
  std::string directory;  // empty if no state is kept
  // An acknowledged command is on the disk after at most this time. 0 syncs before the answer.
  uint32_t sync_ms = 100;
  Place place;  // of directory
};

// A fault point for tests, at which the switch kills itself (control/config/faults.h).
struct FaultConfig {
  bool after = false;
  std::string at;
  uint32_t skip = 0;  // passes to survive before the switch kills itself
  bool operator==(const FaultConfig&) const = default;
};

struct HostConfig {
  std::string host;
  std::string socket = "/run/godwit/godwit.sock";
  WorkersConfig workers;
  MemoryConfig memory;
  FdbConfig fdb;
  MigrationConfig migration;
  StateConfig state;
  std::vector<FaultConfig> faults;
  std::vector<UplinkConfig> uplinks;
  std::vector<EndpointConfig> endpoints;
  std::vector<RuleConfig> rules;  // of `rules`, then of `rules_file`
};

}  // namespace godwit::control
