// SPDX-License-Identifier: Apache-2.0
//
// The frames by which a move makes the fabric learn a VM's new place, and proves that it has.
//
// Announcements of a VM that has just become active: reverse ARP (RFC 903) for each MAC, gratuitous
// ARP (RFC 5227, request form) for each IPv4 address, unsolicited neighbor advertisements (RFC 4861
// section 7.2.6) for each IPv6 address, on each VLAN of the profile. The RARP carries a nonce in
// its padding. When the source sees it on its own uplink, what the destination's senders sent by
// the old path has arrived as well.
//
// An announcement is a broadcast, so its arrival does not prove that the fabric has learned. A
// fabric that believes a new place only after a while still sends the VM's frames to the old one.
// The source therefore sends a probe to each of the VM's addresses through its own uplink: a RARP
// to that one address. The destination answers with an echo: a RARP like the announcement's. A
// probe takes the path that the source's senders are to take, so its echo is the proof.
//
// Pure functions on bytes. Frames are padded to 60 bytes.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "dataplane/policy/policy_store.h"

namespace godwit::migration {

// The times of the announcements after activation.
inline constexpr uint64_t kAnnounceAtMs[] = {0, 20, 50, 150, 400, 1000};

[[nodiscard]] std::vector<std::vector<uint8_t>> announcements(const dataplane::Profile& profile,
                                                              uint64_t nonce);

// An address of the VM on the fabric. VLAN 0 means untagged.
struct FabricAddress {
  uint16_t vlan = 0;
  MacAddress mac;
  auto operator<=>(const FabricAddress&) const = default;
};
[[nodiscard]] std::vector<FabricAddress> fabric_addresses(const dataplane::Profile& profile);
// `sender` is the MAC address of the uplink that probes.
[[nodiscard]] std::vector<uint8_t> probe(const FabricAddress& to, const MacAddress& sender,
                                         uint64_t nonce);
[[nodiscard]] std::vector<uint8_t> echo(const FabricAddress& of, uint64_t nonce);

// The content of an announcement, a probe or an echo, tagged or not.
struct FabricMessage {
  enum class Kind : uint8_t { kInvalid = 0, kAnnouncement, kProbe, kEcho };
  Kind kind = Kind::kInvalid;
  FabricAddress address;  // the VM's
  uint64_t nonce = 0;
};
// Returns nullopt for any other frame.
[[nodiscard]] std::optional<FabricMessage> read_fabric_message(std::span<const uint8_t> frame);

}  // namespace godwit::migration
