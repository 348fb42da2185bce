// SPDX-License-Identifier: Apache-2.0
#include "control/daemon/option_mapping.h"

#include <spdlog/spdlog.h>

namespace godwit::control {
namespace {

void log_line(dataplane::RuntimeLogLevel level, std::string_view line) {
  switch (level) {
    case dataplane::RuntimeLogLevel::kDebug: return spdlog::debug("{}", line);
    case dataplane::RuntimeLogLevel::kWarning: return spdlog::warn("{}", line);
    case dataplane::RuntimeLogLevel::kError: return spdlog::error("{}", line);
    default: return spdlog::info("{}", line);
  }
}

}  // namespace

dataplane::RuntimeOptions runtime_options(const HostConfig& config) {
  dataplane::RuntimeOptions options;
  options.host = config.host;
  options.worker_cpus = config.workers.cpus;
  options.spin_us = config.workers.spin_us;
  options.max_sleep_us = config.workers.max_sleep_us;
  options.poll_us = config.workers.poll_us;
  options.hugepages = config.memory.hugepages;
  options.socket_mb = config.memory.socket_mb;
  options.file_prefix = config.memory.file_prefix;
  options.mbufs = config.memory.mbufs;
  for (const UplinkConfig& uplink : config.uplinks)
    options.pci |= dataplane::is_pci_devargs(uplink.devargs);
  options.park = {config.migration.park_packets, config.migration.park_bytes};
  options.log = log_line;
  return options;
}

migration::MigrationOptions migration_options(const HostConfig& config) {
  const MigrationConfig& migration = config.migration;
  migration::MigrationOptions options;
  options.host = config.host;
  options.listen = migration.listen;
  options.plaintext_anywhere = migration.plaintext_anywhere;
  options.encrypted = migration.tls.has_value();
  options.peers = migration.peers;
  options.allow_in = migration.allow_in;
  options.allow_pull = migration.allow_pull;
  options.allow_out = migration.allow_out;
  options.vhost_template = migration.vhost_template;
  options.uplink = migration.uplink;
  options.prepare_timeout_ms = migration.prepare_timeout_ms;
  options.window_timeout_ms = migration.window_timeout_ms;
  options.max_preparing = migration.max_preparing;
  options.max_incoming = migration.max_incoming;
  options.ahead = {migration.park_packets, migration.park_bytes};
  return options;
}

migration::NetworkOptions network_options(const HostConfig& config) {
  const MigrationConfig& from = config.migration;
  migration::NetworkOptions options;
  options.host = config.host;
  options.peers = from.peers;
  options.may_offer = from.allow_in;
  if (from.tls)
    options.tls = {from.tls->certificate.path, from.tls->key.path, from.tls->ca.path,
                   from.tls->revoked.path};
  options.limits = {from.max_connections, from.max_connections_per_address, from.max_strangers};
  options.handshake_timeout_ms = from.handshake_timeout_ms;
  options.idle_timeout_ms = from.idle_timeout_ms;
  options.log = [](const std::string& line) { spdlog::info("{}", line); };
  return options;
}

}  // namespace godwit::control
