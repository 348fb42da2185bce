// SPDX-License-Identifier: Apache-2.0
#include "migration/moves/arrived_policy.h"

#include <algorithm>
#include <iterator>
#include <set>
#include <utility>

namespace godwit::migration {

using dataplane::EndpointRecord;
using dataplane::Location;
using dataplane::LocationKind;

namespace {

// The features are those that the guest has negotiated, and unknown while its front-end is away.
bool same_endpoints(const Document& one, const Document& other) {
  const auto without = [](const Document& document) {
    auto profiles = document.profiles;
    for (dataplane::Profile& profile : profiles) profile.features = 0;
    return profiles;
  };
  return without(one) == without(other);
}

}  // namespace

ArrivedPolicy::ArrivedPolicy(MoveContext& context, std::string vm, std::string move)
    : context_(context), vm_(std::move(vm)), move_(std::move(move)) {}

Result<void> ArrivedPolicy::stage() {
  StagedImport::Bindings bindings;
  for (const dataplane::Profile& profile : document_.profiles) {
    const std::string path = context_.socket_for(profile.name);
    if (path.empty())
      return fail("no vhost_template is configured: there is no port for " + profile.name);
    bindings[profile.name] = {path, PortId{}};
  }
  auto staged =
      StagedImport::stage(context_.store, context_.ports, context_.uplink(), document_, bindings);
  if (!staged) return fail(staged.error());
  staged_ = std::move(*staged);
  return {};
}

// Which of the uplinks' rules were here before the move is not known any more (report_.stayed is
// empty).
Result<void> ArrivedPolicy::resume() {
  auto resumed = StagedImport::resume(context_.store, context_.ports, document_);
  if (!resumed) return fail(resumed.error());
  staged_ = std::move(*resumed);
  published_ = true;
  return {};
}

Result<void> ArrivedPolicy::apply(const MoveDelta& delta) {
  Result<void> done;
  if (delta.uplink) {
    done = delta.created ? staged_->add_uplink_rule(delta.rule)
                         : staged_->remove_uplink_rule(delta.rule.owner, delta.rule.id);
  } else {
    done = delta.created ? staged_->add_rule(delta.rule)
                         : staged_->remove_rule(delta.rule.owner, delta.rule.id);
  }
  return done ? migration::apply(delta, document_) : done;
}

Result<std::vector<MoveDelta>> ArrivedPolicy::changes_to(const Document& document) const {
  if (!same_endpoints(document, document_))
    return fail("the endpoints of " + vm_ + " are not those of the first offer");
  if (document.epoch != document_.epoch) {
    return fail("another offer of the move has epoch " + to_string(document.epoch) + ", expected " +
                to_string(document_.epoch));
  }
  return changes_between(document_, document, move_);
}

Result<void> ArrivedPolicy::publish() {
  window_ = context_.next_window++;
  if (window_ == 0) window_ = context_.next_window++;  // zero turns pairing off
  auto published = staged_->publish([this](const EndpointRecord& endpoint) {
    Location location{LocationKind::kParked, endpoint.port, {}};
    location.dedupe = window_;
    return location;
  });
  if (!published) return published;
  published_ = true;
  return {};
}

const StagedImport::Report& ArrivedPolicy::enter() {
  report_ = staged_->settle();
  return report_;
}

void ArrivedPolicy::let_through(bool paired, bool fenced) {
  if (!published_) return;
  (void)relocate(context_.store, vm_, true, [&](const EndpointRecord& endpoint) {
    if (!endpoint.port.valid()) return endpoint.location;
    Location location{LocationKind::kPort, endpoint.port, {}};
    location.dedupe = paired ? window_ : uint16_t{0};
    location.fence = fenced;
    return location;
  });
}

std::vector<OwnedRule> ArrivedPolicy::withdraw() {
  auto taken = take_out(context_.store, vm_, LocationKind::kUplink, context_.uplink(), false);
  if (!taken) context_.log("move " + move_ + ": cannot give it up: " + taken.error().message);
  // Rules to the VM that were made here since it came go as well.
  std::vector<OwnedRule> going = rules_leaving_with(context_.store, vm_);
  const std::set<OwnedRule> stayed(report_.stayed.begin(), report_.stayed.end());
  std::erase_if(going, [&](const OwnedRule& rule) { return stayed.contains(rule); });
  std::ranges::copy(report_.arrived, std::back_inserter(going));
  destroy_rules(context_.store, going);
  for (const dataplane::Profile& profile : document_.profiles)
    (void)context_.ports.remove(staged_->port(profile.name));
  staged_.reset();
  report_ = {};
  context_.store.collect_implicit();
  published_ = false;
  return going;
}

bool ArrivedPolicy::any_port(bool dataplane::PortInfo::*is) const {
  return staged_ != nullptr &&
         std::ranges::any_of(document_.profiles, [&](const dataplane::Profile& profile) {
           const auto info = context_.ports.info(staged_->port(profile.name));
           return info && (*info).*is;
         });
}

bool ArrivedPolicy::connected() const {
  return any_port(&dataplane::PortInfo::connected) || rings_run();
}

bool ArrivedPolicy::rings_run() const { return any_port(&dataplane::PortInfo::rings_running); }

uint64_t ArrivedPolicy::first_delivery_ns() const {
  uint64_t earliest = 0;
  if (!published_ || staged_ == nullptr) return earliest;
  for (const dataplane::Profile& profile : document_.profiles) {
    const uint64_t first = context_.ports.first_delivery_ns(staged_->port(profile.name));
    if (first != 0 && (earliest == 0 || first < earliest)) earliest = first;
  }
  return earliest;
}

}  // namespace godwit::migration
