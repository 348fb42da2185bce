// SPDX-License-Identifier: Apache-2.0
#include "migration/link/peer_address.h"

#include <charconv>
#include <cstdint>
#include <utility>

namespace godwit::migration {

Result<asio::ip::tcp::endpoint> parse_address(const std::string& text) {
  const auto bad = [&] {
    Error error;
    error.message = "bad address";
    error.token = text.substr(0, 128);
    error.expected = "ADDRESS:PORT, such as 127.0.0.1:7400 or [::1]:7400";
    return fail(std::move(error));
  };
  const size_t colon = text.rfind(':');
  if (colon == std::string::npos || colon == 0) return bad();
  std::string host = text.substr(0, colon);
  if (host.front() == '[' && host.back() == ']') host = host.substr(1, host.size() - 2);
  uint16_t port = 0;
  const char* first = text.data() + colon + 1;
  const char* last = text.data() + text.size();
  if (const auto parsed = std::from_chars(first, last, port);
      parsed.ec != std::errc{} || parsed.ptr != last || port == 0)
    return bad();
  std::error_code error;
  const auto address = asio::ip::make_address(host, error);
  if (error) return bad();
  return asio::ip::tcp::endpoint(address, port);
}

std::string address_text(const asio::ip::tcp::socket& socket) {
  std::error_code error;
  const asio::ip::tcp::endpoint endpoint = socket.remote_endpoint(error);
  if (error) return "?";
  const std::string address = endpoint.address().to_string();
  return (endpoint.address().is_v6() ? "[" + address + "]" : address) + ":" +
         std::to_string(endpoint.port());
}

}  // namespace godwit::migration
