// SPDX-License-Identifier: Apache-2.0
#include "control/config/place.h"

#include <algorithm>

#include "base/text.h"

namespace godwit::control {

std::string to_text(const Place& place) {
  return place.file + ":" + std::to_string(place.line) + ":" + std::to_string(place.column);
}

Error error_at(const Place& place, const std::string& what, const std::string& expected) {
  Error error;
  error.line = place.line;
  error.column = place.column;
  error.expected = expected;
  error.message = to_text(place) + ": " + what;
  if (!expected.empty()) error.message += ", expected " + expected;
  return error;
}

Result<void> check_utf8(std::string_view text, const std::string& file) {
  const size_t bad = find_non_utf8(text);
  if (bad == std::string_view::npos) return {};
  const std::string_view before = text.substr(0, bad);
  const size_t line_start = before.rfind('\n') + 1;  // also without a line before
  constexpr const char* kHex = "0123456789abcdef";
  const auto byte = static_cast<unsigned char>(text[bad]);
  const Place place{file, static_cast<uint32_t>(std::ranges::count(before, '\n') + 1),
                    static_cast<uint32_t>(bad - line_start + 1)};
  return fail(error_at(
      place,
      std::string("the byte 0x") + kHex[byte >> 4] + kHex[byte & 15] + " is not part of UTF-8",
      "a text in UTF-8"));
}

}  // namespace godwit::control
