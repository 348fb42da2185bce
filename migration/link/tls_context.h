// SPDX-License-Identifier: Apache-2.0
//
// The TLS settings of all sessions: this host's certificate and key, and the authority that must
// have signed the peers' certificates. Only TLS 1.3 is spoken, and both sides show a certificate.
// There are no tickets, no resumption and no early data. A recorded session is therefore useless to
// replay: the other side's random bytes differ each time.
//
// A loaded context never changes. A reload makes another one, and open sessions keep theirs.
//
// Thread safety: the control thread.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "base/result.h"
#include "migration/link/certificate.h"

namespace asio::ssl {
class context;
}

namespace godwit::migration {

// Paths of PEM files. The certificate's file may hold intermediate certificates after the first,
// and the file of authorities may hold several.
struct TlsFiles {
  std::string certificate, key, ca;
};

class TlsContext {
 public:
  // Reads the files, and checks that they fit each other and this host. The token of an error is
  // the file at fault.
  static Result<std::shared_ptr<const TlsContext>> load(const TlsFiles& files,
                                                        const std::string& host);
  ~TlsContext();

  // Returns an error if this host's certificate is not valid at the time. load() does not check
  // this, since an expired certificate must not keep VMs off the network.
  [[nodiscard]] Result<void> check_time(int64_t unix_s) const;
  [[nodiscard]] const CertificateInfo& certificate() const { return certificate_; }
  [[nodiscard]] asio::ssl::context& context() const { return *context_; }

 private:
  TlsContext();
  Result<void> read(const TlsFiles& files, const std::string& host);
  Result<void> read_certificate(const std::string& file, const std::string& host);
  Result<void> read_key(const TlsFiles& files);

  std::unique_ptr<asio::ssl::context> context_;
  CertificateInfo certificate_;
  std::string certificate_file_;
};

}  // namespace godwit::migration
