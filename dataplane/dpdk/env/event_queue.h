// SPDX-License-Identifier: Apache-2.0
//
// Port events on their way to the control thread.
//
// Thread safety: post() by any thread but the workers; take() by the control thread. The lock is
// held for a push or a swap, so it may be taken while librte_vhost holds its queue locks.
#pragma once

#include <functional>
#include <mutex>
#include <utility>
#include <vector>

#include "dataplane/ports.h"

namespace godwit::dataplane {

class EventQueue {
 public:
  explicit EventQueue(std::function<void()> wake) : wake_(std::move(wake)) {}
  void post(PortEventKind kind, PortId port);  // stamped with now
  std::vector<PortEvent> take();
  void forget(PortId port);  // drops what is queued for a port that is gone

 private:
  const std::function<void()> wake_;
  std::mutex mutex_;
  std::vector<PortEvent> events_;  // protected by mutex_
};

// CLOCK_MONOTONIC, nanoseconds.
uint64_t monotonic_ns();
// The same within a few milliseconds, for a fifth of the cycles.
uint64_t coarse_ns();

}  // namespace godwit::dataplane
