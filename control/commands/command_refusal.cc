// SPDX-License-Identifier: Apache-2.0
#include "control/commands/command_refusal.h"

#include <algorithm>

namespace godwit::control {

void refuse(std::string message, std::string token, std::string expected) {
  refuse(Error{std::move(message), 0, 0, std::move(token), std::move(expected)});
}

void refuse(Error error) { throw CommandRefusal{kRefused, std::move(error)}; }

void shift_column(Error& error, int64_t by, size_t last) {
  if (error.column == 0) return;
  const auto shifted = std::clamp<int64_t>(error.column + by, 1, static_cast<int64_t>(last));
  error.column = static_cast<uint32_t>(shifted);
}

}  // namespace godwit::control
