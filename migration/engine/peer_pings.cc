// SPDX-License-Identifier: Apache-2.0
#include "migration/engine/peer_pings.h"

#include <utility>

namespace godwit::migration {

namespace {

constexpr uint64_t kPingTimeoutMs = 5000;

}  // namespace

Result<void> PeerPings::begin(const std::string& peer, uint64_t count, PeerPing::Done done) {
  auto address = peers_.address(peer);
  if (!address) return fail(address.error());
  std::erase_if(pings_, [](const auto& ping) { return ping->over(); });
  if (pings_.size() >= kMaxPingsAtOnce) return fail("too many pings are under way");
  auto with_permissions = [in = peers_.may_move_in(peer), out = peers_.may_move_out(peer),
                           done = std::move(done)](Result<PingReport> report) {
    if (report) report->may_move_in = in, report->may_move_out = out;
    done(std::move(report));
  };
  pings_.push_back(std::make_shared<PeerPing>(context_.network, context_.clock,
                                              context_.options.host, peer, *address, count,
                                              std::move(with_permissions)));
  pings_.back()->begin(kPingTimeoutMs);
  return {};
}

void PeerPings::stop() {
  for (const auto& ping : pings_) ping->stop();
  pings_.clear();
}

}  // namespace godwit::migration
