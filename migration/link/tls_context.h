// SPDX-License-Identifier: Apache-2.0
//
// The TLS settings of all sessions: this host's certificate and key, the authority that must have
// signed the peers' certificates, and the lists of certificates that it has revoked. Only TLS 1.3
// is spoken, and both sides show a certificate. There are no tickets, no resumption and no early
// data. A recorded session is therefore useless to replay: the other side's random bytes differ
// each time.
//
// A loaded context never changes. A reload makes another one, and open sessions keep theirs.
//
// Thread safety: load() on any thread; a loaded context on the control thread.
#pragma once

#include <openssl/types.h>

#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "base/result.h"
#include "migration/link/certificate.h"

namespace asio::ssl {
class context;
}
struct stack_st_X509;  // STACK_OF(X509) of OpenSSL

namespace godwit::migration {

// Paths of PEM files. The certificate's file may hold intermediate certificates after the first.
// The files of authorities and of revocation lists may hold several. `revoked` may be empty;
// otherwise it has a list by each authority in the chain of a peer's certificate.
struct TlsFiles {
  std::string certificate, key, ca, revoked;
};

struct RevocationInfo {
  size_t certificates = 0;    // in all lists
  int64_t next_update_s = 0;  // Unix time, the earliest of all lists; zero if no list names one
};

class TlsContext {
 public:
  // Reads the files, and checks that they fit each other and this host. The token of an error is
  // the file at fault.
  static Result<std::shared_ptr<const TlsContext>> load(const TlsFiles& files,
                                                        const std::string& host);
  ~TlsContext();

  // Returns an error if peers would refuse this host's certificate at the time: it is not valid
  // then, or it is revoked. load() does not check this, since a bad certificate must not keep VMs
  // off the network.
  [[nodiscard]] Result<void> check_own(int64_t unix_s) const;
  // Verifies a peer's certificate again, which another context had accepted. Returns why it is not
  // trusted any more: it is revoked, or its authority is gone. Returns an empty text if it is
  // trusted. Times do not count. `untrusted` has intermediate certificates and may be null.
  [[nodiscard]] std::string distrust(X509* certificate, stack_st_X509* untrusted) const;
  // Returns nothing if there is no file of revocation lists.
  [[nodiscard]] const std::optional<RevocationInfo>& revocations() const { return revocations_; }
  [[nodiscard]] const CertificateInfo& certificate() const { return certificate_; }
  [[nodiscard]] asio::ssl::context& context() const { return *context_; }

 private:
  TlsContext();
  Result<void> read(const TlsFiles& files, const std::string& host);
  Result<void> read_certificate(const std::string& file, const std::string& host);
  Result<void> read_key(const TlsFiles& files);
  Result<void> read_revoked(const std::string& file);
  Result<void> check_lists(const std::string& file);

  std::unique_ptr<asio::ssl::context> context_;
  CertificateInfo certificate_;
  std::string certificate_file_;
  std::optional<RevocationInfo> revocations_;
  bool own_revoked_ = false;
};

}  // namespace godwit::migration
