// SPDX-License-Identifier: Apache-2.0
//
// Byte order as a type. be16 and be32 hold a number in network order at any alignment and convert
// only by name: host() and from_host(). Reading a wire field as a number by accident does not
// compile.
//
// Readers and writers below work on spans and never read or write past the end.
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
  // The number as it lies in memory: for checksums and compares that do not care about order.
  [[nodiscard]] constexpr T raw() const { return std::bit_cast<T>(bytes_); }
  constexpr bool operator==(const BigEndian&) const = default;
  constexpr auto operator<=>(const BigEndian& other) const { return host() <=> other.host(); }

 private:
  std::array<uint8_t, sizeof(T)> bytes_{};  // alignment 1, so that headers can be overlaid anywhere
};

using be16 = BigEndian<uint16_t>;
using be32 = BigEndian<uint32_t>;
static_assert(sizeof(be16) == 2 && alignof(be16) == 1);
static_assert(sizeof(be32) == 4 && alignof(be32) == 1);

constexpr be16 to_be16(uint16_t value) { return be16::from_host(value); }
constexpr be32 to_be32(uint32_t value) { return be32::from_host(value); }

}  // namespace godwit
