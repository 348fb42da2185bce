// SPDX-License-Identifier: Apache-2.0
#include "base/net.h"

#include <arpa/inet.h>

#include <cstdio>

namespace godwit {

namespace {

int hex_digit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

// Parses a whole text. inet_pton() needs a terminated string, so this copies into a bounded buffer.
template <typename Address, size_t kMaxText>
bool from_text(int family, std::string_view text, Address& out) {
  char buffer[kMaxText];
  if (text.empty() || text.size() >= sizeof(buffer)) return false;
  if (text.find('\0') != std::string_view::npos) return false;
  text.copy(buffer, text.size());
  buffer[text.size()] = '\0';
  return inet_pton(family, buffer, out.bytes.data()) == 1;
}

Unexpected bad(std::string_view text, const char* what) {
  Error error;
  error.message = "bad address";
  error.token = std::string(text.substr(0, 64));
  error.expected = what;
  return fail(std::move(error));
}

}  // namespace

Result<MacAddress> parse_mac(std::string_view text) {
  const char* expected = "a MAC address such as 02:00:00:00:00:01";
  if (text.size() != 17) return bad(text, expected);
  MacAddress mac;
  for (size_t i = 0; i < 6; ++i) {
    const int high = hex_digit(text[i * 3]);
    const int low = hex_digit(text[i * 3 + 1]);
    if (high < 0 || low < 0 || (i < 5 && text[i * 3 + 2] != ':')) return bad(text, expected);
    mac.bytes[i] = static_cast<uint8_t>(high << 4 | low);
  }
  return mac;
}

Result<Ipv4Address> parse_ipv4(std::string_view text) {
  Ipv4Address address;
  if (!from_text<Ipv4Address, INET_ADDRSTRLEN>(AF_INET, text, address)) {
    return bad(text, "an IPv4 address such as 10.0.0.1");
  }
  return address;
}

Result<Ipv6Address> parse_ipv6(std::string_view text) {
  Ipv6Address address;
  if (!from_text<Ipv6Address, INET6_ADDRSTRLEN>(AF_INET6, text, address)) {
    return bad(text, "an IPv6 address such as fd00::1");
  }
  return address;
}

std::string to_string(const MacAddress& mac) {
  char text[18];
  const auto& b = mac.bytes;
  std::snprintf(text, sizeof(text), "%02x:%02x:%02x:%02x:%02x:%02x", b[0], b[1], b[2], b[3], b[4],
                b[5]);
  return text;
}

std::string to_string(const Ipv4Address& address) {
  char text[INET_ADDRSTRLEN];
  inet_ntop(AF_INET, address.bytes.data(), text, sizeof(text));
  return text;
}

std::string to_string(const Ipv6Address& address) {
  char text[INET6_ADDRSTRLEN];
  inet_ntop(AF_INET6, address.bytes.data(), text, sizeof(text));
  return text;
}

}  // namespace godwit
