// SPDX-License-Identifier: Apache-2.0
//
// How a command is refused: it throws a CommandRefusal, which the dispatcher turns into the error
// of the answer. A refusal leaves no other way. Transactions that were open are undone by their
// destructors.
#pragma once

#include <string>

#include "base/result.h"
#include "control/rpc/jsonrpc.h"

namespace godwit::control {

struct CommandRefusal {
  int code = kRefused;
  Error error;
};

[[noreturn]] void refuse(std::string message, std::string token = {}, std::string expected = {});
[[noreturn]] void refuse(Error error);

// Returns the result's value, or refuses with its error.
template <typename T>
T take(Result<T> result) {
  if (!result) refuse(std::move(result).error());
  return std::move(*result);
}
inline void take(Result<void> result) {
  if (!result) refuse(std::move(result).error());
}

// Moves the column of an error from a part of a text to the whole text: the part's column 1 is the
// whole's column 1 + `by`. The column stays within 1 and `last`. An error without a column stays
// without.
void shift_column(Error& error, int64_t by, size_t last);

}  // namespace godwit::control
