// SPDX-License-Identifier: Apache-2.0
#include "migration/moves/source_endpoints.h"

#include <utility>

namespace godwit::migration {

using dataplane::EndpointRecord;
using dataplane::Location;
using dataplane::LocationKind;

namespace {

constexpr uint64_t kGiveBackMs = 1;  // between two attempts at a full ring

}  // namespace

SourceEndpoints::SourceEndpoints(MoveContext& context, std::string vm, std::string move,
                                 Handlers handlers)
    : context_(context),
      vm_(std::move(vm)),
      move_(std::move(move)),
      handlers_(std::move(handlers)),
      thaw_timer_(context.network.timer()) {}

void SourceEndpoints::note() {
  for (const EndpointRecord* endpoint : context_.store.endpoints_of_vm(vm_)) {
    Nic nic{endpoint->id, endpoint->port, false, endpoint->location, endpoint->active};
    if (auto info = context_.ports.info(nic.port)) nic.running = info->rings_running;
    nics_.push_back(nic);
  }
}

Result<void> SourceEndpoints::note_after_restart() {
  for (const EndpointRecord* endpoint : context_.store.endpoints_of_vm(vm_)) {
    if (!endpoint->port.valid()) return fail(endpoint->profile.name + " has no port here any more");
    Nic nic{endpoint->id, endpoint->port, false, {LocationKind::kPort, endpoint->port, {}}, true};
    if (auto info = context_.ports.info(nic.port)) nic.running = info->rings_running;
    nics_.push_back(nic);
  }
  return {};
}

bool SourceEndpoints::owns(EndpointId endpoint) const {
  return std::ranges::any_of(nics_, [&](const Nic& nic) { return nic.endpoint == endpoint; });
}

SourceEndpoints::Nic* SourceEndpoints::find(PortId port) {
  const auto nic = std::ranges::find(nics_, port, &Nic::port);
  return nic == nics_.end() ? nullptr : &*nic;
}

bool SourceEndpoints::drained() const {
  return std::ranges::all_of(
      nics_, [&](const Nic& nic) { return context_.gate.parked(nic.endpoint) == 0; });
}

void SourceEndpoints::guard(const std::string& reason) {
  for (const Nic& nic : nics_) context_.store.set_guard(nic.endpoint, reason);
}

void SourceEndpoints::park() {
  const auto parked = relocate(context_.store, vm_, false, [](const EndpointRecord&) {
    return Location{LocationKind::kParked, {}, {}};
  });
  if (!parked) context_.log("move " + move_ + ": cannot park: " + parked.error().message);
}

void SourceEndpoints::park(const Nic& nic) {
  dataplane::Transaction transaction(context_.store);
  (void)transaction.set_location(nic.endpoint, {LocationKind::kParked, {}, {}});
  transaction.commit();
}

void SourceEndpoints::restore(const Nic& nic) {
  dataplane::Transaction transaction(context_.store);
  (void)transaction.set_location(nic.endpoint, nic.old_location);
  transaction.commit();
}

void SourceEndpoints::pass_on() {
  passing_on_ = true;
  (void)relocate(context_.store, vm_, false, [](const EndpointRecord&) {
    return Location{LocationKind::kRedirect, {}, {}};
  });
}

void SourceEndpoints::stop_passing_on() {
  if (std::exchange(passing_on_, false)) park();
}

void SourceEndpoints::thaw(bool frames_kept, std::weak_ptr<void> owner) {
  if (thawing_) return;
  if (!passing_on_ && !frames_kept) return end_thaw();
  thawing_ = true;
  dataplane::Transaction transaction(context_.store);
  for (const Nic& nic : nics_) {
    (void)transaction.set_location(nic.endpoint, {LocationKind::kParked, nic.port, {}});
    (void)transaction.set_active(nic.endpoint, nic.old_active);
  }
  transaction.commit();
  context_.store.after_grace([this, owner = std::move(owner)] {
    const auto keep = owner.lock();
    if (keep == nullptr) return;
    context_.pump();  // no worker redirects any more: these frames are the last
    passing_on_ = false;
    give_back();
  });
}

void SourceEndpoints::give_back() {
  if (handlers_.give_back() && !context_.gate.injecting()) return end_thaw();
  thaw_timer_->set(kGiveBackMs, [this] { give_back(); });
}

void SourceEndpoints::end_thaw() {
  dataplane::Transaction transaction(context_.store);
  for (const Nic& nic : nics_) {
    if (context_.store.endpoint(nic.endpoint) == nullptr) continue;
    (void)transaction.set_location(nic.endpoint, nic.old_location);
    (void)transaction.set_active(nic.endpoint, nic.old_active);
  }
  transaction.commit();
  if (std::exchange(thawing_, false)) handlers_.thawed();
}

Result<TakenOut> SourceEndpoints::rewrite_out() {
  return take_out(context_.store, vm_, LocationKind::kRedirect, EndpointId{}, true);
}

void SourceEndpoints::release(bool late) {
  const EndpointId uplink = context_.uplink();
  (void)relocate(context_.store, vm_, false, [&](const EndpointRecord&) {
    Location location{LocationKind::kUplink, {}, uplink};
    location.redirect_late = late;
    return location;
  });
}

void SourceEndpoints::remove_ports() {
  {
    dataplane::Transaction transaction(context_.store);
    for (const Nic& nic : nics_) (void)transaction.bind_port(nic.endpoint, PortId{});
    transaction.commit();
  }
  for (const Nic& nic : nics_) {
    if (auto removed = context_.ports.remove(nic.port); !removed)
      context_.log("move " + move_ + ": " + removed.error().message);
  }
}

}  // namespace godwit::migration
