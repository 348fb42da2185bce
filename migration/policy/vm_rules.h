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

// Returns the rules in the uplinks' tables that lead to one of the endpoints, to it alone or to
// others as well. They travel with the VM.
[[nodiscard]] std::vector<const dataplane::RuleRecord*> uplink_rules_to(
    const dataplane::PolicyStore& store, const std::vector<EndpointId>& endpoints);
// Returns the same rules of a VM by their names.
[[nodiscard]] std::vector<OwnedRule> uplink_rules_of(const dataplane::PolicyStore& store,
                                                     const std::string& vm);

// Returns the transfer rules that the endpoints own in the shared table, in canonical order. They
// travel with the VM, before the rules in its own tables.
[[nodiscard]] std::vector<const dataplane::RuleRecord*> shared_rules_of(
    const dataplane::PolicyStore& store,
    const std::vector<const dataplane::EndpointRecord*>& endpoints);

// Returns the rules outside of the endpoints' tables that leave with the VM: its shared rules, and
// the uplink rules that lead to no other endpoint with a port here. Other uplink rules stay until
// the last of their endpoints leaves.
[[nodiscard]] std::vector<const dataplane::RuleRecord*> rules_leaving_with(
    const dataplane::PolicyStore& store,
    const std::vector<const dataplane::EndpointRecord*>& endpoints);
[[nodiscard]] std::vector<OwnedRule> rules_leaving_with(const dataplane::PolicyStore& store,
                                                        const std::string& vm);

}  // namespace godwit::migration
