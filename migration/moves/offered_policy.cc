// SPDX-License-Identifier: Apache-2.0
#include "migration/moves/offered_policy.h"

#include <utility>

#include "dataplane/rules/flow_command.h"
#include "migration/policy/exporting.h"
#include "migration/policy/vm_rules.h"

namespace godwit::migration {

using dataplane::RuleChangeKind;

Result<void> OfferedPolicy::take(const Epoch& epoch) {
  auto document = export_vm(context_.store, context_.ports, vm_, context_.options.host, epoch);
  if (!document) return fail(document.error());
  document_ = std::move(*document);
  changed_ = false;
  return {};
}

Result<void> OfferedPolicy::refresh() {
  if (!changed_) return {};
  return take(document_.epoch);
}

void OfferedPolicy::seal() { uplinks_digest_ = uplinks_digest_of(document_.uplink_rules); }

void OfferedPolicy::write(wire::Handover& handover) const {
  handover.set_digest(document_.digest);
  handover.set_uplinks_digest(uplinks_digest_);
}

bool OfferedPolicy::write(wire::Delta& delta, const dataplane::RuleChange& change,
                          bool of_uplink) const {
  const dataplane::EndpointRecord* owner = context_.store.endpoint(change.record->owner);
  if (owner == nullptr) return false;
  const bool created = change.kind == RuleChangeKind::kCreated;
  delta.set_uplink(of_uplink);
  wire::Rule* rule = created ? delta.mutable_created() : delta.mutable_destroyed();
  rule->set_owner(owner->profile.name);
  rule->set_id(change.record->id.value);
  if (created) rule->set_text(dataplane::to_text(change.record->rule));
  return true;
}

}  // namespace godwit::migration
