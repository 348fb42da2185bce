// SPDX-License-Identifier: Apache-2.0
//
// The configuration of one host: a YAML file (conf/host.yaml shows all of it), read once at start.
//
// Strict: a key that is not known, is there twice or has the wrong type, and a value out of range,
// are refused. An Error's message is whole: "FILE:LINE:COL: what, expected ..."; line and column
// are set as well. Files are at most kMaxConfigBytes long (the file of rules kMaxRulesFileBytes),
// so nothing here grows with what the file claims.
//
// read_config() says what the file alone can tell. What needs the rules' meaning (do they compile,
// do the endpoints exist) is found by put_policy(), which needs a PolicyStore but no running
// switch.
//
// Thread safety: pure functions but for reading files.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "dataplane/policy/policy_store.h"

namespace godwit::control {

inline constexpr size_t kMaxConfigBytes = 1u << 20;
inline constexpr size_t kMaxRulesFileBytes = 256u << 20;
inline constexpr size_t kMaxSocketPath = 107;  // sun_path and its final zero

// Where in a file something stood; both 1-based.
struct Place {
  std::string file;
  uint32_t line = 0;
  uint32_t column = 0;
};

struct VhostConfig {
  std::string socket;
  bool server = false;
};

struct UplinkConfig {
  std::string name;
  std::string devargs;
  uint16_t mtu = 1500;
  Place place;
};

struct EndpointConfig {
  dataplane::Profile profile;
  std::optional<VhostConfig> vhost;  // with one, it is at that port
  std::string uplink;                // without one: the uplink that leads to it, empty = nowhere
  Place place;
};

// A line `flow create ...`; `place` is that of its first byte.
struct RuleConfig {
  std::string text;
  Place place;
};

struct WorkersConfig {
  std::vector<uint16_t> cpus;  // empty: all but the first
  uint32_t spin_us = 50;
  uint32_t max_sleep_us = 10'000;
  uint32_t poll_us = 100;
};

struct MemoryConfig {
  bool hugepages = true;
  uint32_t socket_mb = 256;
  std::string file_prefix;  // never empty after read_config()
  uint32_t mbufs = 16384;
};

struct FdbConfig {
  uint32_t entries = 65536;
  uint32_t ageing_s = 300;  // 0 = never
};

struct FileConfig {
  std::string path;
  Place place;
};

// PEM files of what a peer is shown, and of who signs what peers show.
struct TlsConfig {
  FileConfig certificate, key, ca;
};

struct MigrationConfig {
  std::string listen;            // empty: does not listen
  std::optional<TlsConfig> tls;  // none: plain text, on loopback only unless
  bool plaintext_anywhere = false;
  std::map<std::string, std::string> peers;                  // host -> address:port
  std::optional<std::set<std::string>> allow_in, allow_out;  // none: all peers
  uint64_t handshake_timeout_ms = 5000;
  uint64_t idle_timeout_ms = 15000;
  uint64_t max_connections = 1024;
  uint64_t max_connections_per_address = 512;
  uint64_t max_strangers = 256;
  std::string vhost_template;  // empty: imports must say where
  std::string uplink;          // empty: there is none, or several and none was named
  uint64_t prepare_timeout_ms = 10000;
  uint64_t window_timeout_ms = 2000;
  uint64_t max_preparing = 8;
  uint64_t max_incoming = 256;
  uint32_t park_packets = 4096;
  uint64_t park_bytes = 8u << 20;
};

// What survives a restart (control/state/stored_state.h).
struct StateConfig {
  std::string directory;  // empty: nothing does
  uint32_t sync_ms =
      100;      // commands are on the disk so long after their answer at most; 0: before it
  Place place;  // of directory
};

// For tests: where the switch kills itself (control/config/faults.h).
struct FaultConfig {
  bool after = false;
  std::string at;
  uint32_t skip = 0;  // not the first so many times
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

// The file and its rules_file (relative to the file's folder).
Result<HostConfig> read_config(const std::string& path);
// `file` is what messages call it; a rules_file is looked for beside it.
Result<HostConfig> parse_config(std::string_view text, const std::string& file);

// The lines of a file of rules: one `flow create` each; empty ones and comments (#) are left out.
Result<std::vector<RuleConfig>> parse_rules(std::string_view text, const std::string& file);

// Puts the endpoints (without ports: uplinks nowhere, VMs behind their uplink or nowhere) and all
// rules in the store, in one transaction. Errors are placed as read_config()'s are, and have
// changed nothing.
Result<void> put_policy(const HostConfig& config, dataplane::PolicyStore& store);
// The uplinks alone.
Result<void> put_uplinks(const HostConfig& config, dataplane::PolicyStore& store);
// Would the policy of this configuration be taken?
Result<void> check_policy(const HostConfig& config);

// "FILE:LINE:COL: what, expected ..."
Error placed(const Place& place, const std::string& what, const std::string& expected = {});

// "address:port" with an IPv4 address or an IPv6 one in brackets, port 1..65535.
struct HostAddress {
  std::string address;
  uint16_t port = 0;
  bool loopback = false;
};
Result<HostAddress> parse_host_address(std::string_view text);

}  // namespace godwit::control
