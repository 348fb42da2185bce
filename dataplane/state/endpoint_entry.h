// SPDX-License-Identifier: Apache-2.0
//
// EndpointEntry: one endpoint (a VM's interface or an uplink) as the workers see it.
//
// Thread safety: constant once the forwarding state that holds it is published, except for the rule
// tables, which are made to change in place.
#pragma once

#include <bitset>
#include <cstdint>

#include "base/ids.h"
#include "dataplane/state/location.h"
#include "dataplane/state/rule_table.h"

namespace godwit::dataplane {

enum class EndpointKind : uint8_t { kInvalid = 0, kVm, kUplink };

// What happens to a packet that no rule matches: `normal` switching, or a drop.
enum class MissPolicy : uint8_t { kNormal = 0, kDrop = 1 };

using VlanSet = std::bitset<4096>;

struct EndpointEntry {
  EndpointKind kind = EndpointKind::kInvalid;  // kInvalid marks a free place in the table
  // The endpoint's policy is in place and its port may be polled. Packets *to* the endpoint follow
  // its location in either case.
  bool active = false;
  MissPolicy miss = MissPolicy::kNormal;
  Location location;
  // Each table is nullptr if the endpoint has no such rules.
  const RuleTable* ingress = nullptr;
  const RuleTable* egress = nullptr;
  const RuleTable* transfer = nullptr;  // transfer rules that name this endpoint as origin
  const VlanSet* vlans = nullptr;       // the VLANs it may use; nullptr allows all
  CounterId sent;                       // packets accepted from it
  CounterId received;                   // packets delivered to it or sent towards it
  // The generation at which its kind, its miss policy or one of the table pointers last changed.
  uint64_t changed = 0;
};

}  // namespace godwit::dataplane
