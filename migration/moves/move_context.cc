// SPDX-License-Identifier: Apache-2.0
#include "migration/moves/move_context.h"

#include <utility>

#include "migration/journal/policy_record.h"

namespace godwit::migration {

using dataplane::EndpointKind;
using dataplane::EndpointRecord;

EndpointId MoveContext::uplink() const {
  if (!options.uplink.empty()) {
    const EndpointRecord* found = store.find(options.uplink);
    return found != nullptr && found->profile.kind == EndpointKind::kUplink ? found->id
                                                                            : EndpointId{};
  }
  EndpointId only;
  for (const EndpointRecord* endpoint : store.endpoints()) {
    if (endpoint->profile.kind != EndpointKind::kUplink) continue;
    if (only.valid()) return EndpointId{};
    only = endpoint->id;
  }
  return only;
}

std::string MoveContext::socket_for(const std::string& endpoint) const {
  std::string path = options.vhost_template;
  const std::string vm(dataplane::vm_of(endpoint));
  const std::string nic = endpoint.size() > vm.size() ? endpoint.substr(vm.size() + 1) : "net0";
  for (const auto& [key, value] :
       {std::pair<std::string, std::string>{"{vm}", vm}, {"{nic}", nic}}) {
    for (size_t at = path.find(key); at != std::string::npos;
         at = path.find(key, at + value.size()))
      path.replace(at, key.size(), value);
  }
  return path;
}

std::string MoveContext::address_of(const std::string& peer) const {
  const auto found = options.peers.find(peer);
  return found == options.peers.end() ? std::string{} : found->second;
}

void MoveContext::keep(JournalBatch batch) {
  if (auto written = journal.write_or_keep(std::move(batch)); !written)
    journal_waits(written.error().message);
}

void MoveContext::settle(SettledMove settled, bool policy, JournalBatch batch) {
  if (settled.epoch.counter > 0) batch.epochs.emplace_back(settled.vm, settled.epoch);
  if (policy && journal.keeps_policy()) note_vm(store, ports, settled.vm, batch);
  batch.settled.push_back(std::move(settled));
  keep(std::move(batch));
}

void MoveContext::absorb(const std::string& move, const std::string& vm, const std::string& what,
                         const Epoch& its, const Epoch& ours) const {
  log("move " + move + " of " + vm + ": " + what + " by epoch " + to_string(its) +
      " is not acted upon: here it is " + to_string(ours));
}

}  // namespace godwit::migration
