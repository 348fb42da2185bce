// SPDX-License-Identifier: Apache-2.0
//
// An authority, certificates of hosts and a revocation list. A test creates them when it runs and
// removes them at its end.
#pragma once

#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <sys/stat.h>

#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "migration/link/tls_context.h"

namespace godwit::testing {

struct CertificateOptions {
  std::string names = "";  // subjectAltName, such as "DNS:host-a". "DNS:" and the name if empty.
  long from_s = -3600;     // Relative to now.
  long to_s = 3600;
  std::string usage = "serverAuth,clientAuth";
};

class TestAuthority {
 public:
  explicit TestAuthority(const std::string& name = "Test CA") {
    char pattern[] = "/tmp/gw-tls-XXXXXX";
    folder_ = mkdtemp(pattern);
    key_ = EVP_EC_gen("P-256");
    certificate_ = make(name, key_, {"", -7200, 7200, ""}, true);
    write_certificate(ca(), certificate_);
  }
  ~TestAuthority() {
    X509_free(certificate_);
    EVP_PKEY_free(key_);
    std::filesystem::remove_all(folder_);
  }
  TestAuthority(const TestAuthority&) = delete;
  TestAuthority& operator=(const TestAuthority&) = delete;

  [[nodiscard]] std::string folder() const { return folder_; }
  [[nodiscard]] std::string ca() const { return folder_ + "/ca.crt"; }
  // Writes NAME.crt and NAME.key.
  migration::TlsFiles issue(const std::string& name, const CertificateOptions& options = {}) {
    EVP_PKEY* key = EVP_EC_gen("P-256");
    X509* certificate = make(name, key, options, false);
    serials_[name] = serial_;
    migration::TlsFiles files{folder_ + "/" + name + ".crt", folder_ + "/" + name + ".key", ca(),
                              ""};
    write_certificate(files.certificate, certificate);
    FILE* out = std::fopen(files.key.c_str(), "w");
    PEM_write_PrivateKey(out, key, nullptr, nullptr, 0, nullptr, nullptr);
    std::fclose(out);
    chmod(files.key.c_str(), 0600);
    X509_free(certificate);
    EVP_PKEY_free(key);
    return files;
  }
  // Writes a list that revokes the newest certificates of these names. Returns its path. The next
  // list is due `next_s` after now.
  std::string revoke(const std::vector<std::string>& names, long next_s = 3600) {
    X509_CRL* list = X509_CRL_new();
    X509_CRL_set_version(list, 1);
    X509_CRL_set_issuer_name(list, X509_get_subject_name(certificate_));
    ASN1_TIME* time = ASN1_TIME_new();
    X509_CRL_set1_lastUpdate(list, X509_gmtime_adj(time, -7000));
    X509_CRL_set1_nextUpdate(list, X509_gmtime_adj(time, next_s));
    for (const std::string& name : names) {
      X509_REVOKED* entry = X509_REVOKED_new();
      ASN1_INTEGER* serial = ASN1_INTEGER_new();
      ASN1_INTEGER_set(serial, serials_.at(name));
      X509_REVOKED_set_serialNumber(entry, serial);
      X509_REVOKED_set_revocationDate(entry, X509_gmtime_adj(time, -60));
      X509_CRL_add0_revoked(list, entry);
      ASN1_INTEGER_free(serial);
    }
    X509_CRL_sort(list);
    X509_CRL_sign(list, key_, EVP_sha256());
    const std::string path = folder_ + "/revoked.crl";
    FILE* out = std::fopen(path.c_str(), "w");
    PEM_write_X509_CRL(out, list);
    std::fclose(out);
    ASN1_TIME_free(time);
    X509_CRL_free(list);
    return path;
  }

 private:
  static void write_certificate(const std::string& path, X509* certificate) {
    FILE* out = std::fopen(path.c_str(), "w");
    PEM_write_X509(out, certificate);
    std::fclose(out);
  }
  static void extend(X509* certificate, X509* issuer, int id, const std::string& value) {
    X509V3_CTX context;
    X509V3_set_ctx(&context, issuer, certificate, nullptr, nullptr, 0);
    X509_EXTENSION* extension = X509V3_EXT_conf_nid(nullptr, &context, id, value.c_str());
    if (extension == nullptr) std::abort();  // An error of the test.
    X509_add_ext(certificate, extension, -1);
    X509_EXTENSION_free(extension);
  }
  X509* make(const std::string& name, EVP_PKEY* key, const CertificateOptions& options,
             bool authority) {
    X509* made = X509_new();
    X509_set_version(made, 2);
    ASN1_INTEGER_set(X509_get_serialNumber(made), ++serial_);
    X509_gmtime_adj(X509_getm_notBefore(made), options.from_s);
    X509_gmtime_adj(X509_getm_notAfter(made), options.to_s);
    X509_set_pubkey(made, key);
    X509_NAME_add_entry_by_txt(X509_get_subject_name(made), "CN", MBSTRING_ASC,
                               reinterpret_cast<const unsigned char*>(name.c_str()), -1, -1, 0);
    X509* issuer = authority ? made : certificate_;
    X509_set_issuer_name(made, X509_get_subject_name(issuer));
    extend(made, issuer, NID_basic_constraints, authority ? "critical,CA:TRUE" : "CA:FALSE");
    extend(made, issuer, NID_key_usage,
           authority ? "critical,keyCertSign,cRLSign" : "critical,digitalSignature");
    if (!authority) {
      extend(made, issuer, NID_subject_alt_name,
             options.names.empty() ? "DNS:" + name : options.names);
      extend(made, issuer, NID_ext_key_usage, options.usage);
    }
    X509_sign(made, key_, EVP_sha256());
    return made;
  }

  std::string folder_;
  EVP_PKEY* key_ = nullptr;
  X509* certificate_ = nullptr;
  long serial_ = 0;
  std::map<std::string, long> serials_;  // name -> newest
};

}  // namespace godwit::testing
