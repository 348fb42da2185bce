// SPDX-License-Identifier: Apache-2.0
//
// The exception by which a handler refuses a command. The dispatcher catches it and answers with
// its error. Unwinding destroys the handler's open transactions, which rolls them back.
#pragma once

#include <string>

#include "base/result.h"
#include "control/rpc/jsonrpc.h"

namespace godwit::control {

struct CommandRefusal {
  int code = kRefused;  // the JSON-RPC error code of the answer
  Error error;
};

// Throws a CommandRefusal with the code kRefused. `token` is the faulty word, and `expected` says
// what would be correct; either may be empty.
[[noreturn]] void refuse(std::string message, std::string token = {}, std::string expected = {});
// Throws a CommandRefusal with the code kRefused and this error.
[[noreturn]] void refuse(Error error);

// Returns the result's value. Refuses the command with the result's error if there is no value.
template <typename T>
T take(Result<T> result) {
  if (!result) refuse(std::move(result).error());
  return std::move(*result);
}
inline void take(Result<void> result) {
  if (!result) refuse(std::move(result).error());
}

// Converts the column of an error from a position in a part of a text to one in the whole text.
// Adds `by`, the number of bytes before the part, and limits the result to 1 through `last`. An
// error whose column is zero has no position and is left unchanged.
void shift_column(Error& error, int64_t by, size_t last);

}  // namespace godwit::control
