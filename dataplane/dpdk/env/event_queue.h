// SPDX-License-Identifier: Apache-2.0
//
// Port events on their way to the control thread.
//
// Thread safety: post() by any thread but the workers; the rest by the control thread. The lock is
// held for a push or a swap only, so it may be taken while librte_vhost holds its queue locks.
#pragma once

#include <functional>
#include <mutex>
#include <utility>
#include <vector>

#include "dataplane/ports.h"

namespace godwit::dataplane {

class EventQueue {
 public:
  // `wake` is called by post() when the queue becomes non-empty.
  explicit EventQueue(std::function<void()> wake) : wake_(std::move(wake)) {}
  // Adds an event with the current time.
  void post(PortEventKind kind, PortId port);
  // Returns and removes all events.
  std::vector<PortEvent> take();
  // Removes the events of a port that is gone.
  void forget(PortId port);

 private:
  const std::function<void()> wake_;
  std::mutex mutex_;
  std::vector<PortEvent> events_;  // protected by mutex_
};

}  // namespace godwit::dataplane
