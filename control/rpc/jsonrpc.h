// SPDX-License-Identifier: Apache-2.0
//
// JSON-RPC 2.0 on the control socket: one request object per line, no batches, parameters by name.
//
// A line that is not a request gets an answer with id null. A line that exceeds the bounds of
// base/json_bounds.h is refused before it is parsed. A request without id is a notification:
// it is carried out and not answered. An error of a command has the code kRefused, and
// {"column","token","expected"} if they are known.
//
// Thread safety: pure functions. They throw nothing, whatever the line holds.
#pragma once

#include <functional>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <string_view>

#include "base/result.h"

namespace godwit::control {

inline constexpr int kParseError = -32700;
inline constexpr int kInvalidRequest = -32600;
inline constexpr int kMethodNotFound = -32601;
inline constexpr int kInvalidParams = -32602;
inline constexpr int kRefused = -32000;

// The error of a method, with its code.
struct RpcError {
  int code = kRefused;
  Error error;
};

// Carries out one method. Returns whether `result` is set; otherwise `error` is.
using RpcHandler = std::function<bool(const std::string& method, const nlohmann::json& params,
                                      nlohmann::json& result, RpcError& error)>;

// Carries out one method that may take longer. Calls `reply` once, before it returns or later.
using RpcReply = std::function<void(bool done, nlohmann::json result, RpcError error)>;
using AsyncRpcHandler =
    std::function<void(const std::string& method, const nlohmann::json& params, RpcReply reply)>;

// Answers one line. The answer has no newline, and is empty for a notification.
void answer_line(std::string_view line, const AsyncRpcHandler& handler,
                 std::function<void(std::string answer)> answer);
std::string answer_line(std::string_view line, const RpcHandler& handler);

// Returns an error answer with id null, without newline.
std::string error_line(int code, std::string_view message);

}  // namespace godwit::control
