// SPDX-License-Identifier: Apache-2.0
#include "migration/policy/document.h"

#include <openssl/evp.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <utility>

#include "migration/policy/document_json.h"

namespace godwit::migration {

using dataplane::Profile;

namespace {

class Sha256 {
 public:
  Sha256() : context_(EVP_MD_CTX_new()) { EVP_DigestInit_ex(context_, EVP_sha256(), nullptr); }
  ~Sha256() { EVP_MD_CTX_free(context_); }
  Sha256(const Sha256&) = delete;
  Sha256& operator=(const Sha256&) = delete;
  // Adds the part after its length, so that no two lists of parts give the same bytes.
  void add(std::string_view part) {
    const std::string length = std::to_string(part.size()) + ":";
    EVP_DigestUpdate(context_, length.data(), length.size());
    EVP_DigestUpdate(context_, part.data(), part.size());
  }
  std::string hex() {
    unsigned char bytes[EVP_MAX_MD_SIZE];
    unsigned int size = 0;
    EVP_DigestFinal_ex(context_, bytes, &size);
    static constexpr char digits[] = "0123456789abcdef";
    std::string out;
    for (unsigned int i = 0; i < size; ++i) {
      out += digits[bytes[i] >> 4];
      out += digits[bytes[i] & 15];
    }
    return out;
  }

 private:
  EVP_MD_CTX* context_;
};

}  // namespace

std::string digest_of(const Document& document) {
  Sha256 sha;
  sha.add("godwit policy 1");
  sha.add(document.vm);
  sha.add(std::to_string(document.profiles.size()));
  for (const Profile& profile : document.profiles) {
    nlohmann::json canonical = to_json(profile);
    canonical.erase("features");
    // A switch that does not know of modes refuses the digest, and so the move.
    if (document.served.contains(profile.name)) canonical["server"] = true;
    sha.add(canonical.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace));
  }
  sha.add(std::to_string(document.rules.size()));
  for (const DocumentRule& rule : document.rules) {
    sha.add(rule.owner);
    // The VM's own endpoints keep their rules' ids. Other owners assign new ids on the destination.
    sha.add(dataplane::vm_of(rule.owner) == document.vm ? std::to_string(rule.id) : "");
    sha.add(rule.text);
  }
  return sha.hex();
}

std::string uplinks_digest_of(const std::vector<DocumentRule>& uplink_rules) {
  std::vector<std::pair<std::string_view, std::string_view>> sorted;
  for (const DocumentRule& rule : uplink_rules) sorted.emplace_back(rule.owner, rule.text);
  std::ranges::sort(sorted);
  Sha256 sha;
  sha.add("godwit uplink rules 1");
  for (const auto& [owner, text] : sorted) {
    sha.add(owner);
    sha.add(text);
  }
  return sha.hex();
}

}  // namespace godwit::migration
