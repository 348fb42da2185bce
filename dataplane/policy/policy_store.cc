// SPDX-License-Identifier: Apache-2.0
#include "dataplane/policy/policy_store.h"

#include <algorithm>
#include <deque>

namespace godwit::dataplane {

// What the current ForwardingState points to and was built from endpoint records. Replaced whole.
struct PolicyStore::Published {
  struct Places {
    std::vector<EndpointEntry> endpoints;
    std::vector<PortBinding> ports;
    PinnedTable pinned;
    std::vector<EndpointId> flood;
    std::deque<VlanSet> vlans;
  };
  std::unique_ptr<const Places> places;
  std::unique_ptr<const ForwardingState> state;
};

Result<void> check_endpoint_name(std::string_view name) {
  const auto letter = [](char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); };
  const auto other = [](char c) {
    return (c >= '0' && c <= '9') || c == '.' || c == '_' || c == '/' || c == '-';
  };
  bool good = !name.empty() && name.size() <= kMaxEndpointName && letter(name.front());
  for (char c : name) good = good && (letter(c) || other(c));
  if (good) return {};
  Error error;
  error.message = "bad endpoint name";
  error.token = std::string(name.substr(0, kMaxEndpointName + 1));
  error.expected = "a letter, then letters, digits and . _ / -, at most 63 in all";
  return fail(std::move(error));
}

std::string_view vm_of(std::string_view endpoint_name) {
  return endpoint_name.substr(0, endpoint_name.find('/'));
}

namespace {

bool canonical_before(const RuleRecord* a, const RuleRecord* b) {
  const auto key = [](const RuleRecord* r) {
    return std::tuple(r->rule.attributes.direction, r->rule.attributes.group,
                      r->rule.attributes.priority, r->entry->order.sequence);
  };
  return key(a) < key(b);
}

Result<void> check_egress_actions(const RuleRecord& record) {
  if (record.rule.attributes.direction != Direction::kEgress) return {};
  for (EndpointId output : record.outputs) {
    if (output != record.owner) {
      return fail("an egress rule delivers to its own port: it cannot send to another endpoint");
    }
  }
  return {};
}

}  // namespace

PolicyStore::PolicyStore(StateCell& cell, Reclaimer& reclaimer, CounterBank& counters,
                         HashKeySource keys)
    : cell_(cell),
      reclaimer_(reclaimer),
      keys_(keys),
      counters_(counters),
      published_(std::make_unique<Published>()) {
  shared_transfer_.table = std::make_unique<RuleTable>(reclaimer_, keys_);
  publish(true, 1);
}

PolicyStore::~PolicyStore() {
  cell_.publish(nullptr);
  // Deferred work refers to this store.
  reclaimer_.drain();
}

EndpointRecord* PolicyStore::record(EndpointId id) {
  return id.value < endpoints_.size() ? endpoints_[id.value].get() : nullptr;
}
const EndpointRecord* PolicyStore::endpoint(EndpointId id) const {
  return id.value < endpoints_.size() ? endpoints_[id.value].get() : nullptr;
}
const EndpointRecord* PolicyStore::find(std::string_view name) const {
  const auto found = names_.find(name);
  return found == names_.end() ? nullptr : endpoint(found->second);
}
const EndpointRecord* PolicyStore::by_port(PortId port) const {
  return port.valid() ? endpoint(published_->state->owner(port)) : nullptr;
}

std::vector<const EndpointRecord*> PolicyStore::endpoints() const {
  std::vector<const EndpointRecord*> out;
  for (const auto& [name, id] : names_) out.push_back(endpoint(id));
  return out;
}

std::vector<const EndpointRecord*> PolicyStore::endpoints_of_vm(std::string_view vm) const {
  std::vector<const EndpointRecord*> out;
  for (auto it = names_.lower_bound(vm); it != names_.end() && it->first.starts_with(vm); ++it) {
    const EndpointRecord* found = endpoint(it->second);
    if (vm_of(it->first) == vm && found->profile.kind == EndpointKind::kVm) out.push_back(found);
  }
  return out;
}

const RuleRecord* PolicyStore::rule(EndpointId owner, RuleId id) const {
  const EndpointRecord* found = endpoint(owner);
  if (found == nullptr) return nullptr;
  const auto it = found->rules.find(id.value);
  return it == found->rules.end() ? nullptr : it->second;
}

std::vector<const RuleRecord*> PolicyStore::rules_inside(EndpointId id) const {
  const EndpointRecord* found = endpoint(id);
  if (found == nullptr) return {};
  std::vector<const RuleRecord*> out(found->inside.begin(), found->inside.end());
  std::ranges::sort(out, canonical_before);
  return out;
}

std::vector<const RuleRecord*> PolicyStore::receive_rules(EndpointId id) const {
  const EndpointRecord* found = endpoint(id);
  if (found == nullptr) return {};
  std::vector<const RuleRecord*> out;
  for (const RuleRecord* record : found->receive) {
    if (record->inside != id && !record->staged) out.push_back(record);
  }
  std::ranges::sort(out, canonical_before);
  return out;
}

bool PolicyStore::of_uplink(const RuleRecord& record) const {
  const EndpointRecord* inside = endpoint(record.inside);
  return inside != nullptr && inside->profile.kind == EndpointKind::kUplink;
}

std::vector<const RuleRecord*> PolicyStore::uplink_rules_to(
    std::span<const EndpointId> endpoints) const {
  std::unordered_set<const RuleRecord*> seen;
  for (EndpointId id : endpoints) {
    const EndpointRecord* found = endpoint(id);
    if (found == nullptr) continue;
    for (const RuleRecord* record : found->receive) {
      if (record->staged || !of_uplink(*record)) continue;
      const bool only_these = std::ranges::all_of(record->outputs, [&](EndpointId o) {
        return std::ranges::find(endpoints, o) != endpoints.end();
      });
      if (only_these) seen.insert(record);
    }
  }
  std::vector<const RuleRecord*> out(seen.begin(), seen.end());
  std::ranges::sort(out, canonical_before);
  return out;
}

Result<EndpointId> PolicyStore::resolve(std::string_view name) const {
  if (const auto found = names_.find(name); found != names_.end()) return found->second;
  Error error;
  error.message = "no such endpoint";
  error.token = std::string(name.substr(0, kMaxEndpointName + 1));
  error.expected = "the name of an endpoint of this switch (`show endpoints`)";
  return fail(std::move(error));
}

Result<std::unique_ptr<RuleRecord>> PolicyStore::make_record(EndpointId owner, RuleId id,
                                                             const Rule& rule) {
  if (rules_.size() >= kMaxRules)
    return fail("the switch holds its most rules already: " + std::to_string(kMaxRules));
  auto match = compile_match(rule);
  if (!match) return fail(std::move(match).error());
  auto made = std::make_unique<RuleRecord>();
  made->owner = owner;
  made->id = id;
  made->rule = rule;
  made->inside = owner;
  if (rule.attributes.direction == Direction::kTransfer) {
    made->inside = EndpointId{};
    if (!match->origin.empty()) {
      auto origin = resolve(match->origin);
      if (!origin) return fail(std::move(origin).error());
      made->origin = made->inside = *origin;
    }
  }
  auto actions = compile_actions(rule, [&](std::string_view name) -> Result<EndpointId> {
    auto output = resolve(name);
    if (output && std::ranges::find(made->outputs, *output) == made->outputs.end())
      made->outputs.push_back(*output);
    return output;
  });
  if (!actions) return fail(std::move(actions).error());
  if (auto good = check_egress_actions(*made); !good) return fail(std::move(good).error());

  made->entry = std::make_unique<RuleEntry>();
  RuleEntry& entry = *made->entry;
  entry.match = std::move(*match);
  entry.order = {rule.attributes.priority, rule.attributes.direction == Direction::kTransfer,
                 next_sequence_++};
  entry.group = rule.attributes.group;
  entry.actions = std::move(*actions);
  entry.counter = counters_.allocate();
  entry.owner = owner;
  entry.id = id;
  if (!entry.counter.valid()) return fail("no counter is free for another rule");
  return made;
}

Result<RuleId> PolicyStore::pick_id(EndpointRecord& owner, RuleId wanted) {
  if (wanted.valid()) {
    if (owner.rules.contains(wanted.value)) {
      return fail("rule " + std::to_string(wanted.value) + " of " + owner.profile.name +
                  " exists already");
    }
    owner.next_rule_id = std::max(owner.next_rule_id, wanted.value + 1);
    return wanted;
  }
  while (owner.rules.contains(owner.next_rule_id) || owner.next_rule_id == RuleId{}.value)
    ++owner.next_rule_id;
  return RuleId{owner.next_rule_id++};
}

LiveTable& PolicyStore::table_for(const RuleRecord& record) {
  if (!record.inside.valid()) return shared_transfer_;
  LiveTable& live = tables_[record.inside.value].of(record.rule.attributes.direction);
  if (live.table == nullptr) live.table = std::make_unique<RuleTable>(reclaimer_, keys_);
  return live;
}

void PolicyStore::name_endpoints(const RuleRecord& named, bool more) {
  for (EndpointId output : named.outputs) {
    EndpointRecord* endpoint_record = record(output);
    if (endpoint_record == nullptr) continue;
    if (more) {
      endpoint_record->receive.insert(&named);
    } else {
      endpoint_record->receive.erase(&named);
    }
  }
  if (EndpointRecord* origin = record(named.origin)) {
    origin->origin_uses += more ? 1 : -1;
  }
}

void PolicyStore::link(RuleRecord& linked) {
  record(linked.owner)->rules[linked.id.value] = &linked;
  if (EndpointRecord* inside = record(linked.inside)) inside->inside.insert(&linked);
  name_endpoints(linked, true);
}

void PolicyStore::unlink(RuleRecord& unlinked) {
  if (EndpointRecord* owner = record(unlinked.owner)) owner->rules.erase(unlinked.id.value);
  if (EndpointRecord* inside = record(unlinked.inside)) inside->inside.erase(&unlinked);
  name_endpoints(unlinked, false);
}

std::unique_ptr<RuleRecord> PolicyStore::take(const RuleRecord& taken) {
  auto node = rules_.extract(&taken);
  return std::move(node.mapped());
}

void PolicyStore::forget_counts(const RuleRecord& gone) {
  if (EndpointRecord* owner = record(gone.owner))
    owner->removed += counters_.read(gone.entry->counter);
  counters_.free(gone.entry->counter);
}

void PolicyStore::retire(std::unique_ptr<RuleRecord> gone) {
  reclaimer_.defer(
      [this, holder = std::shared_ptr<RuleRecord>(std::move(gone))] { forget_counts(*holder); });
}

void PolicyStore::set_guard(EndpointId id, std::string reason) {
  if (EndpointRecord* found = record(id)) found->guarded_by = std::move(reason);
}

std::vector<std::string> PolicyStore::missing_endpoints(std::span<const RuleSpec> specs) const {
  std::set<std::string> missing;
  const auto look = [&](const std::string& name) {
    if (!name.empty() && !names_.contains(name)) missing.insert(name);
  };
  for (const RuleSpec& spec : specs) {
    look(spec.owner);
    for (const PatternItem& item : spec.rule.pattern) look(item.endpoint);
    for (const Action& action : spec.rule.actions) look(action.endpoint);
  }
  return {missing.begin(), missing.end()};
}

Result<std::unique_ptr<DetachedPolicy>> PolicyStore::build(EndpointId id,
                                                           std::span<const RuleSpec> specs) {
  if (endpoint(id) == nullptr) return fail("no such endpoint");
  std::unique_ptr<DetachedPolicy> policy(new DetachedPolicy(*this, id));
  ++record(id)->pins;
  std::map<RuleTable*, std::vector<const RuleEntry*>> entries;
  for (const RuleSpec& spec : specs) {
    auto made = policy->make(spec);
    if (!made) return fail(std::move(made).error());
    entries[(*made)->table].push_back((*made)->entry.get());
    policy->keep(std::move(*made));
  }
  for (const auto& [table, all] : entries) {
    if (auto inserted = table->insert_all(all); !inserted) return fail(std::move(inserted).error());
  }
  return policy;
}

Result<std::unique_ptr<RuleRecord>> DetachedPolicy::make(const RuleSpec& spec) {
  auto owner = store_.resolve(spec.owner);
  if (!owner) return fail(std::move(owner).error());
  auto made = store_.make_record(*owner, spec.id, spec.rule);
  if (!made) return fail(std::move(made).error());
  RuleRecord& record = **made;
  if (record.inside != endpoint_) {
    store_.counters_.free(record.entry->counter);
    return fail("rule " + std::to_string(spec.id.value) + " of " + spec.owner +
                " does not belong to " + store_.endpoint(endpoint_)->profile.name);
  }
  LiveTable& live = tables_.of(spec.rule.attributes.direction);
  if (live.table == nullptr)
    live.table = std::make_unique<RuleTable>(store_.reclaimer_, store_.keys_);
  record.table = live.table.get();
  // Reachable only through the table, so visible from the start.
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

Result<void> DetachedPolicy::add_outside(const RuleSpec& spec) {
  auto owner = store_.resolve(spec.owner);
  if (!owner) return fail(std::move(owner).error());
  auto made = store_.make_record(*owner, RuleId{}, spec.rule);
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
  // Workers have looked past it in its table.
  record->table->remove(*record->entry);
  store_.name_endpoints(*record, false);
  if (EndpointRecord* owner = store_.record(record->owner)) --owner->pins;
  store_.retire(std::move(record));
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

// Never in force. After an attach nothing is left in here.
DetachedPolicy::~DetachedPolicy() {
  for (const auto& record : records_) {
    store_.name_endpoints(*record, false);
    if (EndpointRecord* owner = store_.record(record->owner)) --owner->pins;
    store_.counters_.free(record->entry->counter);
  }
  for (auto& record : outside_) drop_outside(std::move(record));
  if (EndpointRecord* found = store_.record(endpoint_)) --found->pins;
}

void PolicyStore::collect_implicit() {
  if (transaction_open_) return;
  std::vector<EndpointId> gone;
  for (const auto& [name, id] : names_) {
    const EndpointRecord* found = endpoint(id);
    if (found->implicit && found->receive.empty() && found->origin_uses == 0 && found->pins == 0 &&
        found->rules.empty() && !found->port.valid()) {
      gone.push_back(id);
    }
  }
  if (gone.empty()) return;
  Transaction transaction(*this);
  for (EndpointId id : gone) (void)transaction.remove_endpoint(id);
  transaction.commit();
}

void PolicyStore::publish(bool endpoints_changed, uint64_t generation) {
  auto next = std::make_unique<Published>();
  if (endpoints_changed) {
    auto places = std::make_unique<Published::Places>();
    places->endpoints.resize(endpoints_.size());
    for (const auto& found : endpoints_) {
      if (found == nullptr) continue;
      EndpointEntry& entry = places->endpoints[found->id.value];
      EndpointTables& tables = tables_[found->id.value];
      const auto shown = [](const LiveTable& live) {
        return live.live > 0 ? live.table.get() : nullptr;
      };
      entry = {found->profile.kind,
               found->active,
               found->profile.miss,
               found->location,
               shown(tables.ingress),
               shown(tables.egress),
               shown(tables.transfer),
               nullptr,
               found->sent,
               found->received,
               generation};
      if (published_->places != nullptr && found->id.value < published_->places->endpoints.size()) {
        const EndpointEntry& before = published_->places->endpoints[found->id.value];
        const bool same = before.kind == entry.kind && before.miss == entry.miss &&
                          before.ingress == entry.ingress && before.egress == entry.egress &&
                          before.transfer == entry.transfer;
        if (same) entry.changed = before.changed;
      }
      if (!found->profile.vlans.empty()) {
        VlanSet& set = places->vlans.emplace_back();
        for (uint16_t vlan : found->profile.vlans) set.set(vlan & 0xfff);
        entry.vlans = &set;
      }
      if (found->port.valid()) {
        if (places->ports.size() <= found->port.value) places->ports.resize(found->port.value + 1u);
        places->ports[found->port.value].endpoint = found->id;
      }
      for (const MacAddress& mac : found->profile.macs) {
        if (found->profile.vlans.empty()) places->pinned[pinned_key(kAnyVlan, mac)] = found->id;
        for (uint16_t vlan : found->profile.vlans)
          places->pinned[pinned_key(vlan, mac)] = found->id;
      }
      const LocationKind kind = found->location.kind;
      if (kind == LocationKind::kPort || kind == LocationKind::kParked ||
          kind == LocationKind::kRedirect) {
        places->flood.push_back(found->id);
      }
    }
    next->places = std::move(places);
  } else {
    next->places = std::move(published_->places);
  }
  auto state = std::make_unique<ForwardingState>();
  state->generation = generation;
  state->places_changed =
      endpoints_changed || !published_->state ? generation : published_->state->places_changed;
  state->endpoints = &next->places->endpoints;
  state->ports = &next->places->ports;
  state->pinned = &next->places->pinned;
  state->flood = &next->places->flood;
  state->transfer = shared_transfer_.table.get();
  next->state = std::move(state);
  cell_.publish(next->state.get());
  generation_ = generation;
  std::swap(published_, next);
  reclaimer_.retire(std::move(next));
}

}  // namespace godwit::dataplane
