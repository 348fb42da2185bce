// SPDX-License-Identifier: Apache-2.0
#include "migration/moves/fabric/announcer.h"

#include <algorithm>
#include <iterator>
#include <utility>

namespace godwit::migration {

Announcer::Announcer(MoveContext& context, const Document& document)
    : context_(context), document_(document), timer_(context.network.timer()) {}

void Announcer::send_round(size_t round) {
  const EndpointId uplink = context_.uplink();
  for (const dataplane::Profile& profile : document_.profiles) {
    for (auto& bytes : announcements(profile, nonce_)) {
      dataplane::Frame frame;
      frame.endpoint = uplink;
      frame.bytes = std::move(bytes);
      // A full ring loses one of several announcements; the next round follows.
      (void)context_.gate.emit(frame);
    }
  }
  if (round + 1 == std::size(kAnnounceAtMs)) return;
  timer_->set(kAnnounceAtMs[round + 1] - kAnnounceAtMs[round],
              [this, round] { send_round(round + 1); });
}

void Announcer::on_message(const FabricMessage& message) {
  if (message.kind != FabricMessage::Kind::kProbe || message.nonce != nonce_) return;
  const bool ours = std::ranges::any_of(document_.profiles, [&](const dataplane::Profile& profile) {
    const auto all = fabric_addresses(profile);
    return std::ranges::find(all, message.address) != all.end();
  });
  if (!ours) return;
  dataplane::Frame frame;
  frame.endpoint = context_.uplink();
  frame.bytes = echo(message.address, nonce_);
  (void)context_.gate.emit(frame);
}

}  // namespace godwit::migration
