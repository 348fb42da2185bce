// SPDX-License-Identifier: Apache-2.0
#include "migration/moves/fabric/fabric_proof.h"

#include <algorithm>
#include <utility>

namespace godwit::migration {

using dataplane::EndpointRecord;

namespace {

constexpr uint64_t kProbeAgainMs = 5;  // after the first rounds, which follow sooner

}  // namespace

FabricProof::FabricProof(MoveContext& context, const Document& document, Handlers handlers)
    : context_(context),
      document_(document),
      handlers_(std::move(handlers)),
      timer_(context.network.timer()) {}

void FabricProof::on_message(const FabricMessage& message) {
  if (message.nonce != nonce_) return;
  if (message.kind == FabricMessage::Kind::kAnnouncement && !announced_) {
    heard_.insert(message.address);
    announced_ = all_heard();
    if (announced_) return begin_probing();
  }
  if (message.kind == FabricMessage::Kind::kEcho && unproven_.erase(message.address) != 0 &&
      unproven_.empty()) {
    timer_->cancel();
    handlers_.on_proof();
  }
}

// The fabric learns each address on each VLAN by itself.
bool FabricProof::all_heard() const {
  return std::ranges::all_of(document_.profiles, [&](const dataplane::Profile& profile) {
    return std::ranges::all_of(fabric_addresses(profile), [&](const FabricAddress& address) {
      return heard_.contains(address);
    });
  });
}

void FabricProof::begin_probing() {
  if (!handlers_.wanted() || !announced_) return;
  for (const dataplane::Profile& profile : document_.profiles) {
    for (const FabricAddress& address : fabric_addresses(profile)) unproven_.insert(address);
  }
  probe_again(0);
}

void FabricProof::probe_again(size_t round) {
  if (!handlers_.wanted()) return;
  dataplane::Frame frame;
  frame.endpoint = context_.uplink();
  MacAddress sender{{0x02, 'g', 'd', 'w', 'i', 't'}};
  const EndpointRecord* uplink = context_.store.endpoint(frame.endpoint);
  if (auto port = context_.ports.info(uplink == nullptr ? PortId{} : uplink->port);
      port && !port->mac.is_zero())
    sender = port->mac;
  for (const FabricAddress& address : unproven_) {
    frame.bytes = probe(address, sender, nonce_);
    if (!context_.gate.emit(frame)) break;
  }
  const uint64_t after_ms =
      std::min<uint64_t>(uint64_t{1} << std::min<size_t>(round, 3), kProbeAgainMs);
  timer_->set(after_ms, [this, round] { probe_again(round + 1); });
}

}  // namespace godwit::migration
