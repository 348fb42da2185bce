// SPDX-License-Identifier: Apache-2.0
//
// From the configuration to what the peers' sessions need, and what is wrong with its certificates,
// placed as the configuration's errors are.
#pragma once

#include "base/result.h"
#include "control/config/config.h"
#include "migration/link/asio_network.h"

namespace godwit::control {

[[nodiscard]] migration::NetworkOptions network_options(const HostConfig& config);

// Where in the configuration the file is named that the error is about: "FILE:LINE:COL: PATH: what,
// expected ...".
[[nodiscard]] Error placed_at_file(const TlsConfig& tls, const Error& error);

// For --check: can the certificates be used, now? A daemon starts with one that has expired, and
// says so.
Result<void> check_certificates(const HostConfig& config);

}  // namespace godwit::control
