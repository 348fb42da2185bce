// SPDX-License-Identifier: Apache-2.0
//
// The exception that carries the first error out of nested readers. No exception leaves
// control/config/: the functions in config_reader.h and config_policy.h catch it and return its
// error.
#pragma once

#include <string>

#include "base/result.h"
#include "control/config/place.h"

namespace godwit::control {

struct ConfigRefusal {
  Error error;
};

// Throws a ConfigRefusal with the error that error_at() returns for these arguments.
[[noreturn]] inline void refuse_at(const Place& place, const std::string& what,
                                   const std::string& expected = {}) {
  throw ConfigRefusal{error_at(place, what, expected)};
}

}  // namespace godwit::control
