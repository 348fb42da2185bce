// SPDX-License-Identifier: Apache-2.0
//
// The sleep of one worker, and what ends it: guests' kicks and frames of kernel interfaces by their
// file descriptors, and other threads by wake().
//
// No wake-up is lost. The worker announces its sleep (begin), checks once more everything that
// wake() is called for, and then sleeps. A thread that changes something does so before it calls
// wake(). Descriptors are watched edge-triggered: a signal since the last report ends the next
// sleep at once. The descriptors are never read.
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

  // Ends the worker's sleep. Costs a fence and a load if the worker is awake.
  void wake();
  // Makes the worker look at all of its queues, and wakes it. Called for changes that no kick
  // reports.
  void attend() {
    attention_.store(true);
    wake();
  }

  [[nodiscard]] bool attention() const { return attention_.load(std::memory_order_relaxed); }
  // Returns true once after attend(). True at first.
  bool take_attention() { return attention() && attention_.exchange(false); }
  // Reports `tag` whenever the descriptor is signaled, also if it is already. Returns false if the
  // descriptor cannot be watched.
  bool watch(int fd, uint32_t tag);
  // Stops watching all descriptors.
  void forget();
  // Announces the sleep.
  void begin();
  // Sleeps for at most `us` microseconds; 0 only looks. Returns the number of watched descriptors
  // that were signaled, with their tags.
  size_t sleep(uint32_t us, Tags& tags);
  // Takes back the announcement.
  void cancel() { sleeping_.store(false, std::memory_order_relaxed); }

 private:
  void open();

  int epoll_ = -1;
  int event_ = -1;  // an eventfd that wake() writes
  alignas(64) std::atomic<bool> sleeping_{false};
  std::atomic<bool> attention_{true};
};

}  // namespace godwit::dataplane
