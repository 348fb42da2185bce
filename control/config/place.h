// SPDX-License-Identifier: Apache-2.0
//
// Places in a configuration file, and errors that name them. Pure functions.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "base/result.h"

namespace godwit::control {

// Line and column are 1-based.
struct Place {
  std::string file;
  uint32_t line = 0;
  uint32_t column = 0;
};

// Returns "FILE:LINE:COL".
std::string to_text(const Place& place);

// Returns an error with the message "FILE:LINE:COL: WHAT, expected EXPECTED". Sets line, column and
// expected as well.
Error error_at(const Place& place, const std::string& what, const std::string& expected = {});

// Returns an error at the first byte of the file's text that is not UTF-8. What a file holds ends
// in answers, which are JSON, and JSON is UTF-8.
Result<void> check_utf8(std::string_view text, const std::string& file);

}  // namespace godwit::control
