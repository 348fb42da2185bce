// SPDX-License-Identifier: Apache-2.0
//
// The certificates that peers see: loading them into the network, and checking them for `godwitd
// --check`. Errors name the place in the configuration that names the file.
//
// Thread safety: the control thread only.
#pragma once

#include "base/result.h"
#include "control/config/host_config.h"
#include "migration/link/asio_network.h"

namespace godwit::control {

// Loads the certificates, at the start or again, and logs their subject and end. An error has
// changed nothing. A certificate that is not valid now is logged and still loaded: peers refuse
// it, but the host's VMs must not lose their switch over it.
Result<void> load_certificates(const HostConfig& config, migration::AsioNetwork& network);

// Returns an error if the certificates cannot be loaded or are not valid now.
Result<void> check_certificates(const HostConfig& config);

}  // namespace godwit::control
