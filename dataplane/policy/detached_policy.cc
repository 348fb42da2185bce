// SPDX-License-Identifier: Apache-2.0
#include "dataplane/policy/detached_policy.h"

#include <algorithm>
#include <string>
#include <utility>

#include "dataplane/policy/policy_store.h"

namespace godwit::dataplane {

Result<std::unique_ptr<RuleRecord>> DetachedPolicy::make(const RuleSpec& spec) {
  auto owner = store_.resolve(spec.owner);
  if (!owner) return fail(std::move(owner).error());
  auto made = store_.make_record(*owner, spec.id, spec.rule);
  if (!made) return fail(std::move(made).error());
  RuleRecord& record = **made;
  if (record.inside != endpoint_) {
    store_.counters_.free(record.entry->counter);
    return fail("rule " + std::to_string(spec.id.value) + " of " + spec.owner +
                " would not be in the tables of " + store_.endpoint(endpoint_)->profile.name);
  }
  LiveTable& live = tables_.of(spec.rule.attributes.direction);
  if (live.table == nullptr)
    live.table = std::make_unique<RuleTable>(store_.reclaimer_, store_.keys_);
  record.table = live.table.get();
  // Workers reach the entry through the table only, so it may be visible from the start.
  record.entry->visible_from.store(0, std::memory_order_relaxed);
  return made;
}

void DetachedPolicy::keep(std::unique_ptr<RuleRecord> record) {
  ++tables_.of(record->rule.attributes.direction).live;
  record->staged = true;
  store_.name_endpoints(*record, true);
  ++store_.record(record->owner)->pins;
  records_.push_back(std::move(record));
}

Result<void> DetachedPolicy::add(const RuleSpec& spec) {
  auto made = make(spec);
  if (!made) return fail(std::move(made).error());
  if (auto inserted = (*made)->table->insert(*(*made)->entry); !inserted) {
    store_.counters_.free((*made)->entry->counter);
    return inserted;
  }
  keep(std::move(*made));
  return {};
}

Result<void> DetachedPolicy::remove(std::string_view owner, RuleId id) {
  const auto owner_id = store_.resolve(owner);
  const auto found = std::ranges::find_if(records_, [&](const auto& r) {
    return owner_id.has_value() && r->owner == *owner_id && r->id == id;
  });
  if (found == records_.end()) {
    return fail("no rule " + std::to_string(id.value) + " of " + std::string(owner) + " is staged");
  }
  RuleRecord& record = **found;
  record.table->remove(*record.entry);
  --tables_.of(record.rule.attributes.direction).live;
  store_.name_endpoints(record, false);
  if (EndpointRecord* owner_record = store_.record(record.owner)) --owner_record->pins;
  store_.counters_.free(record.entry->counter);
  records_.erase(found);
  return {};
}

Result<void> DetachedPolicy::add_outside(const RuleSpec& spec) {
  auto owner = store_.resolve(spec.owner);
  if (!owner) return fail(std::move(owner).error());
  auto made = store_.make_record(*owner, spec.id, spec.rule);
  if (!made) return fail(std::move(made).error());
  RuleRecord& record = **made;
  record.table = store_.table_for(record).table.get();
  if (auto inserted = record.table->insert(*record.entry); !inserted) {
    store_.counters_.free(record.entry->counter);
    return inserted;
  }
  record.staged = true;
  store_.name_endpoints(record, true);
  ++store_.record(*owner)->pins;
  outside_.push_back(std::move(*made));
  return {};
}

Result<void> DetachedPolicy::remove_outside(std::string_view owner, const Rule& rule) {
  const auto owner_id = store_.resolve(owner);
  const auto found = std::ranges::find_if(outside_, [&](const auto& r) {
    return owner_id.has_value() && r->owner == *owner_id && r->rule == rule;
  });
  if (found == outside_.end()) return fail("no such rule of " + std::string(owner) + " is staged");
  drop_outside(std::move(*found));
  outside_.erase(found);
  return {};
}

void DetachedPolicy::drop_outside(std::unique_ptr<RuleRecord> record) {
  // Workers may be reading the invisible entry in its table, so it is retired, not freed.
  record->table->remove(*record->entry);
  store_.name_endpoints(*record, false);
  if (EndpointRecord* owner = store_.record(record->owner)) --owner->pins;
  store_.retire(std::move(record));
}

// A policy that was attached is empty by now. One that was not has never been in force.
DetachedPolicy::~DetachedPolicy() {
  for (const auto& record : records_) {
    store_.name_endpoints(*record, false);
    if (EndpointRecord* owner = store_.record(record->owner)) --owner->pins;
    store_.counters_.free(record->entry->counter);
  }
  for (auto& record : outside_) drop_outside(std::move(record));
  if (EndpointRecord* found = store_.record(endpoint_)) --found->pins;
}

}  // namespace godwit::dataplane
