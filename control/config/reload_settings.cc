// SPDX-License-Identifier: Apache-2.0
#include "control/config/reload_settings.h"

#include <algorithm>

namespace godwit::control {
namespace {

// The functions compare what is configured, not where it stands in the file.
bool same(const UplinkConfig& a, const UplinkConfig& b) {
  return a.name == b.name && a.devargs == b.devargs && a.mtu == b.mtu;
}

bool same(const EndpointConfig& a, const EndpointConfig& b) {
  return a.profile == b.profile && a.vhost == b.vhost && a.uplink == b.uplink;
}

bool same(const RuleConfig& a, const RuleConfig& b) { return a.text == b.text; }

template <typename T>
bool all_same(const std::vector<T>& a, const std::vector<T>& b) {
  return std::ranges::equal(a, b, [](const T& x, const T& y) { return same(x, y); });
}

}  // namespace

std::vector<std::string> settings_for_restart(const HostConfig& in_use, const HostConfig& file) {
  const MigrationConfig& now = in_use.migration;
  const MigrationConfig& then = file.migration;
  std::vector<std::string> out;
  const auto note = [&](bool equal, const char* name) {
    if (!equal) out.emplace_back(name);
  };
  note(in_use.host == file.host, "host");
  note(in_use.socket == file.socket, "control.socket");
  note(in_use.workers == file.workers, "workers");
  note(in_use.memory == file.memory, "memory");
  note(in_use.fdb == file.fdb, "fdb");
  note(all_same(in_use.uplinks, file.uplinks), "uplinks");
  note(all_same(in_use.endpoints, file.endpoints), "endpoints");
  note(all_same(in_use.rules, file.rules), "rules");
  note(in_use.state.directory == file.state.directory && in_use.state.sync_ms == file.state.sync_ms,
       "state");
  note(in_use.faults == file.faults, "faults");
  note(now.listen == then.listen, "migration.listen");
  note(now.tls.has_value() == then.tls.has_value(), "migration.tls");
  note(now.plaintext_anywhere == then.plaintext_anywhere, "migration.plaintext");
  note(now.vhost_template == then.vhost_template, "migration.vhost_template");
  note(now.uplink == then.uplink, "migration.uplink");
  note(now.park_packets == then.park_packets, "migration.park_packets");
  note(now.park_bytes == then.park_bytes, "migration.park_bytes");
  return out;
}

void take_settings(MigrationConfig& in_use, const MigrationConfig& file) {
  in_use.peers = file.peers;
  in_use.allow_in = file.allow_in;
  in_use.allow_out = file.allow_out;
  in_use.allow_pull = file.allow_pull;
  in_use.handshake_timeout_ms = file.handshake_timeout_ms;
  in_use.idle_timeout_ms = file.idle_timeout_ms;
  in_use.max_connections = file.max_connections;
  in_use.max_connections_per_address = file.max_connections_per_address;
  in_use.max_strangers = file.max_strangers;
  in_use.prepare_timeout_ms = file.prepare_timeout_ms;
  in_use.window_timeout_ms = file.window_timeout_ms;
  in_use.max_preparing = file.max_preparing;
  in_use.max_incoming = file.max_incoming;
  if (in_use.tls && file.tls) in_use.tls = file.tls;
}

}  // namespace godwit::control
