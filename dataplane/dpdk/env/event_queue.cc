// SPDX-License-Identifier: Apache-2.0
#include "dataplane/dpdk/env/event_queue.h"

#include <algorithm>
#include <ctime>

namespace godwit::dataplane {
namespace {

uint64_t read_clock(clockid_t clock) {
  timespec now{};
  clock_gettime(clock, &now);
  return static_cast<uint64_t>(now.tv_sec) * 1'000'000'000u + static_cast<uint64_t>(now.tv_nsec);
}

}  // namespace

uint64_t monotonic_ns() { return read_clock(CLOCK_MONOTONIC); }
uint64_t coarse_ns() { return read_clock(CLOCK_MONOTONIC_COARSE); }

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
