// SPDX-License-Identifier: Apache-2.0
#include "migration/journal/policy_record.h"

#include "dataplane/rules/flow_command.h"

namespace godwit::migration {

using dataplane::EndpointRecord;
using dataplane::LocationKind;
using dataplane::RuleRecord;

StoredRule stored_rule(const dataplane::PolicyStore& store, const RuleRecord& record) {
  const EndpointRecord* inside = store.endpoint(record.inside);
  return {store.endpoint(record.owner)->profile.name, record.id.value,
          inside == nullptr ? "" : inside->profile.name, dataplane::to_text(record.rule)};
}

StoredEndpoint stored_endpoint(const dataplane::PolicyStore& store, const dataplane::Ports& ports,
                               const EndpointRecord& endpoint) {
  StoredEndpoint out;
  out.profile = endpoint.profile;
  out.implicit = endpoint.implicit;
  if (endpoint.port.valid()) {
    const auto info = ports.info(endpoint.port);
    if (info && info->kind == dataplane::PortKind::kVhost) {
      out.socket = info->detail;
      out.server = info->server;
    } else if (info && info->kind == dataplane::PortKind::kEthdev) {
      out.devargs = info->detail;
    }
  }
  const EndpointRecord* uplink = endpoint.location.kind == LocationKind::kUplink
                                     ? store.endpoint(endpoint.location.uplink)
                                     : nullptr;
  if (uplink != nullptr) out.uplink = uplink->profile.name;
  out.elsewhere =
      endpoint.port.valid() && (uplink != nullptr || endpoint.location.kind == LocationKind::kNone);
  return out;
}

void note_vm(const dataplane::PolicyStore& store, const dataplane::Ports& ports,
             const std::string& vm, JournalBatch& batch) {
  for (const RuleRecord* record : shared_rules_of(store, store.endpoints_of_vm(vm)))
    batch.created.push_back(stored_rule(store, *record));
  for (const EndpointRecord* endpoint : store.endpoints_of_vm(vm)) {
    batch.emptied.push_back(endpoint->profile.name);
    batch.endpoints.push_back(stored_endpoint(store, ports, *endpoint));
    for (const RuleRecord* record : store.rules_inside(endpoint->id))
      batch.created.push_back(stored_rule(store, *record));
  }
}

void note_rules(const dataplane::PolicyStore& store, const std::vector<OwnedRule>& rules,
                JournalBatch& batch) {
  for (const auto& [owner, id] : rules) {
    const EndpointRecord* endpoint = store.find(owner);
    const RuleRecord* rule = endpoint == nullptr ? nullptr : store.rule(endpoint->id, RuleId{id});
    if (rule != nullptr) batch.created.push_back(stored_rule(store, *rule));
  }
}

void note_import(const dataplane::PolicyStore& store, const dataplane::Ports& ports,
                 const std::string& vm, const std::vector<OwnedRule>& arrived,
                 JournalBatch& batch) {
  note_vm(store, ports, vm, batch);
  note_rules(store, arrived, batch);
}

JournalBatch moved_out(const dataplane::PolicyStore& store, const std::string& vm,
                       EndpointId uplink) {
  JournalBatch batch;
  const EndpointRecord* behind = store.endpoint(uplink);
  for (const EndpointRecord* endpoint : store.endpoints_of_vm(vm)) {
    batch.emptied.push_back(endpoint->profile.name);
    StoredEndpoint& stored = batch.endpoints.emplace_back();
    stored.profile = endpoint->profile;
    stored.implicit = endpoint->implicit;
    if (behind != nullptr) stored.uplink = behind->profile.name;
  }
  for (const RuleRecord* record : rules_leaving_with(store, store.endpoints_of_vm(vm)))
    batch.destroyed.emplace_back(store.endpoint(record->owner)->profile.name, record->id.value);
  return batch;
}

namespace {

// Adds the endpoints that the rule names and the store does not have. They are behind the uplink,
// as after an import, or nowhere if `uplink` is invalid.
Result<void> enter_named(dataplane::Transaction& transaction, const dataplane::PolicyStore& store,
                         EndpointId uplink, const dataplane::RuleSpec& spec) {
  for (const std::string& name : store.missing_endpoints({&spec, 1})) {
    dataplane::Profile profile;
    profile.name = name;
    const dataplane::Location away = uplink.valid()
                                         ? dataplane::Location{LocationKind::kUplink, {}, uplink}
                                         : dataplane::Location{};
    if (auto added = transaction.add_endpoint(profile, away, true); !added)
      return fail(added.error());
  }
  return {};
}

Result<void> restore_rule(dataplane::Transaction& transaction, const dataplane::PolicyStore& store,
                          EndpointId uplink, const StoredRule& rule) {
  auto parsed = dataplane::parse_rule(rule.text);
  if (!parsed) return fail(parsed.error());
  const dataplane::RuleSpec spec{rule.owner, RuleId{rule.id}, std::move(*parsed)};
  if (auto entered = enter_named(transaction, store, uplink, spec); !entered) return entered;
  const EndpointRecord* owner = store.find(rule.owner);
  if (owner == nullptr) return fail("its owner is not known");
  auto made = transaction.create_rule(owner->id, spec.rule, spec.id);
  if (!made) return fail(made.error());
  return {};
}

}  // namespace

Result<void> restore_policy(dataplane::PolicyStore& store, EndpointId uplink,
                            const StoredPolicy& policy, std::vector<LostPolicy>* lost, bool lose) {
  dataplane::Transaction transaction(store);
  std::vector<LostPolicy> missed;
  // Uplinks are added first, because the locations of other endpoints name them.
  for (const bool uplinks : {true, false}) {
    for (const StoredEndpoint& endpoint : policy.endpoints) {
      if ((endpoint.profile.kind == dataplane::EndpointKind::kUplink) != uplinks) continue;
      if (uplinks && store.find(endpoint.profile.name) != nullptr) continue;
      dataplane::Location location;
      const EndpointRecord* behind =
          endpoint.uplink.empty() ? nullptr : store.find(endpoint.uplink);
      if (behind != nullptr) location = {LocationKind::kUplink, {}, behind->id};
      if (auto added = transaction.add_endpoint(endpoint.profile, location, endpoint.implicit);
          !added) {
        missed.push_back({false, endpoint.profile.name, 0, {}, added.error().message});
      }
    }
  }
  for (const StoredRule& rule : policy.rules) {
    if (auto made = restore_rule(transaction, store, uplink, rule); !made) {
      missed.push_back({true, rule.owner, rule.id, rule.text, made.error().message});
    }
  }
  if (lost == nullptr && !missed.empty()) {
    const LostPolicy& first = missed.front();
    return fail((first.is_rule ? "rule " + std::to_string(first.id) + " of " : "endpoint ") +
                first.name + ": " + first.why);
  }
  if (missed.empty() || lose) transaction.commit();
  if (lost != nullptr) *lost = std::move(missed);
  return {};
}

Result<void> bind_restored(dataplane::PolicyStore& store, const std::string& endpoint, PortId port,
                           bool held, bool elsewhere) {
  const EndpointRecord* found = store.find(endpoint);
  if (found == nullptr) return fail("no endpoint " + endpoint);
  const dataplane::Location here = held ? dataplane::Location{LocationKind::kParked, {}, {}}
                                        : dataplane::Location{LocationKind::kPort, port, {}};
  dataplane::Transaction transaction(store);
  Result<void> done = transaction.bind_port(found->id, port);
  if (done && !elsewhere) done = transaction.set_location(found->id, here);
  if (done) done = transaction.set_active(found->id, !held);
  if (done) transaction.commit();
  return done;
}

}  // namespace godwit::migration
