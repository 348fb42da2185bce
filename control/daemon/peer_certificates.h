// SPDX-License-Identifier: Apache-2.0
//
// The certificates that peers see: reading them, describing them in the log, and checking them for
// `godwitd --check`. Errors name the place in the configuration that names the file.
//
// Thread safety: the functions share no state.
#pragma once

#include <memory>

#include "base/result.h"
#include "control/config/host_config.h"
#include "migration/link/tls_context.h"

namespace godwit::control {

using TlsContextPtr = std::shared_ptr<const migration::TlsContext>;

// Reads the certificates and the revocation lists. Returns nullptr if none are configured. A
// certificate that is not valid now is no error: peers refuse it, but the host's VMs must not lose
// their switch over it.
Result<TlsContextPtr> read_certificates(const HostConfig& config);

// Logs whose certificate peers are shown and how many are revoked. Logs an error if peers refuse
// the certificate, and a warning if it ends soon or if a revocation list should have been renewed.
void log_certificates(const HostConfig& config, const migration::TlsContext& tls);

// Returns an error if the certificates cannot be read or peers would refuse them now.
Result<void> check_certificates(const HostConfig& config);

}  // namespace godwit::control
