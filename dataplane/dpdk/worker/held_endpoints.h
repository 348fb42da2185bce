// SPDX-License-Identifier: Apache-2.0
//
// The endpoints for which one worker holds frames, parked or waiting for their port, as the control
// thread sees them.
//
// The list is published under a sequence lock, since the worker never waits. At most kShown
// endpoints are listed; while there are more, contains() answers true for every endpoint.
//
// Thread safety: publish() and empty() by one worker; contains() by any thread.
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "base/ids.h"

namespace godwit::dataplane {

class HeldEndpoints {
 public:
  static constexpr size_t kShown = 62;

  // Publishes the list. Costs nothing but a comparison if it has not changed.
  void publish(std::span<const EndpointId> endpoints);
  // Returns whether the published list is empty.
  [[nodiscard]] bool empty() const { return published_.empty(); }
  // Returns whether the worker holds frames for the endpoint. Returns true for every
  // endpoint if there are more than kShown.
  [[nodiscard]] bool contains(EndpointId endpoint) const;

 private:
  std::atomic<uint32_t> sequence_{0};  // odd while publish() writes
  std::atomic<uint32_t> count_{0};     // above kShown if not all are listed
  std::array<std::atomic<uint32_t>, kShown> endpoints_{};
  std::vector<EndpointId> published_;  // the worker's copy
};

}  // namespace godwit::dataplane
