// SPDX-License-Identifier: Apache-2.0
//
// How one worker sleeps, and who wakes it: kicks of guests and frames of kernel interfaces by their
// descriptors, other threads by wake().
//
// No wake-up is lost. The worker says that it will sleep (begin()), then looks once more at
// everything that wake() is called for, then sleeps; who changes something does so first and calls
// wake() after. Descriptors are watched by edges: what was signalled since they were last reported
// ends the next sleep at once. Nobody reads them.
//
// Thread safety: wake() and attend() by any thread; the rest by the worker.
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>

namespace godwit::dataplane {

class Sleeper {
 public:
  static constexpr size_t kMostTags = 64;
  using Tags = std::array<uint32_t, kMostTags>;

  Sleeper();
  ~Sleeper();
  Sleeper(const Sleeper&) = delete;
  Sleeper& operator=(const Sleeper&) = delete;

  // Ends the worker's sleep, if it sleeps. A fence and a load where it does not.
  void wake();
  // As wake(), and it shall look at all of its queues: something happened that no kick tells of.
  void attend() {
    attention_.store(true);
    wake();
  }

  [[nodiscard]] bool attention() const { return attention_.load(std::memory_order_relaxed); }
  // Once true after an attend().
  bool take_attention() { return attention() && attention_.exchange(false); }
  // Reports `tag` when the descriptor is signalled from now on, or was already. False: it can't be
  // watched.
  bool watch(int fd, uint32_t tag);
  // Nothing is watched any more.
  void forget();
  // Announces the sleep.
  void begin();
  // Sleeps, at most so long; which descriptors ended it. 0 us: just looks.
  size_t sleep(uint32_t us, Tags& tags);
  // It will not sleep after all.
  void cancel() { sleeping_.store(false, std::memory_order_relaxed); }

 private:
  void open();

  int epoll_ = -1;
  int event_ = -1;  // what wake() writes
  alignas(64) std::atomic<bool> sleeping_{false};
  std::atomic<bool> attention_{true};
};

}  // namespace godwit::dataplane
