// SPDX-License-Identifier: Apache-2.0
//
// What is in the policy store, as the journal keeps it; and back, when a switch starts again.
//
// Thread safety: the control thread only.
#pragma once

#include <string>
#include <vector>

#include "dataplane/policy/policy_store.h"
#include "dataplane/ports.h"
#include "migration/journal/journal.h"
#include "migration/policy/rewriting.h"

namespace godwit::migration {

[[nodiscard]] StoredRule stored_rule(const dataplane::PolicyStore& store,
                                     const dataplane::RuleRecord& record);
[[nodiscard]] StoredEndpoint stored_endpoint(const dataplane::PolicyStore& store,
                                             const dataplane::Ports& ports,
                                             const dataplane::EndpointRecord& endpoint);

// The VM's endpoints and the rules in their tables, in place of what was stored of them.
void note_vm(const dataplane::PolicyStore& store, const dataplane::Ports& ports,
             const std::string& vm, JournalBatch& batch);

// Rules by owner and id, as far as they are there.
void note_rules(const dataplane::PolicyStore& store, const std::vector<OwnedRule>& rules,
                JournalBatch& batch);
// The VM that was imported, and the uplinks' rules that came with it.
void note_import(const dataplane::PolicyStore& store, const dataplane::Ports& ports,
                 const std::string& vm, const std::vector<OwnedRule>& arrived, JournalBatch& batch);
// What will be stored of a VM once its policy has been taken out (rewrite.h) to the uplink.
[[nodiscard]] JournalBatch moved_out(const dataplane::PolicyStore& store, const std::string& vm,
                                     EndpointId uplink);

// A rule or endpoint that can no longer be restored: an uplink is gone that it names, an address is
// somebody else's.
struct LostPolicy {
  bool is_rule = false;
  std::string name;  // the endpoint's, or the rule's owner's
  uint32_t id = 0;   // the rule's
  std::string text;  // the rule's
  std::string why;
};

// All of it, in one transaction; uplinks that are in the store already stay as they are, what rules
// name besides is behind `uplink`. Endpoints with a socket are nowhere yet: bind_restored() follows
// when their port is there. What cannot be restored is an error that names the first; with `lost`,
// all of it is listed there instead. Then nothing is restored, unless `lose` says that the rest
// shall be.
Result<void> restore_policy(dataplane::PolicyStore& store, EndpointId uplink,
                            const StoredPolicy& policy, std::vector<LostPolicy>* lost = nullptr,
                            bool lose = false);
// `elsewhere`: as StoredEndpoint says: the location stays what restore_policy() made it. `held`: a
// move may have handed it over. It is parked and its port is not polled, until Engine::recover()
// knows.
Result<void> bind_restored(dataplane::PolicyStore& store, const std::string& endpoint, PortId port,
                           bool held, bool elsewhere = false);

}  // namespace godwit::migration
