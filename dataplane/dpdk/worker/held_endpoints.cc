// SPDX-License-Identifier: Apache-2.0
#include "dataplane/dpdk/worker/held_endpoints.h"

#include <algorithm>

namespace godwit::dataplane {

void HeldEndpoints::publish(std::span<const EndpointId> endpoints) {
  if (std::ranges::equal(endpoints, published_)) return;
  const uint32_t sequence = sequence_.load(std::memory_order_relaxed);
  sequence_.store(sequence + 1, std::memory_order_relaxed);
  std::atomic_thread_fence(std::memory_order_release);
  count_.store(static_cast<uint32_t>(endpoints.size()), std::memory_order_relaxed);
  for (size_t i = 0; i < std::min(endpoints.size(), kShown); ++i)
    endpoints_[i].store(endpoints[i].value, std::memory_order_relaxed);
  sequence_.store(sequence + 2, std::memory_order_release);
  published_.assign(endpoints.begin(), endpoints.end());
}

bool HeldEndpoints::contains(EndpointId endpoint) const {
  for (;;) {
    const uint32_t before = sequence_.load(std::memory_order_acquire);
    const uint32_t count = count_.load(std::memory_order_relaxed);
    bool found = count > kShown;
    for (size_t i = 0; i < std::min<size_t>(count, kShown); ++i)
      found |= endpoints_[i].load(std::memory_order_relaxed) == endpoint.value;
    std::atomic_thread_fence(std::memory_order_acquire);
    if ((before & 1) == 0 && sequence_.load(std::memory_order_relaxed) == before) return found;
  }
}

}  // namespace godwit::dataplane
