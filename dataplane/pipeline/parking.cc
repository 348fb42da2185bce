// SPDX-License-Identifier: Apache-2.0
#include "dataplane/pipeline/parking.h"

#include <algorithm>

#include "base/single_writer.h"

namespace godwit::dataplane {

bool Parking::push(EndpointId endpoint, Packet* packet, EndpointId origin) {
  auto [found, fresh] = fifos_.try_emplace(endpoint);
  Fifo& fifo = found->second;
  const size_t held = fifo.packets.size() - fifo.first;
  if (held >= limits_.packets || fifo.bytes + packet->len > limits_.bytes) {
    if (held == 0) fifos_.erase(found);
    return false;
  }
  if (fresh) order_.push_back(endpoint);
  fifo.packets.push_back({packet, origin, packet->len});
  fifo.bytes += packet->len;
  bump(parked_total_);
  bump(held_);
  return true;
}

Packet* Parking::front(EndpointId endpoint, EndpointId* origin) const {
  const auto found = fifos_.find(endpoint);
  if (found == fifos_.end()) return nullptr;
  const Held& held = found->second.packets[found->second.first];
  if (origin != nullptr) *origin = held.origin;
  return held.packet;
}

Packet* Parking::pop(EndpointId endpoint) {
  const auto found = fifos_.find(endpoint);
  if (found == fifos_.end()) return nullptr;
  Fifo& fifo = found->second;
  const Held held = fifo.packets[fifo.first++];
  Packet* packet = held.packet;
  fifo.bytes -= held.len;
  held_.store(held_.load(std::memory_order_relaxed) - 1, std::memory_order_relaxed);
  if (fifo.first == fifo.packets.size()) {
    fifos_.erase(found);
    std::erase(order_, endpoint);
  } else if (fifo.first >= 1024 && fifo.first * 2 >= fifo.packets.size()) {
    // A FIFO that is filled as fast as it drains would grow without bound.
    fifo.packets.erase(fifo.packets.begin(),
                       fifo.packets.begin() + static_cast<std::ptrdiff_t>(fifo.first));
    fifo.first = 0;
  }
  return packet;
}

}  // namespace godwit::dataplane
