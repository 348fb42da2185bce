// SPDX-License-Identifier: Apache-2.0
//
// What a session with a peer needs of TLS: this host's certificate and key, and the authority that
// peers' certificates must come from. TLS 1.3 only; both sides show a certificate; no tickets, no
// resumption, no early data, so that a session that was recorded is of no use to who plays it
// again: the other side's random bytes are new each time.
//
// Invariants: a loaded context is never changed. A reload makes another one; sessions keep theirs.
// Thread safety: the control thread.
#pragma once

#include <openssl/types.h>

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "base/result.h"

namespace asio::ssl {
class context;
}

namespace godwit::migration {

// PEM files. The certificate's may hold intermediate ones behind it; the authority's any number of
// authorities.
struct TlsFiles {
  std::string certificate, key, ca;
};

struct CertificateInfo {
  std::string subject;  // "CN = host-a, O = Example"
  std::string issuer;
  std::vector<std::string> names;  // DNS names of its subjectAltName, lower case
  int64_t not_before_s = 0;        // Unix time
  int64_t not_after_s = 0;
};

[[nodiscard]] CertificateInfo describe(const X509& certificate);
// Is one of its names this host's? Exactly, but for case: no wildcards.
[[nodiscard]] bool names_host(const CertificateInfo& certificate, const std::string& host);
[[nodiscard]] std::string names_text(
    const CertificateInfo& certificate);  // "host-a, a.example.net"

class TlsContext {
 public:
  // Reads the files and checks that they fit each other and this host. An error's token is the file
  // it is about.
  static Result<std::shared_ptr<const TlsContext>> load(const TlsFiles& files,
                                                        const std::string& host);
  ~TlsContext();

  // Is this host's certificate valid then? Not a part of load(): an expired one must not keep VMs
  // off the network.
  [[nodiscard]] Result<void> check_time(int64_t unix_s) const;
  [[nodiscard]] const CertificateInfo& certificate() const { return certificate_; }
  [[nodiscard]] asio::ssl::context& context() const { return *context_; }

 private:
  TlsContext();
  Result<void> read(const TlsFiles& files, const std::string& host);

  std::unique_ptr<asio::ssl::context> context_;
  CertificateInfo certificate_;
  std::string certificate_file_;
};

}  // namespace godwit::migration
