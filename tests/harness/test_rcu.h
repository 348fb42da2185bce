// SPDX-License-Identifier: Apache-2.0
//
// A small, correct QSBR for tests with threads, without DPDK. Each reader owns a counter. It sets
// the counter to the writer's clock when it holds no reference, and to kOffline when it stops
// reading.
//
// Thread safety: register_reader() runs before the readers start. The reader that owns the slot
// calls quiescent() and offline(). The writer calls the other functions.
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <thread>

#include "base/rcu.h"

namespace godwit::testing {

class TestRcu final : public GracePeriod {
 public:
  static constexpr size_t kMaxReaders = 16;

  size_t register_reader() {
    readers_[count_].seen.store(clock_.load());
    return count_++;
  }
  // Declares that the reader holds no references from before.
  void quiescent(size_t reader) { readers_[reader].seen.store(clock_.load()); }
  void offline(size_t reader) { readers_[reader].seen.store(kOffline); }

  [[nodiscard]] uint64_t start() override { return clock_.fetch_add(1) + 1; }
  [[nodiscard]] bool elapsed(uint64_t token) override {
    for (size_t i = 0; i < count_; ++i) {
      if (readers_[i].seen.load() < token) return false;
    }
    return true;
  }
  void wait(uint64_t token) override {
    while (!elapsed(token)) std::this_thread::yield();
  }

 private:
  static constexpr uint64_t kOffline = std::numeric_limits<uint64_t>::max();
  struct alignas(64) Slot {
    std::atomic<uint64_t> seen{kOffline};
  };
  std::atomic<uint64_t> clock_{1};
  std::array<Slot, kMaxReaders> readers_;
  size_t count_ = 0;
};

}  // namespace godwit::testing
