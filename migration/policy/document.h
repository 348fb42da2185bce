// SPDX-License-Identifier: Apache-2.0
//
// A VM's policy as one document. `migration export` writes it, `migration import` reads it, and an
// offer carries it to a peer.
//
// A document names endpoints and never ports, so it means the same on every host. Its digest covers
// profiles and rules in canonical order. It excludes counts, features, the epoch and the ids of
// other owners' rules. Therefore the documents of one VM on the source and the destination have the
// same digest.
//
// Thread safety: plain values.
#pragma once

#include <cstdint>
#include <set>
#include <string>
#include <vector>

#include "base/result.h"
#include "dataplane/policy/policy_store.h"
#include "migration/policy/epoch.h"

namespace godwit::migration {

inline constexpr size_t kMaxDocumentProfiles = 64;
inline constexpr size_t kMaxDocumentRules = 1u << 20;

struct DocumentRule {
  std::string owner;  // the endpoint that created the rule
  uint32_t id = 0;
  std::string text;  // in the canonical form of testpmd's syntax
  uint64_t packets = 0;
  uint64_t bytes = 0;
  bool operator==(const DocumentRule&) const = default;
};

struct Document {
  std::string vm;
  std::string host;  // the host that exported it
  Epoch epoch;
  std::vector<dataplane::Profile> profiles;  // one for each endpoint of the VM, by name
  // The VM's in the shared table, then those in the VM's tables, each in canonical order.
  std::vector<DocumentRule> rules;
  std::vector<DocumentRule> uplink_rules;  // in uplinks' tables, leading to this VM
  std::vector<std::string> uplinks;        // named by the rules; the importing host must have them
  // Endpoints whose port is a vhost-user server: the front-end connects to its socket. The port at
  // the destination must be one as well.
  std::set<std::string> served;
  std::string digest;  // SHA-256 in lower-case hex
};

// Returns the SHA-256 of the canonical profiles and rules. Uplink rules do not count: the
// destination may have others of its own for the VM.
[[nodiscard]] std::string digest_of(const Document& document);
// Returns the SHA-256 of the uplink rules in any order. Both ends of a move compare it.
[[nodiscard]] std::string uplinks_digest_of(const std::vector<DocumentRule>& uplink_rules);

}  // namespace godwit::migration
