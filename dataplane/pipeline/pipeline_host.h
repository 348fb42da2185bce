// SPDX-License-Identifier: Apache-2.0
//
// The services that a worker provides to its pipeline. Each call passes a batch or is rare.
//
// Thread safety: called on the pipeline's worker only.
#pragma once

#include <span>

#include "base/ids.h"
#include "dataplane/packet/packet.h"

namespace godwit::dataplane {

// A packet that leaves by a port. The receiver of a batch owns its packets.
struct Output {
  Packet* packet = nullptr;
  PortId port;
  PortId origin;  // the port that it came in by; invalid for injected packets
};

class PipelineHost {
 public:
  virtual ~PipelineHost() = default;
  // Returns a deep copy with headroom, or nullptr if no buffer is free.
  virtual Packet* clone(const Packet& packet) = 0;
  virtual void free(std::span<Packet* const> packets) = 0;
  // Takes all packets. The receiver counts what it drops on the way out: queue full, port gone,
  // frame too big.
  virtual void transmit(std::span<const Output> outputs) = 0;
  // Returns whether the packet may be parked: enough buffers are left for others.
  virtual bool may_wait(const Packet&) { return true; }
  // Hands a packet for `endpoint` to the control thread. Returns false, and leaves the packet with
  // the caller, if the ring is full.
  virtual bool redirect(EndpointId endpoint, Packet* packet) = 0;
  // Gives the control thread a copy of a RARP frame that came in by an uplink.
  virtual void punt(EndpointId uplink, const Packet& packet) = 0;
};

}  // namespace godwit::dataplane
