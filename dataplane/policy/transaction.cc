// SPDX-License-Identifier: Apache-2.0
//
// Each operation changes the records at once and notes how to undo the change. What workers see
// changes only in publish(): a new rule sits in its table with a visibility of "never" until
// publish() stamps it with the new generation.
#include "dataplane/policy/transaction.h"

#include <algorithm>
#include <cassert>
#include <functional>
#include <string>
#include <utility>

#include "dataplane/policy/policy_store.h"

namespace godwit::dataplane {

struct Transaction::Pending {
  std::vector<std::function<void()>> undo;
  std::vector<RuleRecord*> created;
  std::vector<std::unique_ptr<RuleRecord>> destroyed;
  std::vector<std::unique_ptr<EndpointRecord>> removed;
  struct Detached {
    EndpointId endpoint;
    EndpointTables tables;
  };
  std::vector<Detached> detached;
  std::vector<std::unique_ptr<DetachedPolicy>> attached;
  std::vector<RuleId> created_ids;
  bool endpoints_changed = false;
  uint64_t published = 0;  // the generation that publish() has published; 0 before
};

namespace {

Unexpected unknown_endpoint() { return fail("no such endpoint"); }

}  // namespace

Transaction::Transaction(PolicyStore& store)
    : store_(store), pending_(std::make_unique<Pending>()) {
  assert(!store_.transaction_open_);
  store_.transaction_open_ = true;
}

Transaction::~Transaction() {
  if (pending_ == nullptr) return;
  if (pending_->published != 0) {
    (void)finish();
    return;
  }
  roll_back_to(0);
  store_.transaction_open_ = false;
}

void Transaction::roll_back_to(size_t mark) {
  while (pending_->undo.size() > mark) {
    auto undo = std::move(pending_->undo.back());
    pending_->undo.pop_back();
    undo();
  }
}

Result<EndpointId> Transaction::add_endpoint(const Profile& profile, const Location& location,
                                             bool implicit) {
  if (auto good = check_endpoint_name(profile.name); !good) return fail(std::move(good).error());
  const size_t mark = pending_->undo.size();
  EndpointId id;
  if (const EndpointRecord* known = store_.find(profile.name)) {
    if (!known->implicit || implicit) return fail("endpoint " + profile.name + " exists already");
    id = known->id;
    EndpointRecord* record = store_.record(id);
    record->implicit = false;
    pending_->undo.push_back([record] { record->implicit = true; });
  } else {
    auto made = make_endpoint(profile, implicit);
    if (!made) return made;
    id = *made;
  }
  Result<void> set = set_profile(id, profile);
  if (set) set = set_location(id, location);
  if (set) return id;
  roll_back_to(mark);
  return fail(std::move(set).error());
}

// Adds a record with the profile's name and kind only.
Result<EndpointId> Transaction::make_endpoint(const Profile& profile, bool implicit) {
  if (store_.names_.size() >= kMaxEndpoints) {
    return fail("the switch already has the maximum of " + std::to_string(kMaxEndpoints) +
                " endpoints");
  }
  EndpointId id;
  if (store_.free_endpoints_.empty()) {
    id = EndpointId{static_cast<uint32_t>(store_.endpoints_.size())};
    store_.endpoints_.emplace_back();
    store_.tables_.emplace_back();
  } else {
    id = EndpointId{store_.free_endpoints_.back()};
    store_.free_endpoints_.pop_back();
  }
  auto made = std::make_unique<EndpointRecord>();
  made->id = id;
  made->profile.name = profile.name;
  made->profile.kind = profile.kind;
  made->implicit = implicit;
  made->sent = store_.counters_.allocate();
  made->received = store_.counters_.allocate();
  if (!made->received.valid()) {
    if (made->sent.valid()) store_.counters_.free(made->sent);
    store_.free_endpoints_.push_back(id.value);
    return fail("no counter is free for another endpoint");
  }
  store_.endpoints_[id.value] = std::move(made);
  store_.names_.emplace(profile.name, id);
  pending_->endpoints_changed = true;
  pending_->undo.push_back([this, id] {
    std::unique_ptr<EndpointRecord> gone = std::move(store_.endpoints_[id.value]);
    store_.names_.erase(gone->profile.name);
    store_.counters_.free(gone->sent);
    store_.counters_.free(gone->received);
    store_.tables_[id.value] = {};
    store_.free_endpoints_.push_back(id.value);
  });
  return id;
}

Result<void> Transaction::remove_endpoint(EndpointId id) {
  EndpointRecord* found = store_.record(id);
  if (found == nullptr) return unknown_endpoint();
  const std::string& name = found->profile.name;
  if (!found->rules.empty())
    return fail(name + " still owns " + std::to_string(found->rules.size()) + " rules");
  if (!found->receive.empty() || found->origin_uses > 0 || !found->inside.empty()) {
    return fail(std::to_string(found->receive.size() + found->origin_uses) + " rules still name " +
                name);
  }
  if (found->pins > 0) return fail(name + " takes part in a migration");
  if (found->port.valid())
    return fail(name + " is still bound to port " + std::to_string(found->port.value));
  for (const auto& other : store_.endpoints_) {
    if (other != nullptr && other->id != id && other->location.kind == LocationKind::kUplink &&
        other->location.uplink == id) {
      return fail(other->profile.name + " is located behind " + name);
    }
  }
  store_.names_.erase(name);
  pending_->removed.push_back(std::move(store_.endpoints_[id.value]));
  pending_->endpoints_changed = true;
  pending_->undo.push_back([this, id] {
    store_.endpoints_[id.value] = std::move(pending_->removed.back());
    pending_->removed.pop_back();
    store_.names_.emplace(store_.endpoints_[id.value]->profile.name, id);
  });
  return {};
}

Result<void> Transaction::set_profile(EndpointId id, const Profile& profile) {
  EndpointRecord* found = store_.record(id);
  if (found == nullptr) return unknown_endpoint();
  if (profile.name != found->profile.name)
    return fail("endpoint " + found->profile.name + " cannot be renamed");
  if (profile.kind != found->profile.kind) {
    return fail(profile.name + " is " +
                (found->profile.kind == EndpointKind::kVm ? "a VM's" : "an uplink") +
                " here and cannot become the other");
  }
  for (uint16_t vlan : profile.vlans) {
    if (vlan >= kAnyVlan) return fail("VLAN " + std::to_string(vlan) + " is not in 0..4094");
  }
  for (const MacAddress& mac : profile.macs) {
    if (mac.is_group() || mac.is_zero())
      return fail(to_string(mac) + " is not a unicast MAC address");
    for (const auto& other : store_.endpoints_) {
      if (other == nullptr || other->id == id ||
          std::ranges::find(other->profile.macs, mac) == other->profile.macs.end())
        continue;
      const bool apart =
          !profile.vlans.empty() && !other->profile.vlans.empty() &&
          std::ranges::none_of(profile.vlans, [&](uint16_t v) {
            return std::ranges::find(other->profile.vlans, v) != other->profile.vlans.end();
          });
      if (!apart)
        return fail("MAC " + to_string(mac) + " belongs to " + other->profile.name + " already");
    }
  }
  pending_->undo.push_back([found, old = found->profile] { found->profile = old; });
  found->profile = profile;
  pending_->endpoints_changed = true;
  return {};
}

Result<void> Transaction::set_location(EndpointId id, const Location& location) {
  EndpointRecord* found = store_.record(id);
  if (found == nullptr) return unknown_endpoint();
  if (location.kind == LocationKind::kPort && !location.port.valid())
    return fail("a location on a port needs the port's number");
  if (location.kind == LocationKind::kUplink) {
    const EndpointRecord* uplink = store_.endpoint(location.uplink);
    if (uplink == nullptr || uplink->profile.kind != EndpointKind::kUplink)
      return fail("no such uplink");
    if (found->profile.kind == EndpointKind::kUplink)
      return fail("an uplink cannot be located behind another uplink");
  }
  pending_->undo.push_back([found, old = found->location] { found->location = old; });
  found->location = location;
  pending_->endpoints_changed = true;
  return {};
}

Result<void> Transaction::bind_port(EndpointId id, PortId port) {
  EndpointRecord* found = store_.record(id);
  if (found == nullptr) return unknown_endpoint();
  if (port.valid()) {
    for (const auto& other : store_.endpoints_) {
      if (other != nullptr && other->id != id && other->port == port) {
        return fail("port " + std::to_string(port.value) + " belongs to " + other->profile.name);
      }
    }
  }
  pending_->undo.push_back([found, old = found->port] { found->port = old; });
  found->port = port;
  pending_->endpoints_changed = true;
  return {};
}

Result<void> Transaction::set_active(EndpointId id, bool active) {
  EndpointRecord* found = store_.record(id);
  if (found == nullptr) return unknown_endpoint();
  pending_->undo.push_back([found, old = found->active] { found->active = old; });
  found->active = active;
  pending_->endpoints_changed = true;
  return {};
}

const EndpointRecord* Transaction::guarding(const RuleRecord& record) const {
  const auto guarded = [](const EndpointRecord* endpoint) {
    return endpoint != nullptr && !endpoint->guarded_by.empty();
  };
  if (override_guards_) return nullptr;
  for (const EndpointId touched : {record.owner, record.inside}) {
    if (const EndpointRecord* endpoint = store_.endpoint(touched); guarded(endpoint))
      return endpoint;
  }
  // An uplink's rule moves with its outputs, so it is guarded if all of them are.
  if (record.outputs.empty() || !store_.of_uplink(record)) return nullptr;
  const bool all = std::ranges::all_of(
      record.outputs, [&](EndpointId output) { return guarded(store_.endpoint(output)); });
  return all ? store_.endpoint(record.outputs.front()) : nullptr;
}

Result<RuleId> Transaction::create_rule(EndpointId owner, const Rule& rule, RuleId id) {
  EndpointRecord* owner_record = store_.record(owner);
  if (owner_record == nullptr) return unknown_endpoint();
  auto made = store_.make_record(owner, id, rule);
  if (!made) return fail(std::move(made).error());
  RuleRecord& record = **made;
  const auto refuse = [&](Error error) {
    store_.counters_.free(record.entry->counter);
    return fail(std::move(error));
  };
  if (const EndpointRecord* guard = guarding(record)) return refuse(Error{guard->guarded_by});
  const uint32_t next_id = owner_record->next_rule_id;
  auto picked = store_.pick_id(*owner_record, id);
  if (!picked) return refuse(picked.error());
  record.id = record.entry->id = *picked;
  LiveTable& live = store_.table_for(record);
  record.table = live.table.get();
  if (auto inserted = record.table->insert(*record.entry); !inserted) {
    owner_record->next_rule_id = next_id;
    return refuse(inserted.error());
  }
  if (live.live++ == 0) pending_->endpoints_changed = true;
  store_.link(record);
  store_.rules_.emplace(&record, std::move(*made));
  pending_->created.push_back(&record);
  pending_->created_ids.push_back(record.id);
  pending_->undo.push_back([this, &record, owner_record, next_id] {
    record.table->remove(*record.entry);
    --store_.table_for(record).live;
    store_.unlink(record);
    owner_record->next_rule_id = next_id;
    // Workers may be reading the invisible entry.
    store_.retire(store_.take(record));
  });
  return record.id;
}

Result<void> Transaction::destroy_rule(EndpointId owner, RuleId id) {
  const RuleRecord* found = store_.rule(owner, id);
  if (found == nullptr) {
    const EndpointRecord* owner_record = store_.endpoint(owner);
    return fail("no rule " + std::to_string(id.value) + " of " +
                (owner_record == nullptr ? "that endpoint" : owner_record->profile.name));
  }
  if (const EndpointRecord* guard = guarding(*found)) return fail(guard->guarded_by);
  if (std::ranges::find(pending_->created, found) != pending_->created.end()) {
    return fail("rule " + std::to_string(id.value) + " was created in the same transaction");
  }
  auto taken = store_.take(*found);
  RuleRecord* record = taken.get();
  store_.unlink(*record);
  if (--store_.table_for(*record).live == 0) pending_->endpoints_changed = true;
  pending_->destroyed.push_back(std::move(taken));
  pending_->undo.push_back([this, record] {
    ++store_.table_for(*record).live;
    store_.link(*record);
    store_.rules_.emplace(record, std::move(pending_->destroyed.back()));
    pending_->destroyed.pop_back();
  });
  return {};
}

Result<void> Transaction::detach(EndpointId id) {
  EndpointRecord* found = store_.record(id);
  if (found == nullptr) return unknown_endpoint();
  if (!found->guarded_by.empty() && !override_guards_) return fail(found->guarded_by);
  for (const RuleRecord* created : pending_->created) {
    if (created->inside == id)
      return fail("the same transaction has created rules in the tables of " + found->profile.name);
  }
  pending_->detached.push_back({id, std::move(store_.tables_[id.value])});
  store_.tables_[id.value] = {};
  pending_->endpoints_changed = true;
  pending_->undo.push_back([this, id] {
    store_.tables_[id.value] = std::move(pending_->detached.back().tables);
    pending_->detached.pop_back();
  });
  return {};
}

Result<void> Transaction::attach(std::unique_ptr<DetachedPolicy> policy) {
  const EndpointId id = policy->endpoint();
  EndpointRecord* found = store_.record(id);
  if (found == nullptr) return unknown_endpoint();
  if (!found->inside.empty())
    return fail(found->profile.name + " has rules of its own here already");
  store_.tables_[id.value] = std::move(policy->tables_);
  pending_->attached.push_back(std::move(policy));
  pending_->endpoints_changed = true;
  pending_->undo.push_back([this, id] {
    pending_->attached.back()->tables_ = std::move(store_.tables_[id.value]);
    store_.tables_[id.value] = {};
    pending_->attached.pop_back();
  });
  return {};
}

// Enters the records of attached policies. This happens after the publication, so that workers do
// not wait for it.
void Transaction::enter_attached(CommitInfo& info) {
  for (const auto& policy : pending_->attached) {
    for (auto* list : {&policy->records_, &policy->outside_}) {
      for (auto& owned : *list) {
        RuleRecord* record = owned.get();
        EndpointRecord* owner = store_.record(record->owner);
        const bool keep = record->owner == policy->endpoint() && record->id.valid() &&
                          !owner->rules.contains(record->id.value);
        // pick_id() fails only for an id in use.
        record->id = record->entry->id = *store_.pick_id(*owner, keep ? record->id : RuleId{});
        record->staged = false;
        --owner->pins;
        store_.name_endpoints(*record, false);
        store_.link(*record);
        store_.rules_.emplace(record, std::move(owned));
        if (list == &policy->outside_) info.arrived.push_back(record);
      }
      list->clear();
    }
  }
}

// Removes the records of detached tables. Tables and records are freed once no worker can be
// reading them.
void Transaction::forget_detached() {
  for (auto& [id, tables] : pending_->detached) {
    EndpointRecord* found = store_.record(id);
    if (found == nullptr) continue;
    auto records = std::make_shared<std::vector<std::unique_ptr<RuleRecord>>>();
    const std::vector<const RuleRecord*> inside(found->inside.begin(), found->inside.end());
    for (const RuleRecord* record : inside) {
      records->push_back(store_.take(*record));
      store_.unlink(*records->back());
    }
    store_.reclaimer_.defer(
        [&store = store_, holder = std::make_shared<EndpointTables>(std::move(tables)), records] {
          *holder = {};
          for (const auto& record : *records) store.forget_counts(*record);
          records->clear();
        });
  }
}

// Tells the store's listener about rules created and destroyed one by one.
void Transaction::notify(const CommitInfo& info) const {
  if (!store_.listener_) return;
  for (const RuleRecord* record : pending_->created)
    store_.listener_({RuleChangeKind::kCreated, record->inside, record});
  for (const RuleRecord* record : info.arrived)
    store_.listener_({RuleChangeKind::kCreated, record->inside, record});
  for (const auto& record : pending_->destroyed)
    store_.listener_({RuleChangeKind::kDestroyed, record->inside, record.get()});
}

CommitInfo Transaction::commit() {
  publish();
  return finish();
}

void Transaction::publish() {
  assert(pending_->published == 0);
  const uint64_t generation = pending_->published = store_.generation_ + 1;
  for (RuleRecord* record : pending_->created) {
    record->entry->visible_from.store(generation, std::memory_order_relaxed);
    record->table->note_change(generation);
  }
  for (const auto& record : pending_->destroyed) {
    record->entry->visible_until.store(generation, std::memory_order_relaxed);
    record->table->note_change(generation);
  }
  for (const auto& policy : pending_->attached) {
    for (const auto& record : policy->outside_) {
      record->entry->visible_from.store(generation, std::memory_order_relaxed);
      record->table->note_change(generation);
      ++store_.table_for(*record).live;
    }
  }
  store_.publish(pending_->endpoints_changed, generation);
}

CommitInfo Transaction::finish() {
  assert(pending_->published != 0);
  CommitInfo info{pending_->published, std::move(pending_->created_ids), {}};
  forget_detached();
  enter_attached(info);
  notify(info);
  // A burst that began before the publication may still need the destroyed rules. They leave their
  // tables after one grace period and are freed after another.
  for (auto& record : pending_->destroyed) {
    store_.reclaimer_.defer(
        [&store = store_,
         holder = std::make_shared<std::unique_ptr<RuleRecord>>(std::move(record))] {
          (*holder)->table->remove(*(*holder)->entry);
          store.retire(std::move(*holder));
        });
  }
  for (auto& removed : pending_->removed) {
    // The id is reused only when no worker can learn it any more.
    store_.reclaimer_.defer(
        [&store = store_, gone = std::shared_ptr<EndpointRecord>(std::move(removed))] {
          if (store.gone_listener_) store.gone_listener_(gone->id);
          store.counters_.free(gone->sent);
          store.counters_.free(gone->received);
          store.tables_[gone->id.value] = {};
          store.free_endpoints_.push_back(gone->id.value);
        });
  }
  pending_.reset();
  store_.transaction_open_ = false;
  return info;
}

}  // namespace godwit::dataplane
