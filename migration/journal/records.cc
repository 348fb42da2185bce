// SPDX-License-Identifier: Apache-2.0
#include "migration/journal/records.h"

#include <algorithm>

namespace godwit::migration {

std::string_view name_of(MoveRole role) {
  return role == MoveRole::kSource        ? "source"
         : role == MoveRole::kDestination ? "destination"
                                          : "invalid";
}

bool JournalBatch::empty() const {
  return epochs.empty() && moves.empty() && deltas.empty() && settled.empty() && !forget_policy &&
         emptied.empty() && destroyed.empty() && gone.empty() && endpoints.empty() &&
         created.empty() && !replace_configured;
}

Result<void> apply(const MoveDelta& delta, Document& document) {
  auto& rules = delta.uplink ? document.uplink_rules : document.rules;
  const auto found = std::ranges::find_if(rules, [&](const DocumentRule& rule) {
    return rule.owner == delta.rule.owner && rule.id == delta.rule.id;
  });
  const std::string what = std::string(delta.uplink ? "uplink rule " : "rule ") +
                           std::to_string(delta.rule.id) + " of " + delta.rule.owner;
  if (delta.created) {
    if (found != rules.end()) return fail(what + " is in the document already");
    if (rules.size() >= kMaxDocumentRules) return fail(what + " is more than a document takes");
    rules.push_back(delta.rule);
  } else {
    if (found == rules.end()) return fail(what + " is not in the document");
    rules.erase(found);
  }
  return {};
}

}  // namespace godwit::migration
