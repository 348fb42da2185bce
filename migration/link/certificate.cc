// SPDX-License-Identifier: Apache-2.0
#include "migration/link/certificate.h"

#include <openssl/x509v3.h>

#include <algorithm>
#include <cctype>
#include <ctime>
#include <memory>

namespace godwit::migration {

namespace {

constexpr size_t kMaxNames = 64;  // that are read of one certificate

struct Free {
  void operator()(BIO* bio) const { BIO_free(bio); }
  void operator()(GENERAL_NAMES* names) const { GENERAL_NAMES_free(names); }
};

std::string lower(std::string text) {
  std::ranges::transform(text, text.begin(),
                         [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  return text;
}

}  // namespace

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
  return time != nullptr && ASN1_TIME_to_tm(time, &parts) == 1 ? timegm(&parts) : 0;
}

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

}  // namespace godwit::migration
