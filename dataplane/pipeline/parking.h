// SPDX-License-Identifier: Apache-2.0
//
// Packets held for endpoints that cannot receive just now: one FIFO for each endpoint, of one
// worker.
//
// Bounded in packets and bytes for each endpoint. In order: a worker that finds a FIFO non-empty
// appends to it, whatever the endpoint's location says by then, until it has drained it.
//
// Thread safety: belongs to one worker. Its totals may be read by the control thread.
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

  // Appends; false when a limit would be passed (the caller keeps the packet). `origin`: who sent
  // it.
  bool push(EndpointId endpoint, Packet* packet, EndpointId origin);
  [[nodiscard]] bool empty() const { return fifos_.empty(); }
  [[nodiscard]] bool holds(EndpointId endpoint) const {
    return !fifos_.empty() && fifos_.contains(endpoint);
  }
  // The oldest packet for the endpoint and who sent it, or nullptr; it stays.
  [[nodiscard]] Packet* front(EndpointId endpoint, EndpointId* origin) const;
  // Takes the oldest; the FIFO goes with its last packet.
  Packet* pop(EndpointId endpoint);
  // Endpoints that have packets here.
  [[nodiscard]] const std::vector<EndpointId>& endpoints() const { return order_; }
  [[nodiscard]] uint64_t parked_total() const {
    return parked_total_.load(std::memory_order_relaxed);
  }
  [[nodiscard]] uint32_t held() const { return held_.load(std::memory_order_relaxed); }

 private:
  struct Held {
    Packet* packet;
    EndpointId origin;
    uint32_t len;  // when it was parked; the packet itself may be gone when it is popped
  };
  struct Fifo {
    std::vector<Held> ring;  // grows to the limit
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
