// SPDX-License-Identifier: Apache-2.0
//
// Lets any thread wake the control thread: an eventfd that the event loop reads.
//
// Thread safety: wake() from any thread as long as the object exists; the rest from the control
// thread.
#pragma once

#include <asio/io_context.hpp>
#include <asio/posix/stream_descriptor.hpp>
#include <functional>

#include "base/result.h"

namespace godwit::control {

class Wakeup {
 public:
  explicit Wakeup(asio::io_context& io);
  ~Wakeup();
  Wakeup(const Wakeup&) = delete;
  Wakeup& operator=(const Wakeup&) = delete;

  // Returns whether the eventfd could be created.
  [[nodiscard]] bool valid() const { return descriptor_ >= 0; }
  void wake() const;
  // Calls `action` in the event loop after each wake(). Several calls of wake() may lead to one.
  void watch(std::function<void()> action);
  // Ends the watch. wake() may still be called and has no effect.
  void stop();

 private:
  void await();

  const int descriptor_;
  asio::posix::stream_descriptor stream_;  // borrows the descriptor while it watches
  std::function<void()> action_;
};

}  // namespace godwit::control
