// SPDX-License-Identifier: Apache-2.0
//
// A timer of the event loop that runs an action again and again.
//
// Thread safety: the control thread only. The destructor cancels the timer.
#pragma once

#include <asio/steady_timer.hpp>
#include <chrono>
#include <functional>

namespace godwit::control {

class PeriodicTimer {
 public:
  using Delay = std::chrono::milliseconds;
  // Returns the delay until the next run.
  using Action = std::function<Delay()>;

  explicit PeriodicTimer(asio::io_context& io) : timer_(io) {}
  // Runs the action after `first`, and from then on after each delay that it returns.
  void start(Delay first, Action action) {
    action_ = std::move(action);
    arm(first);
  }

 private:
  void arm(Delay delay) {
    timer_.expires_after(delay);
    timer_.async_wait([this](asio::error_code error) {
      if (!error) arm(action_());
    });
  }

  asio::steady_timer timer_;
  Action action_;
};

}  // namespace godwit::control
