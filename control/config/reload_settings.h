// SPDX-License-Identifier: Apache-2.0
//
// Which settings of a file that was read again take effect while the switch runs:
//
//   migration.peers, allow_in, allow_out, allow_pull; handshake_timeout_ms, idle_timeout_ms,
//   prepare_timeout_ms, window_timeout_ms; max_connections, max_connections_per_address,
//   max_strangers, max_preparing, max_incoming; the paths in tls
//
// All others need a restart. Pure functions.
#pragma once

#include <string>
#include <vector>

#include "control/config/host_config.h"

namespace godwit::control {

// Returns the names of the settings that differ and need a restart, such as `migration.listen`.
[[nodiscard]] std::vector<std::string> settings_for_restart(const HostConfig& in_use,
                                                            const HostConfig& file);

// Copies the settings that take effect at once from `file` to `in_use`.
void take_settings(MigrationConfig& in_use, const MigrationConfig& file);

}  // namespace godwit::control
