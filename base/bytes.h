// SPDX-License-Identifier: Apache-2.0
//
// Byte order as a type. be16 and be32 hold a number in network order at any alignment. They convert
// to and from host order only by name (host() and from_host()), so code that reads a wire field as
// a plain number does not compile.
#pragma once

#include <array>
#include <bit>
#include <compare>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <type_traits>

namespace godwit {

namespace internal {
template <typename T>
constexpr T swap_bytes(T value) {
  if constexpr (sizeof(T) == 2) {
    return __builtin_bswap16(value);
  } else {
    static_assert(sizeof(T) == 4);
    return __builtin_bswap32(value);
  }
}
template <typename T>
constexpr T swap_if_little(T value) {
  return std::endian::native == std::endian::little ? swap_bytes(value) : value;
}
}  // namespace internal

template <typename T>
class BigEndian {
 public:
  constexpr BigEndian() = default;
  static constexpr BigEndian from_host(T value) {
    BigEndian out;
    out.bytes_ = std::bit_cast<std::array<uint8_t, sizeof(T)>>(internal::swap_if_little(value));
    return out;
  }
  [[nodiscard]] constexpr T host() const {
    return internal::swap_if_little(std::bit_cast<T>(bytes_));
  }
  // Returns the bytes as they are in memory, for checksums and comparisons that do not depend on
  // the order.
  [[nodiscard]] constexpr T raw() const { return std::bit_cast<T>(bytes_); }
  constexpr bool operator==(const BigEndian&) const = default;
  constexpr auto operator<=>(const BigEndian& other) const { return host() <=> other.host(); }

 private:
  std::array<uint8_t, sizeof(T)> bytes_{};  // alignment 1: a header struct can overlay any bytes
};

using be16 = BigEndian<uint16_t>;
using be32 = BigEndian<uint32_t>;
static_assert(sizeof(be16) == 2 && alignof(be16) == 1);
static_assert(sizeof(be32) == 4 && alignof(be32) == 1);

constexpr be16 to_be16(uint16_t value) { return be16::from_host(value); }
constexpr be32 to_be32(uint32_t value) { return be32::from_host(value); }

}  // namespace godwit
