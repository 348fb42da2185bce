// SPDX-License-Identifier: Apache-2.0
//
// What pipeline.cc and pipeline_rules.cc share: a packet on its way, and what rules it has hit.
//
// Thread safety: as Pipeline's.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <optional>

#include "base/clock.h"
#include "dataplane/pipeline/pipeline.h"

namespace godwit::dataplane {

inline void bump(std::atomic<uint64_t>& counter, uint64_t by = 1) {
  counter.store(counter.load(std::memory_order_relaxed) + by, std::memory_order_relaxed);
}

// Which tables a lookup consults.
struct Tables {
  const RuleTable* first = nullptr;   // the origin's ingress (or egress) rules
  const RuleTable* second = nullptr;  // transfer rules that name the origin
  const RuleTable* third = nullptr;   // the shared transfer rules
};

// One packet on its way. Whoever takes `packet` (output, park, drop) is the last to touch it.
struct Pipeline::Walk {
  const ForwardingState* state = nullptr;
  Packet* packet = nullptr;
  EndpointId origin;
  const EndpointEntry* origin_entry = nullptr;  // nullptr: not from an endpoint (injected, emitted)
  PortId in;
  uint32_t now_s = 0;
  bool stale = false;   // the frame was rewritten after `parsed` was filled
  bool failed = false;  // ended by what its bytes are, which no rule looked at: says nothing about
                        // others of its flow
  EndpointId probed;    // the receiver that `egress_probe` was made for
  const FlowCache::Probe* egress_probe = nullptr;
  Parsed parsed;

  [[nodiscard]] std::optional<Drop> refresh() {
    if (!stale) return std::nullopt;
    stale = false;
    return parse(*packet, parsed);
  }
};

// The rules that a walk hit, in order, and how it ended.
struct Pipeline::Record {
  const RuleEntry* first = nullptr;  // of the first lookup, if `first_known`
  bool first_known = false;
  bool cacheable = true;  // every lookup was by the key as the packet came
  bool sealed = false;    // by the last rule; what it did is in `end`, too, if that rule is plain
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

// What a burst has between its stages.
struct Pipeline::Burst {
  // Where packets for `endpoint` go, if nothing else has to be looked at: straight out by `port`.
  struct Route {
    EndpointId endpoint;  // none: nobody's yet
    bool straight = false;
    PortId port;
    CounterId received;
  };
  Route route;
  bool uniform = false;  // one decision for all: the first
  std::array<Walk, kBurst> walks;
  FlowPartition partition;
  std::array<FlowCache::Probe, kBurst> probes;
  std::array<FlowDecision, kBurst> decisions;  // fate kInvalid: not in the cache
  std::array<const RuleEntry*, kBurst> first_rules;
  std::array<bool, kBurst> first_known;
  std::array<FlowCache::Probe, kBurst> egress_probes;
  EndpointId egress_of;  // whose `egress_partition` is; none: nobody's yet
  FlowPartition egress_partition;
};

}  // namespace godwit::dataplane
