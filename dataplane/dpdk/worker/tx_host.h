// SPDX-License-Identifier: Apache-2.0
//
// The services that a worker provides to its transmit stage.
//
// Thread safety: called on the worker only.
#pragma once

#include <span>

#include "base/ids.h"
#include "dataplane/packet/packet.h"
#include "dataplane/state/forwarding_state.h"

namespace godwit::dataplane {

class TxHost {
 public:
  virtual ~TxHost() = default;
  // Frees the packets' buffers.
  virtual void free(std::span<Packet* const> packets) = 0;
  // Sends a held frame to the current location of its endpoint, which has moved. Takes the packet
  // over in any case.
  virtual void reroute(const ForwardingState& state, EndpointId endpoint, Packet* packet) = 0;
};

}  // namespace godwit::dataplane
