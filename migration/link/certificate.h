// SPDX-License-Identifier: Apache-2.0
//
// The facts of a certificate that Godwit checks and displays.
//
// Thread safety: plain values.
#pragma once

#include <openssl/types.h>

#include <cstdint>
#include <string>
#include <vector>

namespace godwit::migration {

struct CertificateInfo {
  std::string subject;  // "CN = host-a, O = Example"
  std::string issuer;
  std::vector<std::string> names;  // DNS names of the subjectAltName, in lower case
  int64_t not_before_s = 0;        // Unix time
  int64_t not_after_s = 0;
};

[[nodiscard]] CertificateInfo describe(const X509& certificate);
// Returns the name on one line, with all that is not printable ASCII escaped.
[[nodiscard]] std::string name_text(const X509_NAME* name);
// Returns Unix time, or zero if `time` is null or not a time.
[[nodiscard]] int64_t unix_time(const ASN1_TIME* time);
// Returns whether one of the names equals the host's, without regard to case. A wildcard matches
// nothing.
[[nodiscard]] bool names_host(const CertificateInfo& certificate, const std::string& host);
// Returns the names as "host-a, a.example.net".
[[nodiscard]] std::string names_text(const CertificateInfo& certificate);

}  // namespace godwit::migration
