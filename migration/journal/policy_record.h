// SPDX-License-Identifier: Apache-2.0
//
// Translates the policy store into journal records, and back when a switch starts.
//
// Thread safety: the control thread only.
#pragma once

#include <string>
#include <vector>

#include "dataplane/policy/policy_store.h"
#include "dataplane/ports.h"
#include "migration/journal/journal.h"
#include "migration/policy/vm_rules.h"

namespace godwit::migration {

[[nodiscard]] StoredRule stored_rule(const dataplane::PolicyStore& store,
                                     const dataplane::RuleRecord& record);
[[nodiscard]] StoredEndpoint stored_endpoint(const dataplane::PolicyStore& store,
                                             const dataplane::Ports& ports,
                                             const dataplane::EndpointRecord& endpoint);

// Adds the VM's endpoints, the rules in their tables and their rules in the shared table to the
// batch. They replace what is stored of the VM's tables.
void note_vm(const dataplane::PolicyStore& store, const dataplane::Ports& ports,
             const std::string& vm, JournalBatch& batch);

// Adds those of the rules that exist to the batch.
void note_rules(const dataplane::PolicyStore& store, const std::vector<OwnedRule>& rules,
                JournalBatch& batch);
// Adds an imported VM and the uplink rules that arrived with it to the batch.
void note_import(const dataplane::PolicyStore& store, const dataplane::Ports& ports,
                 const std::string& vm, const std::vector<OwnedRule>& arrived, JournalBatch& batch);
// Returns the batch that take_out() (migration/policy/withdraw.h) will make true: the VM is behind
// the uplink, and its rules are gone.
[[nodiscard]] JournalBatch moved_out(const dataplane::PolicyStore& store, const std::string& vm,
                                     EndpointId uplink);

// A rule or endpoint that cannot be restored any more. For example, it names an uplink that is
// gone, or another endpoint has its address.
struct LostPolicy {
  bool is_rule = false;
  std::string name;  // of the endpoint, or of the rule's owner
  uint32_t id = 0;   // of the rule
  std::string text;  // of the rule
  std::string why;
};

// Restores the policy in one transaction. Uplinks that the store already has stay as they are.
// Endpoints that only rules name are put behind `uplink`. An endpoint with a socket has no location
// until bind_restored() runs.
//
// If something cannot be restored: without `lost`, returns an error that names the first of it and
// restores nothing. With `lost`, lists all of it there, and restores the rest only if `lose` is
// set.
Result<void> restore_policy(dataplane::PolicyStore& store, EndpointId uplink,
                            const StoredPolicy& policy, std::vector<LostPolicy>* lost = nullptr,
                            bool lose = false);
// Binds a restored endpoint to its port. `held` is for a VM that may have been handed over: it is
// parked and its port is not polled until Engine::recover() decides. `elsewhere` keeps the location
// that restore_policy() set (StoredEndpoint::elsewhere). Returns an error if the endpoint does not
// exist.
Result<void> bind_restored(dataplane::PolicyStore& store, const std::string& endpoint, PortId port,
                           bool held, bool elsewhere = false);

}  // namespace godwit::migration
