// SPDX-License-Identifier: Apache-2.0
#include "migration/policy/exporting.h"

#include <set>

#include "dataplane/rules/flow_command.h"
#include "migration/policy/vm_rules.h"

namespace godwit::migration {

using dataplane::EndpointKind;
using dataplane::EndpointRecord;
using dataplane::PolicyStore;
using dataplane::Profile;
using dataplane::RuleRecord;

namespace {

// VHOST_F_LOG_ALL. QEMU sets it while it copies memory; no driver negotiates it.
constexpr uint64_t kLogAll = uint64_t{1} << 26;

DocumentRule document_rule(const PolicyStore& store, const RuleRecord& record) {
  const dataplane::Count count = store.count(record);
  return {store.endpoint(record.owner)->profile.name, record.id.value,
          dataplane::to_text(record.rule), count.packets, count.bytes};
}

// Adds the names of the uplinks that the rule sends to, comes from or belongs to.
void note_uplinks(const PolicyStore& store, const RuleRecord& record, std::set<std::string>& out) {
  const auto note = [&](EndpointId id) {
    const EndpointRecord* endpoint = store.endpoint(id);
    if (endpoint != nullptr && endpoint->profile.kind == EndpointKind::kUplink)
      out.insert(endpoint->profile.name);
  };
  for (EndpointId output : record.outputs) note(output);
  note(record.owner);
  note(record.origin);
}

}  // namespace

Result<Document> export_vm(const PolicyStore& store, const dataplane::Ports& ports,
                           const std::string& vm, const std::string& host, const Epoch& epoch) {
  const auto endpoints = store.endpoints_of_vm(vm);
  if (endpoints.empty())
    return fail(
        Error{"no endpoint of that VM is known here", 0, 0, vm, "a VM of `show endpoints`"});
  if (endpoints.size() > kMaxDocumentProfiles)
    return fail(vm + " has more endpoints than a document takes");
  Document document;
  document.vm = vm;
  document.host = host;
  document.epoch = epoch;
  std::set<std::string> uplinks;
  for (const RuleRecord* record : shared_rules_of(store, endpoints)) {
    document.rules.push_back(document_rule(store, *record));
    note_uplinks(store, *record, uplinks);
  }
  for (const EndpointRecord* endpoint : endpoints) {
    Profile& profile = document.profiles.emplace_back(endpoint->profile);
    if (const auto info = endpoint->port.valid() ? ports.info(endpoint->port) : fail(""); info) {
      if (info->features != 0) profile.features = info->features & ~kLogAll;
      if (info->server) document.served.insert(profile.name);
    }
    for (const RuleRecord* record : store.rules_inside(endpoint->id)) {
      document.rules.push_back(document_rule(store, *record));
      note_uplinks(store, *record, uplinks);
    }
  }
  for (const RuleRecord* record : uplink_rules_to(store, endpoint_ids(endpoints))) {
    document.uplink_rules.push_back(document_rule(store, *record));
    note_uplinks(store, *record, uplinks);
  }
  document.uplinks.assign(uplinks.begin(), uplinks.end());
  document.digest = digest_of(document);
  return document;
}

}  // namespace godwit::migration
