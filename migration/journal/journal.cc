// SPDX-License-Identifier: Apache-2.0
#include "migration/journal/journal.h"

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

std::string Journal::key(const std::string& id, MoveRole role) {
  return std::string(name_of(role)) + " " + id;
}

const SettledMove* Journal::settled(const std::string& id, MoveRole role) const {
  const auto found = settled_.find(key(id, role));
  return found == settled_.end() ? nullptr : &found->second;
}

void Journal::remember(const JournalBatch& batch) {
  for (const auto& [vm, epoch] : batch.epochs) epochs_[vm] = epoch;
  for (const SettledMove& move : batch.settled) {
    std::string which = key(move.id, move.role);
    if (settled_.insert_or_assign(which, move).second) settled_order_.push_back(std::move(which));
  }
  while (settled_order_.size() > kMaxSettled) {
    settled_.erase(settled_order_.front());
    settled_order_.pop_front();
  }
}

Result<void> Journal::store_watched(const JournalBatch& batch) {
  if (watcher_) watcher_(batch, false);
  auto stored = store(batch);
  if (stored && watcher_) watcher_(batch, true);
  return stored;
}

Result<void> Journal::flush() {
  while (!kept_.empty()) {
    if (auto stored = store_watched(kept_.front()); !stored) return stored;
    kept_.pop_front();
  }
  return {};
}

Result<void> Journal::write(const JournalBatch& batch) {
  if (auto flushed = flush(); !flushed) return flushed;
  if (auto stored = store_watched(batch); !stored) return stored;
  remember(batch);
  return {};
}

Result<void> Journal::write_or_keep(JournalBatch batch) {
  remember(batch);
  kept_.push_back(std::move(batch));
  return flush();
}

MemoryJournal::MemoryJournal(std::shared_ptr<MemoryDisk> disk) : disk_(std::move(disk)) {
  JournalBatch known;
  known.epochs.assign(disk_->epochs.begin(), disk_->epochs.end());
  known.settled.assign(disk_->settled.begin(), disk_->settled.end());
  remember(known);
}

Result<void> MemoryJournal::store(const JournalBatch& batch) {
  if (gatekeeper) {
    if (auto let = gatekeeper(batch); !let) return let;
  }
  MemoryDisk& disk = *disk_;
  const auto find = [&](const std::string& id, MoveRole role) {
    return std::ranges::find_if(
        disk.moves, [&](const MoveRecord& move) { return move.id == id && move.role == role; });
  };
  for (const auto& [vm, epoch] : batch.epochs) disk.epochs[vm] = epoch;
  for (const MoveRecord& move : batch.moves) {
    auto known = find(move.id, move.role);
    if (known == disk.moves.end()) known = disk.moves.emplace(known);
    auto document = move.document != nullptr ? move.document : known->document;
    *known = move;
    known->document = std::move(document);
  }
  for (const MoveDelta& delta : batch.deltas) {
    const auto known = find(delta.id, MoveRole::kDestination);
    if (known == disk.moves.end() || known->document == nullptr)
      return fail("no document of move " + delta.id + " is known");
    auto document = std::make_shared<Document>(*known->document);
    if (auto applied = apply(delta, *document); !applied) return applied;
    known->document = std::move(document);
  }
  for (const SettledMove& move : batch.settled) {
    if (const auto known = find(move.id, move.role); known != disk.moves.end())
      disk.moves.erase(known);
    disk.settled.push_back(move);
    if (disk.settled.size() > kMaxSettled) disk.settled.pop_front();
  }
  if (keeps_policy_) store_policy(batch);
  return {};
}

void MemoryJournal::store_policy(const JournalBatch& batch) {
  MemoryDisk& disk = *disk_;
  if (batch.forget_policy) {
    disk.rules.clear();
    disk.endpoints.clear();
  }
  for (const std::string& endpoint : batch.emptied) {
    std::erase_if(disk.rules,
                  [&](const auto& rule) { return rule.second.second.inside == endpoint; });
  }
  for (const auto& rule : batch.destroyed) disk.rules.erase(rule);
  for (const std::string& endpoint : batch.gone) disk.endpoints.erase(endpoint);
  for (const StoredEndpoint& endpoint : batch.endpoints)
    disk.endpoints[endpoint.profile.name] = endpoint;
  for (const StoredRule& rule : batch.created)
    disk.rules[{rule.owner, rule.id}] = {disk.rules_made++, rule};
  if (batch.replace_configured) disk.configured = batch.configured;
  disk.written |= batch.forget_policy || !batch.endpoints.empty() || !batch.created.empty() ||
                  batch.replace_configured;
}

Result<StoredPolicy> MemoryJournal::policy() {
  StoredPolicy out;
  for (const auto& [name, endpoint] : disk_->endpoints) out.endpoints.push_back(endpoint);
  std::vector<std::pair<uint64_t, const StoredRule*>> order;
  for (const auto& [name, rule] : disk_->rules) order.emplace_back(rule.first, &rule.second);
  std::ranges::sort(order, {}, &std::pair<uint64_t, const StoredRule*>::first);
  for (const auto& [number, rule] : order) out.rules.push_back(*rule);
  out.configured = disk_->configured;
  out.written = disk_->written;
  return out;
}

}  // namespace godwit::migration
