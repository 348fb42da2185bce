// SPDX-License-Identifier: Apache-2.0
//
// Runs the rewriting actions of a rule on a packet.
//
// Thread safety: pure functions; the packet belongs to the caller.
#pragma once

#include <optional>

#include "dataplane/packet/drop.h"
#include "dataplane/packet/packet.h"
#include "dataplane/packet/parse.h"
#include "dataplane/rules/action_program.h"

namespace godwit::dataplane {

// Runs one rewriting op on the packet: bytes, lengths and every checksum that covers them. `parsed`
// is of the packet as it is now; after a success the caller parses again before the next lookup. On
// failure (rewrite_impossible, ttl_exceeded, bad_offload) the packet is unchanged.
std::optional<Drop> apply_rewrite(const Op& op, Packet& packet, const Parsed& parsed);

}  // namespace godwit::dataplane
