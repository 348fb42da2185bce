// SPDX-License-Identifier: Apache-2.0
//
// The sleep of one worker, and the events that end it. Guests' kicks and frames from kernel
// interfaces end it by the file descriptors that the worker watches. Other threads call wake().
//
// No wake-up is lost. The worker calls begin() and checks once more everything that wake() is
// called for. It then calls sleep(), or cancel() if something has changed. Another thread makes its
// change before it calls wake().
//
// Descriptors are watched edge-triggered: a signal since the last report ends the next sleep at
// once. The Sleeper never reads a descriptor.
//
// Thread safety: any thread may call wake() and attend(). Only the worker calls the rest.
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>

namespace godwit::dataplane {

class Sleeper {
 public:
  static constexpr size_t kMostTags = 64;  // that one sleep reports; the next one reports the rest
  using Tags = std::array<uint32_t, kMostTags>;

  Sleeper();
  ~Sleeper();
  Sleeper(const Sleeper&) = delete;
  Sleeper& operator=(const Sleeper&) = delete;

  // Ends the worker's sleep. Costs a fence and a load if the worker is awake.
  void wake();
  // Asks the worker to poll all of its queues once, and wakes it. Called for changes that no
  // descriptor signals.
  void attend() {
    attention_.store(true);
    wake();
  }

  // Returns whether attend() has been called since the last take_attention(). True at first.
  [[nodiscard]] bool attention() const { return attention_.load(std::memory_order_relaxed); }
  // Returns attention() and clears it.
  bool take_attention() { return attention() && attention_.exchange(false); }
  // Watches a descriptor. Each signal ends a sleep, which reports `tag`, the caller's name for the
  // descriptor. A signal that is already pending counts. Returns false if the descriptor cannot be
  // watched.
  bool watch(int fd, uint32_t tag);
  // Stops watching all descriptors.
  void forget();
  // Announces a sleep. From here on wake() ends it.
  void begin();
  // Sleeps for at most `us` microseconds; with 0, it checks the descriptors and returns at once.
  // Stores the tags of the signaled descriptors in `tags` and returns their number.
  size_t sleep(uint32_t us, Tags& tags);
  // Ends an announced sleep before it begins.
  void cancel() { sleeping_.store(false, std::memory_order_relaxed); }

 private:
  void open();

  int epoll_ = -1;  // watches event_ and the caller's descriptors
  int event_ = -1;  // an eventfd that wake() writes
  alignas(64) std::atomic<bool> sleeping_{false};
  std::atomic<bool> attention_{true};
};

}  // namespace godwit::dataplane
