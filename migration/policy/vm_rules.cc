// SPDX-License-Identifier: Apache-2.0
#include "migration/policy/vm_rules.h"

#include <algorithm>
#include <iterator>
#include <set>
#include <tuple>

namespace godwit::migration {

using dataplane::EndpointRecord;
using dataplane::PolicyStore;
using dataplane::RuleRecord;

namespace {

// Sorts rules as their table orders them: by group, priority and age.
void sort_canonically(std::vector<const RuleRecord*>& rules) {
  std::ranges::sort(rules, {}, [](const RuleRecord* rule) {
    return std::tuple(rule->rule.attributes.direction, rule->rule.attributes.group,
                      rule->rule.attributes.priority, rule->entry->order.sequence);
  });
}

std::vector<OwnedRule> names_of(const PolicyStore& store,
                                const std::vector<const RuleRecord*>& records) {
  std::vector<OwnedRule> out;
  for (const RuleRecord* record : records)
    out.emplace_back(store.endpoint(record->owner)->profile.name, record->id.value);
  return out;
}

}  // namespace

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

std::vector<const RuleRecord*> uplink_rules_to(const PolicyStore& store,
                                               const std::vector<EndpointId>& endpoints) {
  std::vector<const RuleRecord*> out;
  for (const EndpointId id : endpoints) {
    for (const RuleRecord* record : store.receive_rules(id)) {
      if (store.of_uplink(*record)) out.push_back(record);
    }
  }
  sort_canonically(out);
  out.erase(std::ranges::unique(out).begin(), out.end());
  return out;
}

std::vector<OwnedRule> uplink_rules_of(const PolicyStore& store, const std::string& vm) {
  return names_of(store, uplink_rules_to(store, endpoint_ids(store.endpoints_of_vm(vm))));
}

std::vector<const RuleRecord*> shared_rules_of(
    const PolicyStore& store, const std::vector<const EndpointRecord*>& endpoints) {
  std::vector<const RuleRecord*> out;
  for (const EndpointRecord* endpoint : endpoints) {
    for (const auto& [id, record] : endpoint->rules) {
      if (store.endpoint(record->inside) == nullptr && !record->staged) out.push_back(record);
    }
  }
  sort_canonically(out);
  return out;
}

std::vector<const RuleRecord*> rules_leaving_with(
    const PolicyStore& store, const std::vector<const EndpointRecord*>& endpoints) {
  const std::vector<EndpointId> ids = endpoint_ids(endpoints);
  auto out = uplink_rules_to(store, ids);
  std::erase_if(out, [&](const RuleRecord* record) {
    return std::ranges::any_of(record->outputs, [&](EndpointId output) {
      const EndpointRecord* other = store.endpoint(output);
      return other != nullptr && other->port.valid() && std::ranges::find(ids, output) == ids.end();
    });
  });
  std::ranges::copy(shared_rules_of(store, endpoints), std::back_inserter(out));
  return out;
}

std::vector<OwnedRule> rules_leaving_with(const PolicyStore& store, const std::string& vm) {
  return names_of(store, rules_leaving_with(store, store.endpoints_of_vm(vm)));
}

}  // namespace godwit::migration
