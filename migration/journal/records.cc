// SPDX-License-Identifier: Apache-2.0
#include "migration/journal/records.h"

#include <algorithm>
#include <set>
#include <tuple>

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

namespace {

using RuleKey = std::tuple<std::string, uint32_t, std::string>;  // owner, id, text

std::set<RuleKey> keys_of(const std::vector<DocumentRule>& rules) {
  std::set<RuleKey> keys;
  for (const DocumentRule& rule : rules) keys.emplace(rule.owner, rule.id, rule.text);
  return keys;
}

}  // namespace

std::vector<MoveDelta> changes_between(const Document& before, const Document& after,
                                       const std::string& move) {
  std::vector<MoveDelta> changes;
  const auto collect = [&](const std::vector<DocumentRule>& rules,
                           const std::vector<DocumentRule>& others, bool created, bool uplink) {
    const std::set<RuleKey> known = keys_of(others);
    for (const DocumentRule& rule : rules) {
      if (!known.contains({rule.owner, rule.id, rule.text}))
        changes.push_back({move, created, rule, uplink});
    }
  };
  for (const bool created : {false, true}) {
    const Document& from = created ? after : before;
    const Document& other = created ? before : after;
    collect(from.rules, other.rules, created, false);
    collect(from.uplink_rules, other.uplink_rules, created, true);
  }
  return changes;
}

}  // namespace godwit::migration
