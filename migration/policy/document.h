// SPDX-License-Identifier: Apache-2.0
//
// A VM's policy as one document: what `migration export` writes, `migration import` reads and a
// peer is offered.
//
// Endpoints are named, ports never: a document means the same on every host. The digest covers
// profiles and rules in canonical order, and neither counts, features, sequence nor ids of other
// owners' rules, so that the source's and the destination's documents of one VM have one digest.
//
// JSON form (format 1):
// {"format":1,"vm","host","epoch":{"counter","host"},"profiles":[...],"rules":[...],"uplink_rules":[...],"uplinks":[...],"digest"}.
// Unknown keys, wrong types, excess and a digest that does not fit are refused with the JSON
// pointer and what was expected.
#pragma once

#include <compare>
#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "dataplane/policy/policy_store.h"

namespace godwit::migration {

inline constexpr size_t kMaxDocumentProfiles = 64;
inline constexpr size_t kMaxDocumentRules = 1u << 20;
inline constexpr size_t kMaxHostName = 63;

// A VM's epoch: (counter of its moves, host that made it), ordered. The newest owns the policy.
struct Epoch {
  uint64_t counter = 0;
  std::string host;
  auto operator<=>(const Epoch&) const = default;
};

// "(3, host-b)"
[[nodiscard]] std::string to_string(const Epoch& epoch);

// Letters, digits and . _ -, as in the configuration; empty only where no host has made an epoch
// yet.
[[nodiscard]] bool is_host_name(std::string_view name);

struct DocumentRule {
  std::string owner;  // the endpoint whose `flow create` it was
  uint32_t id = 0;
  std::string text;  // testpmd, canonical
  uint64_t packets = 0;
  uint64_t bytes = 0;
  bool operator==(const DocumentRule&) const = default;
};

struct Document {
  std::string vm;
  std::string host;  // who exported it
  Epoch epoch;
  std::vector<dataplane::Profile> profiles;  // one for each endpoint of the VM, by name
  std::vector<DocumentRule> rules;           // in the VM's tables; canonical order
  std::vector<DocumentRule> uplink_rules;    // on uplinks, leading to nobody else
  std::vector<std::string> uplinks;  // uplinks that the rules name: they must exist where it goes
  std::string digest;                // SHA-256, lower-case hex
};

// SHA-256 of the canonical profiles and rules.
[[nodiscard]] std::string digest_of(const Document& document);
// SHA-256 of the uplink rules, in whatever order: whether both ends of a move have the same list.
[[nodiscard]] std::string uplinks_digest_of(const std::vector<DocumentRule>& uplink_rules);

[[nodiscard]] nlohmann::json to_json(const dataplane::Profile& profile);
Result<dataplane::Profile> profile_from_json(const nlohmann::json& json, const std::string& where);
[[nodiscard]] nlohmann::json to_json(const Document& document);
Result<Document> document_from_json(const nlohmann::json& json);
Result<Document> document_from_text(std::string_view text);  // at most 256 MiB

}  // namespace godwit::migration
