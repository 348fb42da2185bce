// SPDX-License-Identifier: Apache-2.0
#include "migration/link/tls_context.h"

#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <sys/stat.h>

#include <algorithm>
#include <asio/ssl/context.hpp>
#include <cctype>
#include <cerrno>
#include <cstring>
#include <ctime>

#include "base/text.h"

namespace godwit::migration {

namespace {

constexpr int kMaxChain = 4;  // authorities between a certificate and the trusted one
constexpr long kMaxCertificateBytes = 32768;  // of all that a peer shows in one handshake

// Returns the first error of OpenSSL's queue, and clears the queue.
std::string first_error() {
  const unsigned long code = ERR_peek_error();  // later errors give the place, not the cause
  ERR_clear_error();
  if (code == 0) return "cannot be used";
  if (ERR_SYSTEM_ERROR(code)) return std::strerror(static_cast<int>(ERR_GET_REASON(code)));
  const char* reason = ERR_reason_error_string(code);
  return reason == nullptr ? "error " + std::to_string(code) : reason;
}

Unexpected bad(const std::string& file, const std::string& what, const std::string& expected) {
  return fail(Error{what, 0, 0, file, expected});
}

Result<void> can_be_read(const std::string& file, const std::string& expected) {
  struct stat status {};
  if (stat(file.c_str(), &status) != 0)
    return bad(file, std::string("cannot be read: ") + std::strerror(errno), expected);
  if (!S_ISREG(status.st_mode)) return bad(file, "is no file", expected);
  return {};
}

// Keeps OpenSSL from asking for a passphrase at a terminal, where the daemon would wait.
int no_passphrase(char*, int, int, void*) { return 0; }

}  // namespace

TlsContext::TlsContext()
    : context_(std::make_unique<asio::ssl::context>(asio::ssl::context::tls)) {}
TlsContext::~TlsContext() = default;

Result<std::shared_ptr<const TlsContext>> TlsContext::load(const TlsFiles& files,
                                                           const std::string& host) {
  const std::shared_ptr<TlsContext> made(new TlsContext);
  if (auto read = made->read(files, host); !read) return fail(read.error());
  return std::shared_ptr<const TlsContext>(made);
}

Result<void> TlsContext::read(const TlsFiles& files, const std::string& host) {
  SSL_CTX* ssl = context_->native_handle();
  SSL_CTX_set_min_proto_version(ssl, TLS1_3_VERSION);
  SSL_CTX_set_max_proto_version(ssl, TLS1_3_VERSION);
  SSL_CTX_set_options(ssl, SSL_OP_NO_TICKET | SSL_OP_NO_RENEGOTIATION);
  SSL_CTX_set_num_tickets(ssl, 0);
  SSL_CTX_set_session_cache_mode(ssl, SSL_SESS_CACHE_OFF);
  SSL_CTX_set_max_early_data(ssl, 0);
  SSL_CTX_set_verify(ssl, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, nullptr);
  SSL_CTX_set_verify_depth(ssl, kMaxChain);
  SSL_CTX_set_max_cert_list(ssl, kMaxCertificateBytes);
  SSL_CTX_set_default_passwd_cb(ssl, no_passphrase);
  ERR_clear_error();

  if (auto good = read_certificate(files.certificate, host); !good) return good;
  if (auto good = read_key(files); !good) return good;
  const std::string authorities = "a PEM file with the authority that signs hosts' certificates";
  if (auto good = can_be_read(files.ca, authorities); !good) return good;
  if (SSL_CTX_load_verify_file(ssl, files.ca.c_str()) != 1)
    return bad(files.ca, first_error(), authorities);
  return {};
}

Result<void> TlsContext::read_certificate(const std::string& file, const std::string& host) {
  SSL_CTX* ssl = context_->native_handle();
  const std::string a_certificate = "a PEM file with this host's certificate";
  if (auto good = can_be_read(file, a_certificate); !good) return good;
  if (SSL_CTX_use_certificate_chain_file(ssl, file.c_str()) != 1)
    return bad(file, first_error(), a_certificate);
  const X509* own = SSL_CTX_get0_certificate(ssl);
  certificate_file_ = file;
  certificate_ = describe(*own);
  if (!names_host(certificate_, host)) {
    return bad(file,
               "the certificate is for " + names_text(certificate_) + ", and this host is " + host,
               "DNS:" + host + " in its subjectAltName");
  }
  for (const int purpose : {X509_PURPOSE_SSL_SERVER, X509_PURPOSE_SSL_CLIENT}) {
    if (X509_check_purpose(const_cast<X509*>(own), purpose, 0) == 1) continue;
    return bad(
        file, "the certificate may not be used by both sides of a session",
        "serverAuth and clientAuth in its extendedKeyUsage, digitalSignature in its keyUsage");
  }
  return {};
}

Result<void> TlsContext::read_key(const TlsFiles& files) {
  SSL_CTX* ssl = context_->native_handle();
  const std::string a_key = "a PEM file with the certificate's private key, without passphrase";
  if (auto good = can_be_read(files.key, a_key); !good) return good;
  struct stat status {};
  if (stat(files.key.c_str(), &status) == 0 && (status.st_mode & S_IRWXO) != 0) {
    return bad(files.key, "everybody may read the private key", "mode 0600");
  }
  if (SSL_CTX_use_PrivateKey_file(ssl, files.key.c_str(), SSL_FILETYPE_PEM) != 1) {
    const bool other = ERR_GET_REASON(ERR_peek_last_error()) == X509_R_KEY_VALUES_MISMATCH ||
                       ERR_GET_REASON(ERR_peek_last_error()) == X509_R_KEY_TYPE_MISMATCH;
    const std::string why = first_error();
    return bad(files.key,
               other ? "the key does not belong to the certificate " + files.certificate : why,
               a_key);
  }
  return {};
}

Result<void> TlsContext::check_time(int64_t unix_s) const {
  if (unix_s < certificate_.not_before_s) {
    return bad(certificate_file_,
               "the certificate is not valid before " + utc_text(certificate_.not_before_s),
               "one that is valid now");
  }
  if (unix_s > certificate_.not_after_s) {
    return bad(certificate_file_,
               "the certificate expired on " + utc_text(certificate_.not_after_s),
               "one that is valid now");
  }
  return {};
}

}  // namespace godwit::migration
