// SPDX-License-Identifier: Apache-2.0
//
// Announcements of a VM that has just become active here: reverse ARP (RFC 903) for each MAC, gratuitous ARP
// (RFC 5227, request form) for each IPv4, unsolicited neighbour advertisements (RFC 4861 section 7.2.6) for each IPv6, on each of the
// profile's VLANs. The RARP carries a nonce in its padding: when the source sees it on its own uplink, the
// fabric between has learned the new place.
//
// Pure: bytes only. Frames are padded to 60 bytes.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "dataplane/policy_store.h"

namespace godwit::migration {

// When announcements are sent, after activation.
inline constexpr uint64_t kAnnounceAtMs[] = {0, 20, 50, 150, 400, 1000};

[[nodiscard]] std::vector<std::vector<uint8_t>> announcements(const dataplane::Profile& profile, uint64_t nonce);

// The nonce of one of our RARPs, tagged or not; nullopt for any other frame.
[[nodiscard]] std::optional<uint64_t> announced_nonce(std::span<const uint8_t> frame);

}  // namespace godwit::migration
