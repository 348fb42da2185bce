// SPDX-License-Identifier: Apache-2.0
//
// Location: where an endpoint is today. All packets to the endpoint follow it. Moving a VM changes
// its location and nothing else.
#pragma once

#include <cstdint>

#include "base/ids.h"

namespace godwit::dataplane {

enum class LocationKind : uint8_t {
  kNone = 0,  // nowhere: packets to the endpoint are dropped
  kPort,      // a port of this switch
  kUplink,    // another host, behind an uplink
  // Packets are held in order until a later location releases them. If the location also has a
  // port, packets that a peer redirects go to that port, ahead of the parked ones.
  kParked,
  kRedirect,  // packets go to the control thread, which sends them to the peer
};

struct Location {
  LocationKind kind = LocationKind::kNone;
  PortId port;        // for kPort, and for kParked at the destination of a move
  EndpointId uplink;  // for kUplink: the uplink's endpoint
  // For kUplink, at the source of a move. Packets for the endpoint that still arrive from an uplink
  // are redirected to the peer, because they cannot leave by an uplink again.
  bool redirect_late = false;
  // At the destination of a move, not zero. Flooded frames arrive twice, directly and redirected,
  // and the second copy is dropped. Each move of an endpoint uses a new number.
  uint16_t dedupe = 0;
  // For kPort, at the destination of a move. Frames from the fabric that are addressed to this
  // endpoint alone wait, with all frames behind them, because older frames of the same senders went
  // to the source host and are still on their way from there.
  bool fence = false;
  bool operator==(const Location&) const = default;
};

}  // namespace godwit::dataplane
