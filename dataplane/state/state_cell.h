// SPDX-License-Identifier: Apache-2.0
//
// StateCell: the pointer to the current forwarding state.
//
// Thread safety: workers call load(). All other functions belong to the control thread.
#pragma once

#include <atomic>
#include <functional>
#include <utility>

namespace godwit::dataplane {

struct ForwardingState;

class StateCell {
 public:
  [[nodiscard]] const ForwardingState* load() const {
    return state_.load(std::memory_order_acquire);
  }
  // Publishes a state. Returns the previous one, which the caller retires.
  const ForwardingState* publish(const ForwardingState* next) {
    const ForwardingState* old = state_.exchange(next, std::memory_order_acq_rel);
    if (published_) published_();
    return old;
  }
  // Sets the function that is called after each publication; it wakes workers that sleep. An empty
  // function disables that.
  void on_publish(std::function<void()> published) { published_ = std::move(published); }

 private:
  alignas(64) std::atomic<const ForwardingState*> state_{nullptr};
  alignas(64) std::function<void()> published_;  // used by the control thread only
};

}  // namespace godwit::dataplane
