// SPDX-License-Identifier: Apache-2.0
//
// The verdict on a packet for an endpoint, from the endpoint's location and facts about the packet.
//
// A packet comes to its receiver in one of three ways (Arrival): Pipeline::to_endpoint(), inject()
// and drain(). For each location and way the verdict says whether the packet waits, goes to the
// peer of a move, is dropped, or leaves by a port. The receiver's VLANs and egress rules are
// applied afterwards.
//
// The functions are always inlined: they run once a packet, and most facts are constants at the
// call.
//
// Thread safety: pure functions.
#pragma once

#include <cstdint>

#include "base/ids.h"
#include "dataplane/packet/drop.h"
#include "dataplane/state/forwarding_state.h"

namespace godwit::dataplane {

enum class Arrival : uint8_t {
  kInvalid = 0,
  kFresh,     // from a port of this switch, or made by the switch
  kInjected,  // redirected to this switch by the peer of a move
  kParked,    // the oldest packet in the receiver's park
};

enum class Verdict : uint8_t {
  kInvalid = 0,
  kDrop,      // for `reason`
  kWait,      // park it, or leave it parked
  kRedirect,  // hand it to the control thread for the peer of a move
  kSend,      // by `port`, after the egress rules of `exit`
};

// The facts about a packet and its sender that a verdict depends on.
struct PacketFacts {
  EndpointId origin;         // the endpoint that sent it; invalid if injected or made by the switch
  bool from_uplink = false;  // `origin` is an uplink
  bool own_source = false;   // its source address belongs to the receiver
  bool group = false;        // its destination is a group address
  bool flooded = false;      // it was flooded, and so has left by the uplinks (Packet::kFlooded)
  bool parked_ahead = false;  // older packets for the receiver are parked
};

struct Route {
  Verdict verdict;
  Drop reason;  // with kDrop
  bool pairs;   // may arrive twice, by both hosts of a move: the second copy is dropped
  PortId port;  // with kSend
  const EndpointEntry* exit;  // with kSend: the owner of `port`, the receiver or its uplink
};

// Returns whether packets for the endpoint leave this host, or it is an uplink itself.
inline bool leads_out(const EndpointEntry& entry) {
  return entry.kind == EndpointKind::kUplink || entry.location.kind == LocationKind::kUplink;
}

namespace route_detail {

inline constexpr Drop kUnused = Drop::k_no_location;  // verdicts other than kDrop have no reason

[[gnu::always_inline]] inline Route drop(Drop reason, bool pairs = false) {
  return {Verdict::kDrop, reason, pairs, PortId{}, nullptr};
}
[[gnu::always_inline]] inline Route wait() {
  return {Verdict::kWait, kUnused, false, PortId{}, nullptr};
}
[[gnu::always_inline]] inline Route redirect() {
  return {Verdict::kRedirect, kUnused, false, PortId{}, nullptr};
}

// Finds the port of a receiver that is here or behind an uplink.
[[gnu::always_inline]] inline Route send(const EndpointEntry& entry, const ForwardingState& state,
                                         const PacketFacts& facts, bool pairs) {
  const EndpointEntry* exit = &entry;
  if (entry.location.kind == LocationKind::kUplink) {
    exit = state.endpoint(entry.location.uplink);
    if (exit == nullptr) return drop(Drop::k_no_location, pairs);
    if (facts.origin == entry.location.uplink) return drop(Drop::k_uplink_to_uplink, pairs);
  }
  const PortId port = exit->location.port;
  if (!port.valid()) return drop(Drop::k_no_location, pairs);
  return {Verdict::kSend, kUnused, pairs, port, exit};
}

// A fence holds back frames that the fabric brings to the receiver alone: older frames of the same
// senders are still on their way from the host that the VM has left.
inline bool fenced(const Location& location, const PacketFacts& facts) {
  return location.fence && facts.from_uplink && !facts.group;
}

[[gnu::always_inline]] inline Route fresh(EndpointId to, const EndpointEntry& entry,
                                          const ForwardingState& state, const PacketFacts& facts) {
  const Location& location = entry.location;
  if (location.kind == LocationKind::kNone) return drop(Drop::k_no_location);
  if (facts.origin == to) return drop(Drop::k_own_echo);
  if (facts.from_uplink) {
    if (leads_out(entry)) return location.redirect_late ? wait() : drop(Drop::k_uplink_to_uplink);
    // A frame of the receiver's own that the fabric has brought back.
    if (facts.own_source) return drop(Drop::k_own_echo);
  }
  // A packet behind parked ones waits too, so that nothing is overtaken. It is not paired yet: a
  // copy from the peer goes ahead of it, and would be taken for the second one.
  if (location.kind == LocationKind::kParked || location.kind == LocationKind::kRedirect ||
      fenced(location, facts) || facts.parked_ahead)
    return wait();
  return send(entry, state, facts, location.dedupe != 0);
}

// The peer has run the rules up to the location, and its packets are older than the parked ones.
[[gnu::always_inline]] inline Route injected(const EndpointEntry& entry,
                                             const ForwardingState& state,
                                             const PacketFacts& facts) {
  const Location& location = entry.location;
  const bool here = location.kind == LocationKind::kPort || location.kind == LocationKind::kParked;
  if (!here || !location.port.valid()) return drop(Drop::k_redirect_stale);
  return send(entry, state, facts, location.dedupe != 0);
}

[[gnu::always_inline]] inline Route parked(const EndpointEntry& entry, const ForwardingState& state,
                                           const PacketFacts& facts) {
  const Location& location = entry.location;
  switch (location.kind) {
    case LocationKind::kNone: return drop(Drop::k_park_expired);
    case LocationKind::kParked: return wait();
    case LocationKind::kRedirect: return redirect();
    case LocationKind::kPort:
      if (fenced(location, facts)) return wait();
      return send(entry, state, facts, location.dedupe != 0);
    case LocationKind::kUplink: break;
  }
  // A packet from an uplink cannot leave by one, and a flooded one has already left by it. Only the
  // peer knows whether the VM was there to receive the flooded one.
  if (!facts.from_uplink && !facts.flooded) return send(entry, state, facts, false);
  if (location.redirect_late) return redirect();
  return drop(facts.from_uplink ? Drop::k_uplink_to_uplink : Drop::k_redirect_duplicate);
}

}  // namespace route_detail

// Returns the verdict on a packet for endpoint `to`. `entry` is the endpoint's entry in `state`, or
// nullptr if it does not exist.
[[nodiscard, gnu::always_inline]] inline Route route_packet(Arrival arrival, EndpointId to,
                                                            const EndpointEntry* entry,
                                                            const ForwardingState& state,
                                                            const PacketFacts& facts) {
  switch (arrival) {
    case Arrival::kFresh:
      return entry == nullptr ? route_detail::drop(Drop::k_no_location)
                              : route_detail::fresh(to, *entry, state, facts);
    case Arrival::kInjected:
      return entry == nullptr ? route_detail::drop(Drop::k_redirect_stale)
                              : route_detail::injected(*entry, state, facts);
    case Arrival::kParked:
      return entry == nullptr ? route_detail::drop(Drop::k_park_expired)
                              : route_detail::parked(*entry, state, facts);
    case Arrival::kInvalid: break;
  }
  return route_detail::drop(Drop::k_no_location);
}

}  // namespace godwit::dataplane
