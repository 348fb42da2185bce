// SPDX-License-Identifier: Apache-2.0
//
// Bits: the 16 bytes of a key or of a mask that the classifier's tree works on.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>

namespace godwit::dataplane::classifier {

inline constexpr size_t kCompactBytes = 16;
inline constexpr size_t kCompactBits = kCompactBytes * 8;
inline constexpr size_t kNibbles = kCompactBytes * 2;

struct Bits {
  std::array<uint64_t, 2> word{};
  bool operator==(const Bits&) const = default;
  [[nodiscard]] Bits operator&(const Bits& other) const {
    return {{word[0] & other.word[0], word[1] & other.word[1]}};
  }
  [[nodiscard]] bool test(size_t bit) const { return ((word[bit / 64] >> (bit % 64)) & 1) != 0; }
  void set(size_t bit) { word[bit / 64] |= uint64_t{1} << (bit % 64); }
  // Returns whether each bit of `mask` is set here.
  [[nodiscard]] bool contains(const Bits& mask) const {
    return (mask.word[0] & ~word[0]) == 0 && (mask.word[1] & ~word[1]) == 0;
  }
  [[nodiscard]] unsigned nibble(size_t i) const {
    return static_cast<unsigned>(word[i / 16] >> (i % 16 * 4)) & 15;
  }
  // Returns the 16-bit number in network order that begins at `byte`.
  [[nodiscard]] uint16_t be16_at(size_t byte) const {
    uint8_t b[2];
    std::memcpy(b, reinterpret_cast<const uint8_t*>(word.data()) + byte, 2);
    return static_cast<uint16_t>(b[0] << 8 | b[1]);
  }
  void or_be16_at(size_t byte, uint16_t value) {
    uint8_t* b = reinterpret_cast<uint8_t*>(word.data()) + byte;
    b[0] = static_cast<uint8_t>(b[0] | value >> 8);
    b[1] = static_cast<uint8_t>(b[1] | (value & 0xff));
  }
};

}  // namespace godwit::dataplane::classifier
