// SPDX-License-Identifier: Apache-2.0
#include "dataplane/policy/policy_store.h"

#include <algorithm>
#include <deque>
#include <set>
#include <tuple>
#include <unordered_set>
#include <utility>

namespace godwit::dataplane {

// The tables that a ForwardingState points to. Built from the endpoint records, then const.
struct PolicyStore::Places {
  std::vector<EndpointEntry> endpoints;
  std::vector<PortBinding> ports;
  PinnedTable pinned;
  std::vector<EndpointId> flood;
  std::deque<VlanSet> vlans;
};

// The current ForwardingState and what it points to. Replaced as a whole by each publication.
struct PolicyStore::Published {
  std::unique_ptr<const Places> places;
  std::unique_ptr<const ForwardingState> state;
};

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
      return fail("an egress rule delivers to its own port and cannot send to another endpoint");
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
  // Deferred actions refer to this store, so they run before it goes.
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
    // A rule of another VM may name a NIC that this VM does not have.
    const bool named_only = found->implicit && !found->port.valid() && found->inside.empty();
    if (vm_of(it->first) == vm && found->profile.kind == EndpointKind::kVm && !named_only)
      out.push_back(found);
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
    return fail("the switch already holds the maximum of " + std::to_string(kMaxRules) + " rules");
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

// Enters one endpoint into the tables of the next state.
void PolicyStore::place(Places& places, const EndpointRecord& endpoint, uint64_t generation) {
  const auto shown = [](const LiveTable& live) {
    return live.live > 0 ? live.table.get() : nullptr;
  };
  const Profile& profile = endpoint.profile;
  const EndpointTables& tables = tables_[endpoint.id.value];
  EndpointEntry& entry = places.endpoints[endpoint.id.value];
  entry = {profile.kind,
           endpoint.active,
           profile.miss,
           endpoint.location,
           shown(tables.ingress),
           shown(tables.egress),
           shown(tables.transfer),
           nullptr,
           endpoint.sent,
           endpoint.received,
           generation};
  if (published_->places != nullptr && endpoint.id.value < published_->places->endpoints.size()) {
    const EndpointEntry& before = published_->places->endpoints[endpoint.id.value];
    const bool same = before.kind == entry.kind && before.miss == entry.miss &&
                      before.ingress == entry.ingress && before.egress == entry.egress &&
                      before.transfer == entry.transfer;
    if (same) entry.changed = before.changed;
  }
  if (!profile.vlans.empty()) {
    VlanSet& set = places.vlans.emplace_back();
    for (uint16_t vlan : profile.vlans) set.set(vlan & 0xfff);
    entry.vlans = &set;
  }
  if (endpoint.port.valid()) {
    if (places.ports.size() <= endpoint.port.value) places.ports.resize(endpoint.port.value + 1u);
    places.ports[endpoint.port.value].endpoint = endpoint.id;
  }
  for (const MacAddress& mac : profile.macs) {
    if (profile.vlans.empty()) places.pinned[pinned_key(kAnyVlan, mac)] = endpoint.id;
    for (uint16_t vlan : profile.vlans) places.pinned[pinned_key(vlan, mac)] = endpoint.id;
  }
  const LocationKind kind = endpoint.location.kind;
  if (kind == LocationKind::kPort || kind == LocationKind::kParked ||
      kind == LocationKind::kRedirect) {
    places.flood.push_back(endpoint.id);
  }
}

std::unique_ptr<const PolicyStore::Places> PolicyStore::make_places(uint64_t generation) {
  auto places = std::make_unique<Places>();
  places->endpoints.resize(endpoints_.size());
  for (const auto& endpoint : endpoints_) {
    if (endpoint != nullptr) place(*places, *endpoint, generation);
  }
  return places;
}

void PolicyStore::publish(bool endpoints_changed, uint64_t generation) {
  auto next = std::make_unique<Published>();
  next->places = endpoints_changed ? make_places(generation) : std::move(published_->places);
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
