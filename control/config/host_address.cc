// SPDX-License-Identifier: Apache-2.0
#include "control/config/host_address.h"

#include <charconv>

#include "base/net.h"
#include "base/text.h"

namespace godwit::control {

Result<HostAddress> parse_host_address(std::string_view text) {
  const size_t colon = text.rfind(':');
  const auto bad = [&] {
    Error error;
    error.message = "`" + printable(text) + "` is not an address and a port";
    error.expected = "ADDRESS:PORT or [IPV6]:PORT";
    return fail(std::move(error));
  };
  if (colon == std::string_view::npos || colon + 1 == text.size()) return bad();
  HostAddress out;
  const std::string_view port = text.substr(colon + 1);
  const auto [end, error] = std::from_chars(port.data(), port.data() + port.size(), out.port);
  if (error != std::errc{} || end != port.data() + port.size() || out.port == 0) return bad();
  std::string_view address = text.substr(0, colon);
  if (address.size() > 2 && address.front() == '[' && address.back() == ']') {
    address = address.substr(1, address.size() - 2);
    const auto ipv6 = parse_ipv6(address);
    if (!ipv6) return bad();
    Ipv6Address one;
    one.bytes[15] = 1;
    out.loopback = *ipv6 == one;
  } else {
    const auto ipv4 = parse_ipv4(address);
    if (!ipv4) return bad();
    out.loopback = ipv4->bytes[0] == 127;
  }
  out.address = std::string(address);
  return out;
}

}  // namespace godwit::control
