// SPDX-License-Identifier: Apache-2.0
//
// Maps the configuration to the options of the runtime, the engine and the network. Their log lines
// go to the daemon's log.
//
// Thread safety: pure functions.
#pragma once

#include "control/config/host_config.h"
#include "dataplane/dpdk/runtime.h"
#include "migration/engine/engine.h"
#include "migration/link/asio_network.h"

namespace godwit::control {

[[nodiscard]] dataplane::RuntimeOptions runtime_options(const HostConfig& config);
[[nodiscard]] migration::MigrationOptions migration_options(const HostConfig& config);
[[nodiscard]] migration::NetworkOptions network_options(const HostConfig& config);

}  // namespace godwit::control
