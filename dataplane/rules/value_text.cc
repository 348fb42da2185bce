// SPDX-License-Identifier: Apache-2.0
#include "dataplane/rules/value_text.h"

#include <algorithm>
#include <cstdio>
#include <limits>

#include "base/net.h"

namespace godwit::dataplane {

namespace {

template <typename Address>
void store(const Address& address, FieldBytes& out) {
  out = {};
  std::copy(address.bytes.begin(), address.bytes.end(), out.begin());
}

// Reads a MAC address as 0200:0000:0001, the other form that testpmd accepts.
bool read_mac_groups(std::string_view text, FieldBytes& out) {
  if (text.size() != 14 || text[4] != ':' || text[9] != ':') return false;
  std::string pairs;
  for (size_t i = 0; i < text.size(); i += 5) {
    if (!pairs.empty()) pairs += ':';
    pairs.append(text.substr(i, 2)).append(":").append(text.substr(i + 2, 2));
  }
  const Result<MacAddress> mac = parse_mac(pairs);
  if (mac) store(*mac, out);
  return mac.has_value();
}

bool read_sized_number(std::string_view text, uint8_t width, FieldBytes& out) {
  uint64_t number = 0;
  if (!read_number(text, number)) return false;
  if (width < 64 && number >> width != 0) return false;
  out = number_value(number, width);
  return true;
}

template <typename Parsed>
bool store_if(const Parsed& parsed, FieldBytes& out) {
  if (parsed) store(*parsed, out);
  return parsed.has_value();
}

template <typename Address>
std::string address_text(const FieldBytes& value) {
  Address address;
  std::copy_n(value.begin(), address.bytes.size(), address.bytes.begin());
  return to_string(address);
}

}  // namespace

bool read_number(std::string_view text, uint64_t& out) {
  if (!text.empty() && text[0] == '+') text.remove_prefix(1);
  unsigned base = 10;
  if (text.size() > 2 && text[0] == '0' && (text[1] == 'x' || text[1] == 'X')) {
    base = 16;
    text.remove_prefix(2);
  } else if (text.size() > 1 && text[0] == '0') {
    base = 8;
  }
  if (text.empty()) return false;
  uint64_t number = 0;
  for (const char c : text) {
    unsigned digit = base;
    if (c >= '0' && c <= '9') digit = static_cast<unsigned>(c - '0');
    if (c >= 'a' && c <= 'f') digit = static_cast<unsigned>(c - 'a') + 10;
    if (c >= 'A' && c <= 'F') digit = static_cast<unsigned>(c - 'A') + 10;
    if (digit >= base) return false;
    if (number > (std::numeric_limits<uint64_t>::max() - digit) / base) return false;
    number = number * base + digit;
  }
  out = number;
  return true;
}

std::string value_help(Format format, uint8_t width) {
  switch (format) {
    case Format::kMac: return "a MAC address such as 02:00:00:00:00:01";
    case Format::kIpv4: return "an IPv4 address such as 10.0.0.1";
    case Format::kIpv6: return "an IPv6 address such as fd00::1";
    case Format::kEndpoint: return "a port number or an endpoint's name";
    case Format::kNumber:
    case Format::kHex: {
      const uint64_t most =
          width >= 64 ? std::numeric_limits<uint64_t>::max() : (uint64_t{1} << width) - 1;
      return "a number up to " + std::to_string(most);
    }
    case Format::kNone: break;
  }
  return {};
}

bool read_value(std::string_view text, Format format, uint8_t width, FieldBytes& out) {
  switch (format) {
    case Format::kMac: return store_if(parse_mac(text), out) || read_mac_groups(text, out);
    case Format::kIpv4:
      return store_if(parse_ipv4(text), out) || read_sized_number(text, width, out);
    case Format::kIpv6: return store_if(parse_ipv6(text), out);
    case Format::kNumber:
    case Format::kHex: return read_sized_number(text, width, out);
    case Format::kNone:
    case Format::kEndpoint: break;
  }
  return false;
}

std::string value_text(Format format, uint8_t width, const FieldBytes& value) {
  switch (format) {
    case Format::kMac: return address_text<MacAddress>(value);
    case Format::kIpv4: return address_text<Ipv4Address>(value);
    case Format::kIpv6: return address_text<Ipv6Address>(value);
    case Format::kNumber: return std::to_string(value_number(value, width));
    case Format::kHex: {
      char text[20];
      std::snprintf(text, sizeof(text), "0x%0*llx", (width + 3) / 4,
                    static_cast<unsigned long long>(value_number(value, width)));
      return text;
    }
    case Format::kNone:
    case Format::kEndpoint: break;
  }
  return {};
}

}  // namespace godwit::dataplane
