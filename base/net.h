// SPDX-License-Identifier: Apache-2.0
//
// Network addresses as values: bytes in network order, text by the RFCs (MAC: six hex pairs;
// IPv4: dotted decimal; IPv6: RFC 5952). Parsing accepts a whole string or nothing.
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
  // The 48 bits in the low end of a word, first byte highest.
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

// Errors say what was expected; the column is left to the caller.
Result<MacAddress> parse_mac(std::string_view text);    // "02:00:00:00:00:01"
Result<Ipv4Address> parse_ipv4(std::string_view text);  // "10.0.0.1"
Result<Ipv6Address> parse_ipv6(std::string_view text);  // "fd00::1"

std::string to_string(const MacAddress& mac);
std::string to_string(const Ipv4Address& address);
std::string to_string(const Ipv6Address& address);

}  // namespace godwit
