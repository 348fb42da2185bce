// SPDX-License-Identifier: Apache-2.0
//
// What is in the policy store, as the journal keeps it; and back, when a switch starts again.
//
// Thread safety: the control thread only.
#pragma once

#include <string>

#include "dataplane/policy_store.h"
#include "dataplane/ports.h"
#include "migration/journal.h"

namespace godwit::migration {

[[nodiscard]] StoredRule stored_rule(const dataplane::PolicyStore& store, const dataplane::RuleRecord& record);
[[nodiscard]] StoredEndpoint stored_endpoint(const dataplane::PolicyStore& store, const dataplane::Ports& ports,
                                             const dataplane::EndpointRecord& endpoint);

// The VM's endpoints and the rules in their tables, in place of what was stored of them.
void note_vm(const dataplane::PolicyStore& store, const dataplane::Ports& ports, const std::string& vm, JournalBatch& batch);

// All of it, in one transaction; uplinks that are in the store already stay as they are, what rules name besides is behind
// `uplink`. Endpoints with a socket are nowhere yet: bind_restored() follows when their port is there. Errors say which rule
// or endpoint, and have changed nothing.
Result<void> restore_policy(dataplane::PolicyStore& store, EndpointId uplink, const StoredPolicy& policy);
// `held`: a move may have handed it over. It is parked and its port is not polled, until Driver::recover() knows.
Result<void> bind_restored(dataplane::PolicyStore& store, const std::string& endpoint, PortId port, bool held);

}  // namespace godwit::migration
