// SPDX-License-Identifier: Apache-2.0
//
// The park of one worker: packets held for endpoints that cannot receive now, one FIFO for each
// endpoint.
//
// Each FIFO is bounded in packets and bytes. Order is kept as follows: while an endpoint's FIFO is
// not empty, the worker appends new packets to it whatever the endpoint's location says, until it
// has drained the FIFO.
//
// Thread safety: belongs to one worker. Any thread may read parked_total() and held().
#pragma once

#include <atomic>
#include <cstdint>
#include <unordered_map>
#include <vector>

#include "base/ids.h"
#include "dataplane/packet/packet.h"

namespace godwit::dataplane {

struct ParkLimits {
  uint32_t packets = 4096;
  uint64_t bytes = 8u << 20;
};

class Parking {
 public:
  explicit Parking(ParkLimits limits) : limits_(limits) {}
  Parking(const Parking&) = delete;
  Parking& operator=(const Parking&) = delete;

  // Appends a packet that endpoint `origin` sent. Returns false, and leaves the packet with the
  // caller, if a limit would be exceeded.
  bool push(EndpointId endpoint, Packet* packet, EndpointId origin);
  [[nodiscard]] bool empty() const { return fifos_.empty(); }
  [[nodiscard]] bool holds(EndpointId endpoint) const {
    return !fifos_.empty() && fifos_.contains(endpoint);
  }
  // Returns the oldest packet for the endpoint and its origin without removing it, or nullptr.
  [[nodiscard]] Packet* front(EndpointId endpoint, EndpointId* origin) const;
  // Removes and returns the oldest packet, or nullptr. An empty FIFO is deleted.
  Packet* pop(EndpointId endpoint);
  // Returns the endpoints that have parked packets.
  [[nodiscard]] const std::vector<EndpointId>& endpoints() const { return order_; }
  [[nodiscard]] uint64_t parked_total() const {
    return parked_total_.load(std::memory_order_relaxed);
  }
  [[nodiscard]] uint32_t held() const { return held_.load(std::memory_order_relaxed); }

 private:
  struct Held {
    Packet* packet;
    EndpointId origin;
    uint32_t len;  // at push(), since the packet may be freed before pop()
  };
  struct Fifo {
    std::vector<Held> packets;  // from `first` on
    size_t first = 0;
    uint64_t bytes = 0;
  };
  ParkLimits limits_;
  std::unordered_map<EndpointId, Fifo> fifos_;
  std::vector<EndpointId> order_;
  std::atomic<uint64_t> parked_total_{0};
  std::atomic<uint32_t> held_{0};
};

}  // namespace godwit::dataplane
