// SPDX-License-Identifier: Apache-2.0
//
// The random numbers of a simulated run: one sequence from one seed (xoshiro256**, seeded by
// splitmix64).
#pragma once

#include <array>
#include <bit>
#include <cstdint>

namespace godwit::sim {

class Chance {
 public:
  explicit Chance(uint64_t seed) {
    for (uint64_t& word : state_) {
      seed += 0x9e3779b97f4a7c15;
      uint64_t z = seed;
      z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
      z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
      word = z ^ (z >> 31);
    }
  }
  uint64_t next() {
    const uint64_t result = std::rotl(state_[1] * 5, 7) * 9;
    const uint64_t t = state_[1] << 17;
    state_[2] ^= state_[0];
    state_[3] ^= state_[1];
    state_[1] ^= state_[2];
    state_[0] ^= state_[3];
    state_[2] ^= t;
    state_[3] = std::rotl(state_[3], 45);
    return result;
  }
  // Returns a number from 0 to n-1; n > 0.
  uint64_t below(uint64_t n) { return (next() >> 16) % n; }
  // Returns a number from low to high, both included.
  uint64_t between(uint64_t low, uint64_t high) { return low + below(high - low + 1); }
  bool one_in(uint64_t n) { return below(n) == 0; }
  bool percent(uint64_t p) { return below(100) < p; }
  // Returns a number from low to high. Each power of two is as likely as the next, so most numbers
  // are small and some are large.
  uint64_t spread(uint64_t low, uint64_t high) {
    const auto bits = static_cast<uint64_t>(std::bit_width(high / (low == 0 ? 1 : low)));
    const uint64_t top = low << below(bits + 1);
    return between(low, top < low || top > high ? high : top);
  }

 private:
  std::array<uint64_t, 4> state_;
};

}  // namespace godwit::sim
