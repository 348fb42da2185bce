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

// Runs one rewriting op: changes bytes, lengths and every checksum that covers them. `parsed`
// describes the packet as it is now. After a success the caller parses again before the next
// lookup. Returns the reason to drop the packet, unchanged, on failure: rewrite_impossible,
// ttl_exceeded or bad_offload.
std::optional<Drop> apply_rewrite(const Op& op, Packet& packet, const Parsed& parsed);

}  // namespace godwit::dataplane
