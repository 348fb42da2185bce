// SPDX-License-Identifier: Apache-2.0
//
// Network addresses as values: bytes in network order. Text forms are six hex pairs (MAC), dotted
// decimal (IPv4) and RFC 5952 (IPv6).
#pragma once

#include <array>
#include <compare>
#include <cstdint>
#include <string>
#include <string_view>

#include "base/bytes.h"
#include "base/result.h"

namespace godwit {

struct MacAddress {
  std::array<uint8_t, 6> bytes{};
  constexpr auto operator<=>(const MacAddress&) const = default;
  [[nodiscard]] constexpr bool is_group() const { return (bytes[0] & 1) != 0; }
  [[nodiscard]] constexpr bool is_zero() const { return *this == MacAddress{}; }
  // Returns the address in the low 48 bits; the first byte is the most significant.
  [[nodiscard]] constexpr uint64_t to_u64() const {
    uint64_t v = 0;
    for (uint8_t b : bytes) v = (v << 8) | b;
    return v;
  }
};

struct Ipv4Address {
  std::array<uint8_t, 4> bytes{};
  constexpr auto operator<=>(const Ipv4Address&) const = default;
};

struct Ipv6Address {
  std::array<uint8_t, 16> bytes{};
  constexpr auto operator<=>(const Ipv6Address&) const = default;
};

// Parse a whole text. An error names the text and what was expected; the caller adds the column.
Result<MacAddress> parse_mac(std::string_view text);    // "02:00:00:00:00:01"
Result<Ipv4Address> parse_ipv4(std::string_view text);  // "10.0.0.1"
Result<Ipv6Address> parse_ipv6(std::string_view text);  // "fd00::1"

std::string to_string(const MacAddress& mac);
std::string to_string(const Ipv4Address& address);
std::string to_string(const Ipv6Address& address);

}  // namespace godwit
