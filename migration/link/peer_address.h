// SPDX-License-Identifier: Apache-2.0
//
// Addresses of peers as text.
//
// Thread safety: none needed; the functions share no state.
#pragma once

#include <asio/ip/tcp.hpp>
#include <string>

#include "base/result.h"

namespace godwit::migration {

// Parses "address:port" or "[v6]:port". Both parts are numbers, so that no call waits for a
// resolver.
Result<asio::ip::tcp::endpoint> parse_address(const std::string& text);

// Returns the remote address of the socket, as "10.0.0.2:40312" or "[fd00::2]:40312"; "?" if it is
// not connected any more.
[[nodiscard]] std::string address_text(const asio::ip::tcp::socket& socket);

}  // namespace godwit::migration
