// SPDX-License-Identifier: Apache-2.0
#include "migration/journal/memory_journal.h"

#include <algorithm>

namespace godwit::migration {

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
