// SPDX-License-Identifier: Apache-2.0
//
// One packet on its way through the pipeline, and the record of the rules it hit.
//
// Thread safety: belongs to one worker.
#pragma once

#include <array>
#include <cstdint>
#include <optional>

#include "base/ids.h"
#include "dataplane/packet/drop.h"
#include "dataplane/packet/packet.h"
#include "dataplane/packet/parse.h"
#include "dataplane/pipeline/flow_cache.h"
#include "dataplane/state/forwarding_state.h"

namespace godwit::dataplane {

// The stage that takes `packet` (output, park or drop) is the last one that touches it.
struct Walk {
  const ForwardingState* state = nullptr;
  Packet* packet = nullptr;
  EndpointId origin;
  const EndpointEntry* origin_entry = nullptr;  // nullptr if injected or made by the switch
  PortId in;
  uint32_t now_s = 0;
  bool stale = false;  // the frame was rewritten after `parsed` was filled
  // Ended by bytes that no rule looked at, which says nothing about other packets of the flow.
  bool failed = false;
  EndpointId probed;  // the receiver that `egress_probe` was prepared for
  const FlowCache::Probe* egress_probe = nullptr;
  Parsed parsed;

  // Parses the packet again if it is stale. Returns the reason to drop it if it is malformed.
  [[nodiscard]] std::optional<Drop> refresh() {
    if (!stale) return std::nullopt;
    stale = false;
    return parse(*packet, parsed);
  }
};

// The rules that a walk hit, in order, and how the walk ended.
struct WalkRecord {
  const RuleEntry* first = nullptr;  // result of the first lookup, if `first_known`
  bool first_known = false;
  bool cacheable = true;  // every lookup used the key of the packet as it came in
  bool sealed = false;    // the last rule ended the walk; `end` holds its fate if it is plain
  uint32_t hits = 0;
  Fate end = Fate::kInvalid;
  Drop reason = Drop::k_no_rule;
  EndpointId endpoint;
  std::array<const RuleEntry*, FlowDecision::kMaxRules> rules;

  void add(const RuleEntry& rule) {
    if (hits < rules.size()) rules[hits] = &rule;
    ++hits;
  }
};

}  // namespace godwit::dataplane
