// SPDX-License-Identifier: Apache-2.0
#include "migration/engine/peer_directory.h"

#include <algorithm>
#include <iterator>
#include <utility>

#include "migration/link/peer_address.h"

namespace godwit::migration {

bool PeerDirectory::may_move_in(const std::string& peer) const {
  const MigrationOptions& options = context_.options;
  return options.peers.contains(peer) && (!options.allow_in || options.allow_in->contains(peer));
}

bool PeerDirectory::may_pull(const std::string& peer) const {
  return context_.options.allow_pull && context_.options.allow_pull->contains(peer) &&
         may_move_out(peer);
}

bool PeerDirectory::may_move_out(const std::string& peer) const {
  const MigrationOptions& options = context_.options;
  return options.peers.contains(peer) && (!options.allow_out || options.allow_out->contains(peer));
}

Result<void> PeerDirectory::check_move_out(const std::string& peer) const {
  if (may_move_out(peer)) return {};
  return fail(Error{"no VM may move to this peer from " + context_.options.host, 0, 0, peer,
                    "a host of migration.allow_out"});
}

Result<std::string> PeerDirectory::address(const std::string& peer) const {
  const auto found = context_.options.peers.find(peer);
  if (found == context_.options.peers.end())
    return fail(Error{"no such peer", 0, 0, peer, "a peer of `peer list`"});
  auto address = parse_address(found->second);
  if (!address) return fail(address.error());
  if (!address->address().is_loopback() && !context_.options.plaintext_anywhere &&
      !context_.options.encrypted) {
    return fail("peer " + peer + " at " + found->second +
                " is not on loopback: plaintext beyond it needs `plaintext: anywhere`");
  }
  return found->second;
}

Result<std::string> PeerDirectory::address_for_move(const std::string& peer) const {
  auto found = address(peer);
  if (found && !context_.uplink().valid())
    return fail("no uplink leads to the other hosts: receive rules have nowhere to go");
  return found;
}

std::vector<PeerStatus> PeerDirectory::statuses(const std::vector<MoveStatus>& moves) const {
  std::vector<PeerStatus> all;
  const std::vector<LinkInfo> links = context_.network.links();
  for (const auto& [host, address] : context_.options.peers) {
    PeerStatus status;
    status.host = host;
    status.address = address;
    status.may_move_in = may_move_in(host);
    status.may_move_out = may_move_out(host);
    std::ranges::copy_if(links, std::back_inserter(status.sessions),
                         [&](const LinkInfo& link) { return link.host == host; });
    for (const MoveStatus& move : moves) {
      if (move.peer != host) continue;
      status.connected = move.state != "done" && move.state != "aborted" &&
                         move.state != "connecting" && move.state != "in-doubt";
      status.error = move.error;
    }
    status.connected = status.connected || !status.sessions.empty();
    all.push_back(std::move(status));
  }
  return all;
}

}  // namespace godwit::migration
