// SPDX-License-Identifier: Apache-2.0
#include "dataplane/dpdk/env/event_queue.h"

#include <algorithm>

#include "dataplane/dpdk/env/monotonic.h"

namespace godwit::dataplane {

void EventQueue::post(PortEventKind kind, PortId port) {
  bool first = false;
  {
    const std::lock_guard lock(mutex_);
    first = events_.empty();
    events_.push_back({kind, port, monotonic_ns()});
  }
  if (first && wake_) wake_();
}

std::vector<PortEvent> EventQueue::take() {
  const std::lock_guard lock(mutex_);
  return std::exchange(events_, {});
}

void EventQueue::forget(PortId port) {
  const std::lock_guard lock(mutex_);
  std::erase_if(events_, [&](const PortEvent& event) { return event.port == port; });
}

}  // namespace godwit::dataplane
