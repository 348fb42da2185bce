// SPDX-License-Identifier: Apache-2.0
//
// Queries of a policy store about the rules that lead to a VM.
//
// Thread safety: the control thread only.
#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "dataplane/policy/policy_store.h"

namespace godwit::migration {

// Names a rule: its owner, and the id that the owner gave it.
using OwnedRule = std::pair<std::string, uint32_t>;

[[nodiscard]] std::vector<EndpointId> endpoint_ids(
    const std::vector<const dataplane::EndpointRecord*>& endpoints);

// Counts the rules that send to the endpoints. A rule in a table of these endpoints does not count:
// it moves with the VM.
[[nodiscard]] uint64_t receive_rules_of(
    const dataplane::PolicyStore& store,
    const std::vector<const dataplane::EndpointRecord*>& endpoints);

// Returns the rules in the uplinks' tables that lead to the VM alone.
[[nodiscard]] std::vector<OwnedRule> uplink_rules_of(const dataplane::PolicyStore& store,
                                                     const std::string& vm);

}  // namespace godwit::migration
