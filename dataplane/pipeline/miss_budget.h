// SPDX-License-Identifier: Apache-2.0
//
// What one port may cost a worker by packets that the flow cache does not know, while others have
// packets, too.
//
// A share of the time goes to it, in cycles, and is saved up to kMostSaved. What walks over rules
// took is taken off. In debt, and while another port has packets, the port is not polled: its
// packets wait in its own ring, and are lost there, at their sender, if it does not stop. A worker
// with nothing else to do never lets a port wait.
//
// So an endpoint that floods new flows, or whose own rules are slow, costs its neighbours its share
// and no more. An uplink's packets come from many senders: it has a larger one.
//
// Units: cycles of cycles_now(). Thread safety: belongs to one worker.
#pragma once

#include <algorithm>
#include <cstdint>

namespace godwit::dataplane {

class MissBudget {
 public:
  static constexpr uint64_t kVmShare = 32;  // one part in so many of a worker's time
  static constexpr uint64_t kUplinkShare = 4;
  static constexpr int64_t kMostSaved = 100'000;

  // Adds what has come up since the last call. `share`: one part in so many.
  [[nodiscard]] bool may_poll(uint64_t now, uint64_t share, bool others_have_packets) {
    if (last_ != 0 && now > last_)
      saved_ = std::min(saved_ + static_cast<int64_t>((now - last_) / share), kMostSaved);
    last_ = now;
    return saved_ >= 0 || !others_have_packets;
  }
  // Debt is bounded, so that what a port did while it was alone is not held against it for long.
  void spend(uint64_t cycles) {
    saved_ = std::max(saved_ - static_cast<int64_t>(cycles), -8 * kMostSaved);
  }

 private:
  int64_t saved_ = kMostSaved;
  uint64_t last_ = 0;
};

}  // namespace godwit::dataplane
