// SPDX-License-Identifier: Apache-2.0
#include "control/daemon/peer_setup.h"

#include <ctime>

namespace godwit::control {

migration::NetworkOptions network_options(const HostConfig& config) {
  const MigrationConfig& from = config.migration;
  migration::NetworkOptions options;
  options.host = config.host;
  options.peers = from.peers;
  if (from.tls) options.tls = {from.tls->certificate.path, from.tls->key.path, from.tls->ca.path};
  options.limits = {from.max_connections, from.max_connections_per_address, from.max_strangers};
  options.handshake_timeout_ms = from.handshake_timeout_ms;
  options.idle_timeout_ms = from.idle_timeout_ms;
  return options;
}

Error placed_at_file(const TlsConfig& tls, const Error& error) {
  const FileConfig* file = &tls.certificate;
  for (const FileConfig* one : {&tls.key, &tls.ca}) {
    if (error.token == one->path && error.token != tls.certificate.path) file = one;
  }
  return placed(file->place, file->path + ": " + error.message, error.expected);
}

Result<void> check_certificates(const HostConfig& config) {
  if (!config.migration.tls) return {};
  const auto loaded = migration::TlsContext::load(*network_options(config).tls, config.host);
  if (!loaded) return fail(placed_at_file(*config.migration.tls, loaded.error()));
  if (auto valid = (*loaded)->check_time(std::time(nullptr)); !valid)
    return fail(placed_at_file(*config.migration.tls, valid.error()));
  return {};
}

}  // namespace godwit::control
