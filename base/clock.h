// SPDX-License-Identifier: Apache-2.0
//
// Clock: time as a parameter. Code that needs the time takes a Clock, so that a test or the
// simulator can control it.
#pragma once

#include <chrono>
#include <cstdint>

namespace godwit {

class Clock {
 public:
  virtual ~Clock() = default;
  // Returns nanoseconds since an arbitrary start. The time never goes back.
  [[nodiscard]] virtual uint64_t now_ns() const = 0;
};

class SteadyClock final : public Clock {
 public:
  [[nodiscard]] uint64_t now_ns() const override {
    return static_cast<uint64_t>(std::chrono::duration_cast<std::chrono::nanoseconds>(
                                     std::chrono::steady_clock::now().time_since_epoch())
                                     .count());
  }
};

// Returns the CPU's time stamp counter, or the steady clock where there is none. Use it for shares
// and ratios, not for times.
inline uint64_t cycles_now() {
#if defined(__x86_64__)
  return __builtin_ia32_rdtsc();
#else
  return static_cast<uint64_t>(std::chrono::steady_clock::now().time_since_epoch().count());
#endif
}

}  // namespace godwit
