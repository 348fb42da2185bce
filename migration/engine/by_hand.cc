// SPDX-License-Identifier: Apache-2.0
#include "migration/engine/by_hand.h"

#include <utility>
#include <vector>

#include "migration/journal/policy_record.h"
#include "migration/policy/exporting.h"
#include "migration/policy/withdraw.h"

namespace godwit::migration {

using dataplane::EndpointRecord;
using dataplane::Location;
using dataplane::LocationKind;

Result<Document> ByHand::export_vm(const std::string& vm) const {
  return migration::export_vm(context_.store, context_.ports, vm, context_.options.host,
                              context_.newest_epoch(vm));
}

Result<RewriteReport> ByHand::rewrite_vm(const std::string& vm) {
  if (moves_.moving(vm)) return fail(vm + " is moving: `migrate cancel` first");
  const EndpointId uplink = context_.uplink();
  if (!uplink.valid())
    return fail("no uplink leads to the other hosts: receive rules have nowhere to go");
  for (const EndpointRecord* endpoint : context_.store.endpoints_of_vm(vm)) {
    if (!endpoint->port.valid())
      return fail(endpoint->profile.name + " is not local here: there is nothing to move out");
  }
  if (context_.journal.keeps_policy()) {
    if (auto written = context_.journal.write(moved_out(context_.store, vm, uplink)); !written)
      return fail("cannot write to the state journal; nothing was changed: " +
                  written.error().message);
  }
  auto taken = take_out(context_.store, vm, LocationKind::kUplink, uplink, false);
  if (!taken) return fail(taken.error());
  RewriteReport report;
  report.uplink_rules_removed = remove_uplink_rules(context_.store, vm).size();
  report.transmit_rules_removed = taken->transmit_rules;
  report.receive_rules_rewritten = taken->receive_rules;
  report.old_ports = taken->old_ports;
  return report;
}

Result<StagedImport::Bindings> ByHand::places_for(
    const Document& document, const std::map<std::string, ImportBinding>& bindings) const {
  StagedImport::Bindings places;
  for (const dataplane::Profile& profile : document.profiles) {
    const auto given = bindings.find(profile.name);
    StagedImport::Binding place;
    if (given != bindings.end()) place = {given->second.socket_path, given->second.port};
    if (!place.port.valid() && place.socket_path.empty())
      place.socket_path = context_.socket_for(profile.name);
    if (!place.port.valid() && place.socket_path.empty()) {
      return fail("no port for " + profile.name +
                  ": give one, or configure migration.vhost_template");
    }
    places[profile.name] = place;
  }
  for (const auto& [name, binding] : bindings) {
    if (!places.contains(name))
      return fail(name + " is bound to a port but is not in the document");
  }
  return places;
}

Result<ImportReport> ByHand::import_vm(const Document& document,
                                       const std::map<std::string, ImportBinding>& bindings) {
  if (moves_.moving(document.vm)) return fail(document.vm + " is moving: `migrate cancel` first");
  const Epoch known = context_.newest_epoch(document.vm);
  if (document.epoch < known) {
    return fail("epoch " + to_string(document.epoch) + " of the document is older than " +
                to_string(known) + " seen here");
  }
  const auto places = places_for(document, bindings);
  if (!places) return fail(places.error());
  auto staged =
      StagedImport::stage(context_.store, context_.ports, context_.uplink(), document, *places);
  if (!staged) return fail(staged.error());
  auto published = (*staged)->publish([](const EndpointRecord& endpoint) {
    return Location{LocationKind::kPort, endpoint.port, {}};
  });
  if (!published) return fail(published.error());
  const StagedImport::Report report = (*staged)->settle();
  const Epoch epoch = next_epoch(document.epoch, context_.options.host);
  JournalBatch batch;
  batch.epochs.emplace_back(document.vm, epoch);
  if (context_.journal.keeps_policy())
    note_import(context_.store, context_.ports, document.vm, report.arrived, batch);
  if (auto written = context_.journal.write(batch); !written) {
    undo_import(document.vm, report.arrived, *places);
    return fail("cannot write to the state journal; nothing was changed: " +
                written.error().message);
  }
  context_.epochs[document.vm] = epoch;
  return ImportReport{report.rules, report.receive_rules, report.uplink_rules, report.new_ports,
                      epoch};
}

void ByHand::undo_import(const std::string& vm, const std::vector<OwnedRule>& arrived,
                         const StagedImport::Bindings& bindings) {
  std::vector<PortId> made;
  for (const EndpointRecord* endpoint : context_.store.endpoints_of_vm(vm)) {
    const auto given = bindings.find(endpoint->profile.name);
    if (given != bindings.end() && !given->second.port.valid()) made.push_back(endpoint->port);
  }
  (void)take_out(context_.store, vm, LocationKind::kUplink, context_.uplink(), false);
  destroy_rules(context_.store, arrived);
  for (const PortId port : made) (void)context_.ports.remove(port);
  context_.store.collect_implicit();
}

}  // namespace godwit::migration
