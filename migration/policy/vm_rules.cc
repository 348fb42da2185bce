// SPDX-License-Identifier: Apache-2.0
#include "migration/policy/vm_rules.h"

#include <algorithm>
#include <set>

namespace godwit::migration {

using dataplane::EndpointRecord;
using dataplane::PolicyStore;
using dataplane::RuleRecord;

std::vector<EndpointId> endpoint_ids(const std::vector<const EndpointRecord*>& endpoints) {
  std::vector<EndpointId> ids;
  for (const EndpointRecord* endpoint : endpoints) ids.push_back(endpoint->id);
  return ids;
}

uint64_t receive_rules_of(const PolicyStore& store,
                          const std::vector<const EndpointRecord*>& endpoints) {
  std::set<const RuleRecord*> rules;
  for (const EndpointRecord* endpoint : endpoints) {
    for (const RuleRecord* record : store.receive_rules(endpoint->id)) {
      // A VM's NICs may send to each other: those rules go with it.
      const EndpointRecord* inside = store.endpoint(record->inside);
      if (inside == nullptr || std::ranges::find(endpoints, inside) == endpoints.end())
        rules.insert(record);
    }
  }
  return rules.size();
}

std::vector<OwnedRule> uplink_rules_of(const PolicyStore& store, const std::string& vm) {
  std::vector<OwnedRule> rules;
  for (const RuleRecord* record : store.uplink_rules_to(endpoint_ids(store.endpoints_of_vm(vm)))) {
    rules.emplace_back(store.endpoint(record->owner)->profile.name, record->id.value);
  }
  return rules;
}

}  // namespace godwit::migration
