// SPDX-License-Identifier: Apache-2.0
#include "migration/policy_record.h"

#include "dataplane/flow_command.h"

namespace godwit::migration {

using dataplane::EndpointRecord;
using dataplane::LocationKind;
using dataplane::RuleRecord;

StoredRule stored_rule(const dataplane::PolicyStore& store, const RuleRecord& record) {
  const EndpointRecord* inside = store.endpoint(record.inside);
  return {store.endpoint(record.owner)->profile.name, record.id.value, inside == nullptr ? "" : inside->profile.name,
          dataplane::to_text(record.rule)};
}

StoredEndpoint stored_endpoint(const dataplane::PolicyStore& store, const dataplane::Ports& ports, const EndpointRecord& endpoint) {
  StoredEndpoint out;
  out.profile = endpoint.profile;
  out.implicit = endpoint.implicit;
  if (endpoint.port.valid()) {
    const auto info = ports.info(endpoint.port);
    if (info && info->kind == dataplane::PortKind::kVhost) out.socket = info->detail;
  }
  const EndpointRecord* uplink = endpoint.location.kind == LocationKind::kUplink ? store.endpoint(endpoint.location.uplink) : nullptr;
  if (uplink != nullptr) out.uplink = uplink->profile.name;
  return out;
}

void note_vm(const dataplane::PolicyStore& store, const dataplane::Ports& ports, const std::string& vm, JournalBatch& batch) {
  for (const EndpointRecord* endpoint : store.endpoints_of_vm(vm)) {
    batch.emptied.push_back(endpoint->profile.name);
    batch.endpoints.push_back(stored_endpoint(store, ports, *endpoint));
    for (const RuleRecord* record : store.rules_inside(endpoint->id)) batch.created.push_back(stored_rule(store, *record));
  }
}

namespace {

// What the rule names and is not in the store yet is behind the uplink, as with an import.
Result<void> enter_named(dataplane::Transaction& transaction, const dataplane::PolicyStore& store, EndpointId uplink,
                         const dataplane::RuleSpec& spec) {
  for (const std::string& name : store.missing_endpoints({&spec, 1})) {
    dataplane::Profile profile;
    profile.name = name;
    const dataplane::Location away = uplink.valid() ? dataplane::Location{LocationKind::kUplink, {}, uplink} : dataplane::Location{};
    if (auto added = transaction.add_endpoint(profile, away, true); !added) return fail(added.error());
  }
  return {};
}

Result<void> restore_rule(dataplane::Transaction& transaction, const dataplane::PolicyStore& store, EndpointId uplink, const StoredRule& rule) {
  auto parsed = dataplane::parse_rule(rule.text);
  if (!parsed) return fail(parsed.error());
  const dataplane::RuleSpec spec{rule.owner, RuleId{rule.id}, std::move(*parsed)};
  if (auto entered = enter_named(transaction, store, uplink, spec); !entered) return entered;
  auto made = transaction.create_rule(store.find(rule.owner)->id, spec.rule, spec.id);
  if (!made) return fail(made.error());
  return {};
}

}  // namespace

Result<void> restore_policy(dataplane::PolicyStore& store, EndpointId uplink, const StoredPolicy& policy) {
  dataplane::Transaction transaction(store);
  for (const bool uplinks : {true, false}) {
    for (const StoredEndpoint& endpoint : policy.endpoints) {
      if ((endpoint.profile.kind == dataplane::EndpointKind::kUplink) != uplinks) continue;
      if (uplinks && store.find(endpoint.profile.name) != nullptr) continue;
      dataplane::Location location;
      const EndpointRecord* behind = endpoint.uplink.empty() ? nullptr : store.find(endpoint.uplink);
      if (behind != nullptr) location = {LocationKind::kUplink, {}, behind->id};
      if (auto added = transaction.add_endpoint(endpoint.profile, location, endpoint.implicit); !added) {
        return fail("endpoint " + endpoint.profile.name + ": " + added.error().message);
      }
    }
  }
  for (const StoredRule& rule : policy.rules) {
    if (auto made = restore_rule(transaction, store, uplink, rule); !made) {
      return fail("rule " + std::to_string(rule.id) + " of " + rule.owner + ": " + made.error().message);
    }
  }
  transaction.commit();
  return {};
}

Result<void> bind_restored(dataplane::PolicyStore& store, const std::string& endpoint, PortId port, bool held) {
  const EndpointRecord* found = store.find(endpoint);
  if (found == nullptr) return fail("no endpoint " + endpoint);
  const dataplane::Location here = held ? dataplane::Location{LocationKind::kParked, {}, {}} : dataplane::Location{LocationKind::kPort, port, {}};
  dataplane::Transaction transaction(store);
  Result<void> done = transaction.bind_port(found->id, port);
  if (done) done = transaction.set_location(found->id, here);
  if (done) done = transaction.set_active(found->id, !held);
  if (done) transaction.commit();
  return done;
}

}  // namespace godwit::migration
