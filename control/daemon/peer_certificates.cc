// SPDX-License-Identifier: Apache-2.0
#include "control/daemon/peer_certificates.h"

#include <spdlog/spdlog.h>

#include <ctime>

#include "base/text.h"
#include "control/daemon/option_mapping.h"

namespace godwit::control {
namespace {

constexpr int64_t kExpiresSoonS = 14 * 24 * 3600;

// Returns "FILE:LINE:COL: PATH: what, expected ...", with the place of the file that the error is
// about.
Error error_at_file(const TlsConfig& tls, const Error& error) {
  const FileConfig* file = &tls.certificate;
  for (const FileConfig* one : {&tls.key, &tls.ca, &tls.revoked}) {
    if (error.token == one->path && error.token != tls.certificate.path) file = one;
  }
  return error_at(file->place, file->path + ": " + error.message, error.expected);
}

}  // namespace

Result<TlsContextPtr> read_certificates(const HostConfig& config) {
  if (!config.migration.tls) return TlsContextPtr();
  auto loaded = migration::TlsContext::load(*network_options(config).tls, config.host);
  if (!loaded) return fail(error_at_file(*config.migration.tls, loaded.error()));
  return loaded;
}

void log_certificates(const HostConfig& config, const migration::TlsContext& tls) {
  const int64_t now_s = std::time(nullptr);
  spdlog::info("peers are shown the certificate {} for {}, valid to {}", tls.certificate().subject,
               migration::names_text(tls.certificate()), utc_text(tls.certificate().not_after_s));
  if (const auto& revoked = tls.revocations()) {
    const int64_t next_s = revoked->next_update_s;
    spdlog::info("{} certificates are revoked by {}", revoked->certificates,
                 config.migration.tls->revoked.path);
    if (next_s != 0 && next_s < now_s)
      spdlog::warn("{} should have been renewed by {}; it stays in use",
                   config.migration.tls->revoked.path, utc_text(next_s));
  }
  if (auto valid = tls.check_own(now_s); !valid) {
    spdlog::error("{}: peers will refuse it",
                  error_at_file(*config.migration.tls, valid.error()).message);
  } else if (tls.certificate().not_after_s - now_s < kExpiresSoonS) {
    spdlog::warn("the certificate expires in {} hours",
                 (tls.certificate().not_after_s - now_s) / 3600);
  }
}

Result<void> check_certificates(const HostConfig& config) {
  auto tls = read_certificates(config);
  if (!tls) return fail(tls.error());
  if (*tls == nullptr) return {};
  if (auto valid = (*tls)->check_own(std::time(nullptr)); !valid)
    return fail(error_at_file(*config.migration.tls, valid.error()));
  return {};
}

}  // namespace godwit::control
