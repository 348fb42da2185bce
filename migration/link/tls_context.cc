// SPDX-License-Identifier: Apache-2.0
#include "migration/link/tls_context.h"

#include <openssl/err.h>
#include <openssl/pem.h>
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
constexpr off_t kMaxListBytes = 16 << 20;     // of all revocation lists; 400,000 certificates

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

struct Free {
  void operator()(BIO* bio) const { BIO_free(bio); }
  void operator()(X509_CRL* list) const { X509_CRL_free(list); }
  void operator()(X509_STORE_CTX* context) const { X509_STORE_CTX_free(context); }
};

// Verifies a certificate by the authorities and lists of the store, whatever the time. Returns
// OpenSSL's error.
int verify(X509_STORE* store, X509* certificate, stack_st_X509* untrusted, bool with_lists) {
  const std::unique_ptr<X509_STORE_CTX, Free> context(X509_STORE_CTX_new());
  if (context == nullptr || X509_STORE_CTX_init(context.get(), store, certificate, untrusted) != 1)
    return X509_V_ERR_OUT_OF_MEM;
  X509_STORE_CTX_set_flags(context.get(), X509_V_FLAG_NO_CHECK_TIME);
  if (!with_lists)
    X509_VERIFY_PARAM_clear_flags(X509_STORE_CTX_get0_param(context.get()),
                                  X509_V_FLAG_CRL_CHECK | X509_V_FLAG_CRL_CHECK_ALL);
  const bool good = X509_verify_cert(context.get()) == 1;
  const int error = X509_STORE_CTX_get_error(context.get());
  ERR_clear_error();
  return good ? X509_V_OK : error;
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
  return files.revoked.empty() ? Result<void>() : read_revoked(files.revoked);
}

Result<void> TlsContext::read_revoked(const std::string& file) {
  const std::string expected = "a PEM file with a revocation list by each authority";
  if (auto good = can_be_read(file, expected); !good) return good;
  struct stat status {};
  if (stat(file.c_str(), &status) == 0 && status.st_size > kMaxListBytes)
    return bad(file, "is " + std::to_string(status.st_size) + " bytes long",
               "at most " + std::to_string(kMaxListBytes));
  const std::unique_ptr<BIO, Free> in(BIO_new_file(file.c_str(), "r"));
  if (in == nullptr) return bad(file, first_error(), expected);
  X509_STORE* store = SSL_CTX_get_cert_store(context_->native_handle());
  RevocationInfo& info = revocations_.emplace();
  size_t lists = 0;
  for (;; ++lists) {
    const std::unique_ptr<X509_CRL, Free> list(
        PEM_read_bio_X509_CRL(in.get(), nullptr, no_passphrase, nullptr));
    if (list == nullptr) break;
    if (X509_STORE_add_crl(store, list.get()) != 1) return bad(file, first_error(), expected);
    if (const auto* entries = X509_CRL_get_REVOKED(list.get()); entries != nullptr)
      info.certificates += static_cast<size_t>(sk_X509_REVOKED_num(entries));
    const int64_t next_s = unix_time(X509_CRL_get0_nextUpdate(list.get()));
    if (next_s != 0 && (info.next_update_s == 0 || next_s < info.next_update_s))
      info.next_update_s = next_s;
  }
  // Behind the last list OpenSSL finds no further start line.
  if (lists == 0 || ERR_GET_REASON(ERR_peek_last_error()) != PEM_R_NO_START_LINE)
    return bad(file, first_error(), expected);
  ERR_clear_error();
  X509_STORE_set_flags(store, X509_V_FLAG_CRL_CHECK | X509_V_FLAG_CRL_CHECK_ALL);
  return check_lists(file);
}

// Checks the lists against this host's own certificate, which the same authorities have signed.
Result<void> TlsContext::check_lists(const std::string& file) {
  SSL_CTX* ssl = context_->native_handle();
  X509_STORE* store = SSL_CTX_get_cert_store(ssl);
  X509* own = SSL_CTX_get0_certificate(ssl);
  stack_st_X509* intermediates = nullptr;
  SSL_CTX_get_extra_chain_certs(ssl, &intermediates);
  const int error = verify(store, own, intermediates, true);
  own_revoked_ = error == X509_V_ERR_CERT_REVOKED;
  if (error == X509_V_OK || own_revoked_ || verify(store, own, intermediates, false) != X509_V_OK)
    return {};
  return bad(file,
             std::string(X509_verify_cert_error_string(error)) + " for the certificate " +
                 certificate_file_,
             "a revocation list by " + certificate_.issuer + " and by each authority above it");
}

std::string TlsContext::distrust(X509* certificate, stack_st_X509* untrusted) const {
  X509_STORE* store = SSL_CTX_get_cert_store(context_->native_handle());
  const int error = verify(store, certificate, untrusted, true);
  return error == X509_V_OK ? std::string() : X509_verify_cert_error_string(error);
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

Result<void> TlsContext::check_own(int64_t unix_s) const {
  if (own_revoked_) return bad(certificate_file_, "the certificate is revoked", "a new one");
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
