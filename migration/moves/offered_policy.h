// SPDX-License-Identifier: Apache-2.0
//
// The policy of a VM as its source offers it: exported when the move begins, and exported again
// when rules change before the destination can follow the changes.
//
// Invariants: the handover carries the digests of document(). A rule change after the offer goes to
// the destination as a delta.
//
// Thread safety: the control thread only.
#pragma once

#include <optional>
#include <string>

#include "base/result.h"
#include "dataplane/policy/policy_store.h"
#include "migration/link/codec.h"
#include "migration/moves/move_context.h"
#include "migration/policy/document.h"

namespace godwit::migration {

class OfferedPolicy {
 public:
  OfferedPolicy(const MoveContext& context, std::string vm)
      : context_(context), vm_(std::move(vm)) {}

  // Exports the policy under this epoch. Fails if the VM cannot be exported; then the former
  // document stays.
  Result<void> take(const Epoch& epoch);
  // Exports again under the same epoch if rules have changed since the last export.
  Result<void> refresh();
  // Computes the digest of the uplink rules.
  void seal();
  // Notes that a rule has changed.
  void mark_changed() { changed_ = true; }

  [[nodiscard]] const Document& document() const { return document_; }
  [[nodiscard]] uint64_t rules() const {
    return document_.rules.size() + document_.uplink_rules.size();
  }
  // These fill in the offer, and the digests of the handover.
  void write(wire::Offer& offer) const { to_wire(document_, offer); }
  void write(wire::Handover& handover) const;
  // Fills in one rule change. Returns false if the rule's owner is gone and cannot be named; the
  // digest of the handover will then differ from the destination's.
  bool write(wire::Delta& delta, const dataplane::RuleChange& change, bool of_uplink) const;

 private:
  const MoveContext& context_;
  const std::string vm_;
  Document document_;
  std::string uplinks_digest_;
  bool changed_ = false;  // since document_ was made
};

}  // namespace godwit::migration
