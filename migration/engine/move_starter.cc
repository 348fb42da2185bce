// SPDX-License-Identifier: Apache-2.0
#include "migration/engine/move_starter.h"

#include <algorithm>
#include <cstdio>
#include <memory>
#include <set>
#include <utility>

namespace godwit::migration {

using dataplane::EndpointKind;
using dataplane::EndpointRecord;
using dataplane::LocationKind;

namespace {

constexpr size_t kMaxPulls = 256;

}  // namespace

std::string MoveStarter::new_move_id() const {
  char text[17];
  std::snprintf(text, sizeof(text), "%016llx",
                static_cast<unsigned long long>(context_.network.random()));
  return text;
}

MoveQueue::MayBegin MoveStarter::may_begin() const {
  return [this](const std::string& vm) { return !moves_.returning(vm); };
}

Result<std::string> MoveStarter::start(const std::string& vm, const std::string& peer,
                                       const std::string& id, const std::string& evacuation) {
  auto address = peers_.address_for_move(peer);
  if (!address) return fail(address.error());
  if (auto allowed = peers_.check_move_out(peer); !allowed) return fail(allowed.error());
  if (moves_.undecided(vm)) return fail(vm + " is already moving");
  const bool waits = moves_.returning(vm);
  if (auto good = waits ? Result<void>{} : SourceMove::check(context_, vm); !good)
    return fail(good.error());
  MoveStatus status;
  status.vm = vm;
  status.peer = peer;
  status.id = id;
  status.evacuation = evacuation;
  if (!waits && !queue_.ready(may_begin()) && moves_.preparing() < context_.options.max_preparing) {
    auto move = std::make_shared<SourceMove>(context_, std::move(status), std::move(*address));
    if (auto begun = move->begin(); !begun) return fail(begun.error());
    moves_.add(move);
    return id;
  }
  if (queue_.full()) return fail("too many moves are queued");
  status.role = "source";
  status.state = "queued";
  note_step(status, context_.clock.now_ns(), status.state, {}, {});
  queue_.push({std::move(status), std::move(*address)});
  return id;
}

Result<std::string> MoveStarter::start(const std::string& vm, const std::string& peer) {
  return start(vm, peer, new_move_id(), {});
}

Result<EvacuationReport> MoveStarter::start_all(const std::string& peer) {
  if (auto address = peers_.address_for_move(peer); !address) return fail(address.error());
  if (auto allowed = peers_.check_move_out(peer); !allowed) return fail(allowed.error());
  std::set<std::string> vms;
  for (const EndpointRecord* endpoint : context_.store.endpoints()) {
    const std::string_view vm = dataplane::vm_of(endpoint->profile.name);
    const LocationKind where = endpoint->location.kind;
    const bool local =
        where == LocationKind::kPort || (where == LocationKind::kParked && moves_.returning(vm));
    if (local && endpoint->profile.kind == EndpointKind::kVm) vms.emplace(vm);
  }
  if (vms.empty()) return fail("no VM is local here: there is nothing to move to " + peer);
  EvacuationReport report;
  report.id = new_move_id();
  evacuations_.begin(report.id, peer);
  for (const std::string& vm : vms) {
    auto started = start(vm, peer, new_move_id(), report.id);
    if (started) {
      report.started.emplace_back(vm, *started);
    } else {
      report.refused.emplace_back(vm, started.error().message);
    }
  }
  evacuations_.set_total(report.started.size());
  return report;
}

Result<std::string> MoveStarter::pull(const std::string& vm, const std::string& from) {
  if (auto good = dataplane::check_endpoint_name(vm); !good) return fail(good.error());
  auto address = peers_.address_for_move(from);
  if (!address) return fail(address.error());
  if (!peers_.may_move_in(from)) {
    return fail(Error{"no VM may move from this peer to " + context_.options.host, 0, 0, from,
                      "a host of migration.allow_in"});
  }
  const auto same = [&](const auto& pull) { return pull->status().vm == vm; };
  if (moves_.moving(vm) || std::ranges::any_of(moves_.pulls(), same))
    return fail(vm + " is already moving");
  for (const EndpointRecord* endpoint : context_.store.endpoints_of_vm(vm)) {
    if (endpoint->location.kind == LocationKind::kPort)
      return fail(endpoint->profile.name + " is already local here");
  }
  if (moves_.pulls().size() >= kMaxPulls) return fail("too many pulls are in progress");
  auto request =
      std::make_shared<PullRequest>(context_, vm, from, new_move_id(), std::move(*address));
  moves_.add(request);
  request->begin();
  return request->status().id;
}

void MoveStarter::begin_queued() {
  while (moves_.preparing() < context_.options.max_preparing) {
    auto next = queue_.pop(may_begin());
    if (!next) return;
    auto move = std::make_shared<SourceMove>(context_, next->status, next->address);
    if (auto begun = move->begin(); begun) {
      moves_.add(move);
    } else {
      moves_.give_up(std::move(next->status), begun.error().message);
    }
  }
}

}  // namespace godwit::migration
