// SPDX-License-Identifier: Apache-2.0
#include "migration/policy/withdraw.h"

#include <utility>

namespace godwit::migration {

using dataplane::EndpointRecord;
using dataplane::Location;
using dataplane::LocationKind;
using dataplane::PolicyStore;
using dataplane::RuleRecord;
using dataplane::Transaction;

Result<TakenOut> take_out(PolicyStore& store, const std::string& vm, LocationKind kind,
                          EndpointId uplink, bool keep_port) {
  const auto endpoints = store.endpoints_of_vm(vm);
  if (endpoints.empty())
    return fail(
        Error{"no endpoint of that VM is known here", 0, 0, vm, "a VM of `show endpoints`"});
  TakenOut report;
  Transaction transaction(store);
  transaction.override_guards();
  for (const EndpointRecord* endpoint : endpoints) {
    if (endpoint->port.valid()) report.old_ports[endpoint->profile.name] = endpoint->port.value;
    report.transmit_rules += endpoint->inside.size();
    Result<void> done = transaction.detach(endpoint->id);
    Location location;
    location.kind = kind;
    if (kind == LocationKind::kUplink) location.uplink = uplink;
    if (done) done = transaction.set_location(endpoint->id, location);
    if (done) done = transaction.set_active(endpoint->id, false);
    if (done && !keep_port) done = transaction.bind_port(endpoint->id, PortId{});
    if (!done) return fail(done.error());
  }
  transaction.commit();
  report.receive_rules = receive_rules_of(store, endpoints);
  return report;
}

std::vector<OwnedRule> remove_uplink_rules(PolicyStore& store, const std::string& vm) {
  const auto records = rules_leaving_with(store, store.endpoints_of_vm(vm));
  if (records.empty()) return {};
  Transaction transaction(store);
  transaction.override_guards();
  std::vector<OwnedRule> removed;
  for (const RuleRecord* record : records) {
    OwnedRule name{store.endpoint(record->owner)->profile.name, record->id.value};
    if (transaction.destroy_rule(record->owner, record->id)) removed.push_back(std::move(name));
  }
  transaction.commit();
  return removed;
}

void destroy_rules(PolicyStore& store, const std::vector<OwnedRule>& rules) {
  if (rules.empty()) return;
  Transaction transaction(store);
  transaction.override_guards();
  for (const auto& [owner, id] : rules) {
    if (const EndpointRecord* endpoint = store.find(owner))
      (void)transaction.destroy_rule(endpoint->id, RuleId{id});
  }
  transaction.commit();
}

Result<void> relocate(PolicyStore& store, const std::string& vm, bool active,
                      const std::function<Location(const EndpointRecord&)>& make) {
  Transaction transaction(store);
  for (const EndpointRecord* endpoint : store.endpoints_of_vm(vm)) {
    if (auto set = transaction.set_location(endpoint->id, make(*endpoint)); !set) return set;
    if (auto set = transaction.set_active(endpoint->id, active && endpoint->port.valid()); !set)
      return set;
  }
  transaction.commit();
  return {};
}

}  // namespace godwit::migration
