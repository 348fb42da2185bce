// SPDX-License-Identifier: Apache-2.0
#include "migration/link/tls.h"

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
constexpr size_t kMaxNames = 64;              // of a certificate that are looked at

struct Free {
  void operator()(BIO* bio) const { BIO_free(bio); }
  void operator()(GENERAL_NAMES* names) const { GENERAL_NAMES_free(names); }
};

std::string name_text(const X509_NAME* name) {
  const std::unique_ptr<BIO, Free> out(BIO_new(BIO_s_mem()));
  if (out == nullptr) return {};
  X509_NAME_print_ex(out.get(), name, 0,
                     XN_FLAG_ONELINE);  // escapes all that is no printable ASCII
  char* data = nullptr;
  const long length = BIO_get_mem_data(out.get(), &data);
  return std::string(data, static_cast<size_t>(std::min(length, 256l)));
}

int64_t unix_time(const ASN1_TIME* time) {
  tm parts{};
  return ASN1_TIME_to_tm(time, &parts) == 1 ? timegm(&parts) : 0;
}

std::string lower(std::string text) {
  std::ranges::transform(text, text.begin(),
                         [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  return text;
}

// What OpenSSL has against it, and nothing of it is left for the next call to find.
std::string first_error() {
  const unsigned long code = ERR_peek_error();  // the first: what follows says where, not why
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

// A key that is locked by a passphrase must not make the daemon wait at a terminal.
int no_passphrase(char*, int, int, void*) { return 0; }

}  // namespace

CertificateInfo describe(const X509& certificate) {
  CertificateInfo info;
  info.subject = name_text(X509_get_subject_name(&certificate));
  info.issuer = name_text(X509_get_issuer_name(&certificate));
  info.not_before_s = unix_time(X509_get0_notBefore(&certificate));
  info.not_after_s = unix_time(X509_get0_notAfter(&certificate));
  const std::unique_ptr<GENERAL_NAMES, Free> names(static_cast<GENERAL_NAMES*>(
      X509_get_ext_d2i(&certificate, NID_subject_alt_name, nullptr, nullptr)));
  for (int i = 0;
       names != nullptr && i < sk_GENERAL_NAME_num(names.get()) && info.names.size() < kMaxNames;
       ++i) {
    const GENERAL_NAME* name = sk_GENERAL_NAME_value(names.get(), i);
    if (name->type != GEN_DNS) continue;
    const std::string text(reinterpret_cast<const char*>(ASN1_STRING_get0_data(name->d.dNSName)),
                           static_cast<size_t>(ASN1_STRING_length(name->d.dNSName)));
    const bool printable =
        std::ranges::all_of(text, [](unsigned char c) { return std::isgraph(c) != 0; });
    if (printable && !text.empty() && text.size() <= 255) info.names.push_back(lower(text));
  }
  return info;
}

bool names_host(const CertificateInfo& certificate, const std::string& host) {
  return std::ranges::find(certificate.names, lower(host)) != certificate.names.end();
}

std::string names_text(const CertificateInfo& certificate) {
  std::string text;
  for (const std::string& name : certificate.names) {
    text += (text.empty() ? "" : ", ") + name;
    if (text.size() > 200) return text + ", ...";
  }
  return text.empty() ? "no host" : text;
}

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

  const std::string a_certificate = "a PEM file with this host's certificate";
  if (auto good = can_be_read(files.certificate, a_certificate); !good) return good;
  if (SSL_CTX_use_certificate_chain_file(ssl, files.certificate.c_str()) != 1)
    return bad(files.certificate, first_error(), a_certificate);
  const X509* own = SSL_CTX_get0_certificate(ssl);
  certificate_file_ = files.certificate;
  certificate_ = describe(*own);
  if (!names_host(certificate_, host)) {
    return bad(files.certificate,
               "the certificate is for " + names_text(certificate_) + ", and this host is " + host,
               "DNS:" + host + " in its subjectAltName");
  }
  for (const int purpose : {X509_PURPOSE_SSL_SERVER, X509_PURPOSE_SSL_CLIENT}) {
    if (X509_check_purpose(const_cast<X509*>(own), purpose, 0) == 1) continue;
    return bad(
        files.certificate, "the certificate may not be used by both sides of a session",
        "serverAuth and clientAuth in its extendedKeyUsage, digitalSignature in its keyUsage");
  }

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

  const std::string authorities = "a PEM file with the authority that signs hosts' certificates";
  if (auto good = can_be_read(files.ca, authorities); !good) return good;
  if (SSL_CTX_load_verify_file(ssl, files.ca.c_str()) != 1)
    return bad(files.ca, first_error(), authorities);
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
