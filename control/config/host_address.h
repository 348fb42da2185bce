// SPDX-License-Identifier: Apache-2.0
//
// The address and port of a host, as `migration.listen` and `migration.peers` have it.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "base/result.h"

namespace godwit::control {

struct HostAddress {
  std::string address;  // without brackets
  uint16_t port = 0;
  bool loopback = false;
};

// Parses "ADDRESS:PORT" with an IPv4 address, or an IPv6 address in brackets. The port is 1 to
// 65535.
Result<HostAddress> parse_host_address(std::string_view text);

}  // namespace godwit::control
