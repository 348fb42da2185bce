// SPDX-License-Identifier: Apache-2.0
//
// Announcements of a VM that has just become active here: reverse ARP (RFC 903) for each MAC,
// gratuitous ARP (RFC 5227, request form) for each IPv4, unsolicited neighbour advertisements (RFC
// 4861 section 7.2.6) for each IPv6, on each of the profile's VLANs. The RARP carries a nonce in
// its padding. When the source sees it on its own uplink, what the destination's senders sent by
// the old way has come as well.
//
// That a broadcast came through does not show that the fabric has learned: one that believes a new
// place only after a while still sends the VM's frames to the old one. So the source then asks each
// of the VM's addresses, by its own uplink (a probe: RARP to that one address), and the destination
// answers by the same way (an echo: a RARP like the announcement's). A probe takes the path that
// the source's senders are to take, so its echo is the proof.
//
// Pure: bytes only. Frames are padded to 60 bytes.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "dataplane/policy/policy_store.h"

namespace godwit::migration {

// When announcements are sent, after activation.
inline constexpr uint64_t kAnnounceAtMs[] = {0, 20, 50, 150, 400, 1000};

[[nodiscard]] std::vector<std::vector<uint8_t>> announcements(const dataplane::Profile& profile,
                                                              uint64_t nonce);

// One of the VM's addresses on the fabric. VLAN 0: untagged.
struct FabricAddress {
  uint16_t vlan = 0;
  MacAddress mac;
  auto operator<=>(const FabricAddress&) const = default;
};
[[nodiscard]] std::vector<FabricAddress> fabric_addresses(const dataplane::Profile& profile);
// `sender`: an address of the uplink that asks.
[[nodiscard]] std::vector<uint8_t> probe(const FabricAddress& to, const MacAddress& sender,
                                         uint64_t nonce);
[[nodiscard]] std::vector<uint8_t> echo(const FabricAddress& of, uint64_t nonce);

// One of our RARPs, tagged or not.
struct FabricMessage {
  enum class Kind : uint8_t { kInvalid = 0, kAnnouncement, kProbe, kEcho };
  Kind kind = Kind::kInvalid;
  FabricAddress address;  // the VM's
  uint64_t nonce = 0;
};
// nullopt for any other frame.
[[nodiscard]] std::optional<FabricMessage> read_fabric_message(std::span<const uint8_t> frame);

}  // namespace godwit::migration
