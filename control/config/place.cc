// SPDX-License-Identifier: Apache-2.0
#include "control/config/place.h"

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

}  // namespace godwit::control
