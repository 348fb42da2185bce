// SPDX-License-Identifier: Apache-2.0
#include "migration/policy/staged_import.h"

#include <algorithm>
#include <cstdio>
#include <set>
#include <tuple>

#include "dataplane/rules/flow_command.h"

namespace godwit::migration {

using dataplane::Direction;
using dataplane::EndpointKind;
using dataplane::EndpointRecord;
using dataplane::Location;
using dataplane::LocationKind;
using dataplane::PolicyStore;
using dataplane::Profile;
using dataplane::Rule;
using dataplane::RuleRecord;
using dataplane::RuleSpec;
using dataplane::Transaction;

namespace {

// A list of rules is read no further when the refusal has more reasons than this.
constexpr size_t kMaxImportReasons = 100;

// Returns the endpoint whose table a rule of the document belongs to. Returns an empty name if the
// rule belongs to the shared table.
std::string inside_of(const DocumentRule& owned, const Rule& rule) {
  if (rule.attributes.direction != Direction::kTransfer) return owned.owner;
  for (const dataplane::PatternItem& item : rule.pattern) {
    if (!item.endpoint.empty()) return item.endpoint;
  }
  return {};
}

// Checks that the port offers every virtio feature that the VM's driver negotiated. The driver
// keeps them, so QEMU would fail at the end of its migration, with the VM stopped. A port that is
// not a vhost port offers none and is not checked.
Result<void> check_features(const Profile& profile, const dataplane::PortInfo& port) {
  const uint64_t missing = profile.features & ~port.offered_features;
  if (port.offered_features == 0 || missing == 0) return {};
  char text[64];
  std::snprintf(text, sizeof text, "0x%llx of the negotiated 0x%llx",
                static_cast<unsigned long long>(missing),
                static_cast<unsigned long long>(profile.features));
  return fail(profile.name + " uses virtio features that this switch does not offer: " + text);
}

}  // namespace

void StagedImport::check_endpoints(std::vector<std::string>& reasons) const {
  for (const Profile& profile : document_.profiles) {
    const EndpointRecord* known = store_.find(profile.name);
    if (known == nullptr) continue;
    if (known->profile.kind != EndpointKind::kVm)
      reasons.push_back(profile.name + " is an uplink here");
    if (known->port.valid())
      reasons.push_back(profile.name + " is local here already: port " +
                        std::to_string(known->port.value));
    if (!known->inside.empty())
      reasons.push_back(profile.name + " has rules of its own here already");
  }
  for (const std::string& name : document_.uplinks) {
    const EndpointRecord* known = store_.find(name);
    if (known == nullptr || known->profile.kind != EndpointKind::kUplink)
      reasons.push_back("no uplink " + name + " is here, and rules name it");
  }
}

void StagedImport::check_rules(const std::vector<DocumentRule>& rules, bool of_uplinks,
                               std::vector<RuleSpec>& out,
                               std::vector<std::string>& reasons) const {
  std::set<std::string_view> ours;
  for (const Profile& profile : document_.profiles) ours.insert(profile.name);
  for (const DocumentRule& rule : rules) {
    const std::string what = (of_uplinks ? "uplink rule " : "rule ") + std::to_string(rule.id) +
                             " of " + rule.owner + ": ";
    auto parsed = dataplane::parse_rule(rule.text);
    if (!parsed) {
      reasons.push_back(what + parsed.error().message + " at column " +
                        std::to_string(parsed.error().column) + ": expected " +
                        parsed.error().expected);
    } else if (const std::string inside = inside_of(rule, *parsed);
               !of_uplinks && !ours.contains(inside.empty() ? rule.owner : inside)) {
      reasons.push_back(what + "does not belong to " + document_.vm);
    } else if (auto good = of_uplinks ? check_uplink_rule(rule, *parsed) : Result<void>{}; !good) {
      reasons.push_back(what + good.error().message);
    } else {
      out.push_back({rule.owner, of_uplinks ? RuleId{} : RuleId{rule.id}, std::move(*parsed)});
    }
    if (reasons.size() > kMaxImportReasons) return;
  }
}

Result<std::unique_ptr<StagedImport>> StagedImport::stage(PolicyStore& store,
                                                          dataplane::Ports& ports,
                                                          EndpointId uplink,
                                                          const Document& document,
                                                          const Bindings& bindings) {
  std::unique_ptr<StagedImport> staged(new StagedImport(store, ports, document));
  std::vector<std::string> reasons;
  staged->check_endpoints(reasons);
  staged->check_rules(document.rules, false, staged->specs_, reasons);
  staged->check_rules(document.uplink_rules, true, staged->uplink_specs_, reasons);
  if (uplink == EndpointId{} || store.endpoint(uplink) == nullptr)
    reasons.push_back("no uplink leads to the other hosts");

  if (reasons.empty()) {
    Result<void> done = staged->make_ports(bindings);
    if (done) done = staged->enter_endpoints(uplink);
    if (done) done = staged->build();
    if (done) return staged;
    reasons.push_back(done.error().message +
                      (done.error().token.empty() ? "" : " (" + done.error().token + ")"));
  }
  staged.reset();
  std::string all;
  for (const std::string& reason : reasons) all += (all.empty() ? "" : "\n") + reason;
  return fail(std::move(all));
}

Result<std::unique_ptr<StagedImport>> StagedImport::resume(PolicyStore& store,
                                                           dataplane::Ports& ports,
                                                           const Document& document) {
  std::unique_ptr<StagedImport> resumed(new StagedImport(store, ports, document));
  resumed->published_ = true;
  for (const Profile& profile : document.profiles) {
    const EndpointRecord* endpoint = store.find(profile.name);
    if (endpoint == nullptr || !endpoint->port.valid())
      return fail(profile.name + " has no port here");
    Place& place = resumed->places_[profile.name];
    place.id = endpoint->id;
    place.port = endpoint->port;
  }
  return resumed;
}

Result<void> StagedImport::check_port(const Profile& profile, PortId port) const {
  auto info = ports_.info(port);
  if (!info) return fail(info.error());
  const std::string name = "port " + std::to_string(port.value);
  if (const EndpointRecord* owner = store_.by_port(port))
    return fail(name + " belongs to " + owner->profile.name);
  if (info->mtu != 0 && info->mtu < profile.mtu) {
    return fail(name + " has MTU " + std::to_string(info->mtu) + ", " + profile.name + " needs " +
                std::to_string(profile.mtu));
  }
  return check_features(profile, *info);
}

Result<void> StagedImport::make_ports(const Bindings& bindings) {
  for (const Profile& profile : document_.profiles) {
    const auto binding = bindings.find(profile.name);
    if (binding == bindings.end()) return fail("no port is given for " + profile.name);
    Place& place = places_[profile.name];
    place.port = binding->second.port;
    if (place.port.valid()) {
      if (auto good = check_port(profile, place.port); !good) return good;
      continue;
    }
    auto port =
        ports_.add_vhost({profile.name, binding->second.socket_path,
                          document_.served.contains(profile.name), profile.queues, profile.mtu});
    if (!port) return fail(port.error());
    place.port = *port;
    place.made_port = true;
    if (const auto info = ports_.info(*port)) {
      if (auto good = check_features(profile, *info); !good) return good;
    }
  }
  return {};
}

Result<void> StagedImport::enter_endpoints(EndpointId uplink) {
  Transaction transaction(store_);
  const Location away{LocationKind::kUplink, {}, uplink};
  for (const Profile& profile : document_.profiles) {
    Place& place = places_[profile.name];
    if (const EndpointRecord* known = store_.find(profile.name)) {
      place.id = known->id;
      place.old_profile = known->profile;
      place.old_implicit = known->implicit;
      if (auto set = transaction.set_profile(known->id, profile); !set) return set;
    } else {
      auto added = transaction.add_endpoint(profile, away, true);
      if (!added) return fail(added.error());
      place.id = *added;
      place.made_endpoint = true;
    }
    if (auto bound = transaction.bind_port(place.id, place.port); !bound) return bound;
  }
  for (const auto* specs : {&specs_, &uplink_specs_}) {
    for (const std::string& name : store_.missing_endpoints(*specs)) {
      if (store_.find(name) != nullptr) continue;
      Profile profile;
      profile.name = name;
      if (auto added = transaction.add_endpoint(profile, away, true); !added)
        return fail(added.error());
    }
  }
  transaction.commit();
  return {};
}

Result<void> StagedImport::build() {
  for (auto& [name, place] : places_) {
    auto policy = store_.build(place.id, {});
    if (!policy) return fail(policy.error());
    place.policy = std::move(*policy);
  }
  for (size_t i = 0; i < specs_.size(); ++i) {
    if (auto added = stage_rule(document_.rules[i], specs_[i]); !added) return added;
  }
  std::vector<EndpointId> ids;
  for (const auto& [name, place] : places_) ids.push_back(place.id);
  for (const RuleRecord* record : uplink_rules_to(store_, ids)) {
    const std::string key =
        store_.endpoint(record->owner)->profile.name + " " + dataplane::to_text(record->rule);
    here_.emplace(key, Known{key, record->owner, record->id, record->rule});
  }
  for (size_t i = 0; i < uplink_specs_.size(); ++i) {
    if (auto stands = stand_for(document_.uplink_rules[i], uplink_specs_[i]); !stands)
      return stands;
  }
  (void)uplinks_digest();  // computed now, because the handover needs it in the VM's pause
  return {};
}

Result<void> StagedImport::stage_rule(const DocumentRule& owned, const RuleSpec& spec) {
  const std::string inside = inside_of(owned, spec.rule);
  const auto place = places_.find(inside.empty() ? owned.owner : inside);
  if (place == places_.end())
    return fail("rule " + std::to_string(owned.id) + " does not belong to " + document_.vm);
  return inside.empty() ? place->second.policy->add_outside(spec) : place->second.policy->add(spec);
}

Result<void> StagedImport::check_uplink_rule(const DocumentRule& owned, const Rule& rule) const {
  const std::string inside = inside_of(owned, rule);
  const EndpointRecord* uplink = store_.find(inside);
  if (uplink == nullptr || uplink->profile.kind != EndpointKind::kUplink)
    return fail("it is not in the table of an uplink that is here");
  bool leads_there = false;
  for (const dataplane::Action& action : rule.actions) {
    if (action.endpoint.empty()) continue;
    leads_there = leads_there || std::ranges::find(document_.profiles, action.endpoint,
                                                   &Profile::name) != document_.profiles.end();
  }
  return leads_there ? Result<void>{} : fail("it does not lead to " + document_.vm);
}

bool StagedImport::leads_to_local_vm(const Rule& rule) const {
  return std::ranges::any_of(rule.actions, [&](const dataplane::Action& action) {
    const EndpointRecord* output = store_.find(action.endpoint);
    return output != nullptr && output->profile.kind == EndpointKind::kVm && output->port.valid() &&
           !places_.contains(action.endpoint);
  });
}

Result<void> StagedImport::stand_for(const DocumentRule& owned, const RuleSpec& spec) {
  const std::string key = owned.owner + " " + owned.text;
  if (const auto stands = standing_.find(key); stands != standing_.end()) {
    ++stands->second.times;
    return {};
  }
  const auto known = here_.find(key);
  const RuleRecord* record =
      known == here_.end() ? nullptr : store_.rule(known->second.owner, known->second.id);
  const bool here = record != nullptr && record->rule == known->second.rule;
  const bool staged = !here && !leads_to_local_vm(spec.rule);
  if (staged) {
    if (auto added = places_.begin()->second.policy->add_outside(spec); !added) return added;
  } else if (here) {
    known_.push_back(known->second);
  }
  standing_[key] = {1, staged};
  return {};
}

Result<void> StagedImport::enter_missing(const RuleSpec& spec) {
  const auto missing = store_.missing_endpoints({&spec, 1});
  if (missing.empty()) return {};
  const Location away = store_.endpoint(places_.begin()->second.id)->location;
  Transaction transaction(store_);
  for (const std::string& name : missing) {
    Profile profile;
    profile.name = name;
    if (auto added = transaction.add_endpoint(profile, away, true); !added)
      return fail(added.error());
  }
  transaction.commit();
  return {};
}

StagedImport::~StagedImport() {
  if (published_) return;
  for (auto& [name, place] : places_) place.policy.reset();
  {
    Transaction transaction(store_);
    transaction.override_guards();
    for (auto& [name, place] : places_) {
      if (!place.id.valid() || store_.endpoint(place.id) == nullptr) continue;
      (void)transaction.bind_port(place.id, PortId{});
      if (!place.made_endpoint) (void)transaction.set_profile(place.id, place.old_profile);
    }
    transaction.commit();
  }
  for (auto& [name, place] : places_) {
    if (place.made_port) (void)ports_.remove(place.port);
  }
  store_.collect_implicit();
}

Result<void> StagedImport::add_rule(const DocumentRule& rule) {
  auto parsed = dataplane::parse_rule(rule.text);
  if (!parsed) return fail(parsed.error());
  const std::string inside = inside_of(rule, *parsed);
  if (!places_.contains(inside.empty() ? rule.owner : inside))
    return fail("rule " + std::to_string(rule.id) + " does not belong to " + document_.vm);
  const RuleSpec spec{rule.owner, RuleId{rule.id}, *parsed};
  if (auto entered = enter_missing(spec); !entered) return entered;
  if (auto added = stage_rule(rule, spec); !added) return added;
  document_.rules.push_back(rule);
  specs_.push_back({rule.owner, RuleId{rule.id}, std::move(*parsed)});
  digest_.clear();
  return {};
}

Result<void> StagedImport::remove_rule(const std::string& owner, uint32_t id) {
  const auto found = std::ranges::find_if(
      document_.rules, [&](const DocumentRule& r) { return r.owner == owner && r.id == id; });
  if (found == document_.rules.end())
    return fail("no rule " + std::to_string(id) + " of " + owner + " is staged");
  const auto at = specs_.begin() + (found - document_.rules.begin());
  const std::string inside = inside_of(*found, at->rule);
  dataplane::DetachedPolicy& policy = *places_.at(inside.empty() ? owner : inside).policy;
  auto removed =
      inside.empty() ? policy.remove_outside(owner, at->rule) : policy.remove(owner, RuleId{id});
  if (!removed) return removed;
  document_.rules.erase(found);
  specs_.erase(at);
  digest_.clear();
  return {};
}

Result<void> StagedImport::add_uplink_rule(const DocumentRule& rule) {
  const auto same = [&](const DocumentRule& other) {
    return other.owner == rule.owner && other.id == rule.id;
  };
  const std::string what = "uplink rule " + std::to_string(rule.id) + " of " + rule.owner;
  if (std::ranges::any_of(document_.uplink_rules, same)) return fail(what + " is staged already");
  auto parsed = dataplane::parse_rule(rule.text);
  if (!parsed) return fail(parsed.error());
  if (auto good = check_uplink_rule(rule, *parsed); !good)
    return fail(what + ": " + good.error().message);
  RuleSpec spec{rule.owner, RuleId{}, std::move(*parsed)};
  if (auto entered = enter_missing(spec); !entered) return entered;
  if (auto stands = stand_for(rule, spec); !stands) return stands;
  document_.uplink_rules.push_back(rule);
  uplink_specs_.push_back(std::move(spec));
  uplinks_digest_.clear();
  return {};
}

Result<void> StagedImport::remove_uplink_rule(const std::string& owner, uint32_t id) {
  const auto found = std::ranges::find_if(document_.uplink_rules, [&](const DocumentRule& r) {
    return r.owner == owner && r.id == id;
  });
  if (found == document_.uplink_rules.end())
    return fail("no uplink rule " + std::to_string(id) + " of " + owner + " is staged");
  const auto spec = uplink_specs_.begin() + (found - document_.uplink_rules.begin());
  const auto stands = standing_.find(found->owner + " " + found->text);
  if (--stands->second.times == 0) {
    if (stands->second.staged) {
      if (auto removed = places_.begin()->second.policy->remove_outside(owner, spec->rule);
          !removed)
        return removed;
    } else {
      std::erase_if(known_, [&](const Known& known) { return known.key == stands->first; });
    }
    standing_.erase(stands);
  }
  document_.uplink_rules.erase(found);
  uplink_specs_.erase(spec);
  uplinks_digest_.clear();
  return {};
}

std::string StagedImport::uplinks_digest() const {
  if (uplinks_digest_.empty()) uplinks_digest_ = uplinks_digest_of(document_.uplink_rules);
  return uplinks_digest_;
}

std::string StagedImport::digest() const {
  if (!digest_.empty()) return digest_;
  // Changes were appended. The digest needs the rules in the order of export_vm().
  struct Key {
    std::string inside;
    Direction direction;
    uint32_t group, priority;
    size_t position;
  };
  std::vector<std::pair<Key, const DocumentRule*>> order;
  for (size_t i = 0; i < specs_.size(); ++i) {
    const DocumentRule& rule = document_.rules[i];
    const Rule& parsed = specs_[i].rule;
    order.push_back({{inside_of(rule, parsed), parsed.attributes.direction, parsed.attributes.group,
                      parsed.attributes.priority, order.size()},
                     &rule});
  }
  std::ranges::sort(order, [](const auto& a, const auto& b) {
    const auto key = [](const Key& k) {
      return std::tie(k.inside, k.direction, k.group, k.priority, k.position);
    };
    return key(a.first) < key(b.first);
  });
  Document canonical = document_;
  canonical.rules.clear();
  for (const auto& [key, rule] : order) canonical.rules.push_back(*rule);
  digest_ = digest_of(canonical);
  return digest_;
}

Result<void> StagedImport::publish(const MakeLocation& make) {
  auto transaction = std::make_unique<Transaction>(store_);
  transaction->override_guards();
  for (auto& [name, place] : places_) {
    const EndpointRecord* record = store_.endpoint(place.id);
    if (record->implicit) {
      // An implicit endpoint is removed with the last rule that names it. add_endpoint() makes this
      // one explicit.
      if (auto added = transaction->add_endpoint(record->profile, record->location); !added)
        return fail(added.error());
    }
    if (auto attached = transaction->attach(std::move(place.policy)); !attached) return attached;
    if (auto set = transaction->set_location(place.id, make(*record)); !set) return set;
    if (auto set = transaction->set_active(place.id, true); !set) return set;
  }
  for (const Known& known : known_) {
    // The host's rule may have been removed since stage(). The VM still needs it, so it is created.
    if (store_.rule(known.owner, known.id) != nullptr ||
        !transaction->create_rule(known.owner, known.rule))
      continue;
    made_again_.push_back(store_.endpoint(known.owner)->profile.name);
  }
  transaction->publish();
  publication_ = std::move(transaction);
  published_ = true;
  return {};
}

StagedImport::Report StagedImport::settle() {
  Report report;
  if (publication_ == nullptr) return report;
  const dataplane::CommitInfo info = publication_->finish();
  publication_.reset();
  for (const RuleRecord* record : info.arrived)
    report.arrived.emplace_back(store_.endpoint(record->owner)->profile.name, record->id.value);
  for (size_t i = 0; i < made_again_.size(); ++i)
    report.arrived.emplace_back(made_again_[i], info.created[i].value);
  report.stayed = uplink_rules_of(store_, document_.vm);
  std::erase_if(report.stayed, [arrived = std::set(report.arrived.begin(), report.arrived.end())](
                                   const OwnedRule& rule) { return arrived.contains(rule); });
  for (const auto& [name, place] : places_) report.new_ports[name] = place.port.value;
  report.rules = document_.rules.size();
  report.uplink_rules = static_cast<uint64_t>(
      std::ranges::count_if(standing_, [](const auto& one) { return one.second.staged; }));
  report.receive_rules = receive_rules_of(store_, store_.endpoints_of_vm(document_.vm));
  return report;
}

PortId StagedImport::port(const std::string& endpoint) const {
  const auto found = places_.find(endpoint);
  return found == places_.end() ? PortId{} : found->second.port;
}

bool StagedImport::owns(PortId port) const {
  return std::ranges::any_of(places_, [&](const auto& place) { return place.second.port == port; });
}

}  // namespace godwit::migration
