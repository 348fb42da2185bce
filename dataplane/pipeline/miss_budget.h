// SPDX-License-Identifier: Apache-2.0
//
// Limits the worker time that one port's flow cache misses may take from other ports.
//
// A port earns a share of the worker's time, in cycles, and saves up to kMostSaved. The time spent
// on rule walks for its packets is deducted. A port in debt is not polled while another port has
// packets: its own packets wait in its ring, and are lost there, at their sender, if it does not
// slow down. A worker with nothing else to do never makes a port wait.
//
// An endpoint that floods new flows, or whose rules are slow to search, therefore costs its
// neighbors its share and no more. An uplink carries packets of many senders and has a larger
// share.
//
// Units: cycles of cycles_now(). Thread safety: belongs to one worker.
#pragma once

#include <algorithm>
#include <cstdint>

namespace godwit::dataplane {

class MissBudget {
 public:
  static constexpr uint64_t kVmShare = 32;  // 1/32 of the worker's time
  static constexpr uint64_t kUplinkShare = 4;
  static constexpr int64_t kMostSaved = 100'000;

  // Adds 1/`share` of the time since the last call. Returns whether the port may be polled.
  [[nodiscard]] bool may_poll(uint64_t now, uint64_t share, bool others_have_packets) {
    if (last_ != 0 && now > last_)
      saved_ = std::min(saved_ + static_cast<int64_t>((now - last_) / share), kMostSaved);
    last_ = now;
    return saved_ >= 0 || !others_have_packets;
  }
  // Deducts cycles. Debt is bounded, so that what a port used while it was alone does not count
  // against it for long.
  void spend(uint64_t cycles) {
    saved_ = std::max(saved_ - static_cast<int64_t>(cycles), -8 * kMostSaved);
  }

 private:
  int64_t saved_ = kMostSaved;
  uint64_t last_ = 0;
};

}  // namespace godwit::dataplane
