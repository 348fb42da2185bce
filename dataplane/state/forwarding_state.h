// SPDX-License-Identifier: Apache-2.0
//
// The forwarding state: everything that a worker needs to decide about a packet, behind one pointer
// (StateCell).
//
// A worker loads the pointer once for each burst, with one acquire load, and uses that state for
// the whole burst. The control thread never changes a published state. It builds a new
// ForwardingState aside, publishes it with one release store, and retires the old one. Two things
// behind the pointer change in place and are made for it: classifiers (rules are visible by
// generation) and counters (one cell for each worker).
//
// A new state reuses the parts that did not change (endpoints, ports, pinned addresses). A change
// of rules alone allocates only this small header.
//
// A decision about a packet stays valid until one of the partitions that it used changes. Each
// partition therefore records the generation of its last change: RuleTable::changed() for its
// rules, EndpointEntry::changed for an endpoint's tables and miss policy. The control thread writes
// both before it publishes that generation. A worker that sees the number too early treats its
// decision as outdated, which costs one lookup.
#pragma once

#include <cstdint>
#include <unordered_map>
#include <vector>

#include "base/ids.h"
#include "base/net.h"
#include "dataplane/state/endpoint_entry.h"
#include "dataplane/state/rule_table.h"
#include "dataplane/state/state_cell.h"

namespace godwit::dataplane {

// The endpoint that owns a port. A staged endpoint owns its port too, although its location still
// leads elsewhere.
struct PortBinding {
  EndpointId endpoint;
};

// Frames for a profile's (VLAN, MAC) go to its endpoint, whatever was learned. The key is made by
// pinned_key().
using PinnedTable = std::unordered_map<uint64_t, EndpointId>;
// The VLAN of an endpoint that receives all VLANs. 802.1Q reserves this value on the wire.
inline constexpr uint16_t kAnyVlan = 0xfff;
[[nodiscard]] constexpr uint64_t pinned_key(uint16_t vlan, const MacAddress& mac) {
  return static_cast<uint64_t>(vlan) << 48 | mac.to_u64();
}

struct ForwardingState {
  uint64_t generation = 0;
  // The generation that last replaced `endpoints`, `ports`, `pinned` and `flood`.
  uint64_t places_changed = 0;
  const std::vector<EndpointEntry>* endpoints = nullptr;  // by EndpointId
  const std::vector<PortBinding>* ports = nullptr;        // by PortId
  const PinnedTable* pinned = nullptr;
  // The receivers of a flooded frame: endpoints that are active or parked here, and the uplinks.
  const std::vector<EndpointId>* flood = nullptr;
  const RuleTable* transfer = nullptr;  // transfer rules that name no origin; never nullptr

  // Returns nullptr for an id outside the table.
  [[nodiscard]] const EndpointEntry* endpoint(EndpointId id) const {
    return id.value < endpoints->size() ? &(*endpoints)[id.value] : nullptr;
  }
  // Returns the endpoint that owns the port, or an invalid id.
  [[nodiscard]] EndpointId owner(PortId port) const {
    return port.value < ports->size() ? (*ports)[port.value].endpoint : EndpointId{};
  }
  // Returns whether workers poll the port: it belongs to an active endpoint.
  [[nodiscard]] bool polled(PortId port) const {
    const EndpointEntry* entry = endpoint(owner(port));
    return entry != nullptr && entry->active;
  }
};

}  // namespace godwit::dataplane
