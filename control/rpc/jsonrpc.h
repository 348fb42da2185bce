// SPDX-License-Identifier: Apache-2.0
//
// JSON-RPC 2.0 as the control socket speaks it: one request object a line, no batches, parameters
// by name.
//
// A line that is no request has an answer as well, with id null. A request without id is a
// notification: it is carried out and not answered. Errors of ours are kRefused with
// {"column","token","expected"} where known.
//
// Pure functions, safe from any thread; nothing here throws for whatever the line holds.
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

inline constexpr size_t kMaxDepth = 64;  // of nested objects and arrays in a request

// What a method said: a result, or an error with its code.
struct RpcError {
  int code = kRefused;
  Error error;
};

// Carries out one method; false: `error` is set, otherwise `result`.
using RpcHandler = std::function<bool(const std::string& method, const nlohmann::json& params,
                                      nlohmann::json& result, RpcError& error)>;

// The same for methods that may take their time: calls `reply` once, before it returns or later.
using RpcReply = std::function<void(bool done, nlohmann::json result, RpcError error)>;
using RpcLaterHandler =
    std::function<void(const std::string& method, const nlohmann::json& params, RpcReply reply)>;

// The answer to one line, without newline; empty: none is due.
void answer_line(std::string_view line, const RpcLaterHandler& handler,
                 std::function<void(std::string answer)> answer);
std::string answer_line(std::string_view line, const RpcHandler& handler);

// An answer to no request in particular, without newline.
std::string error_line(int code, std::string_view message);

}  // namespace godwit::control
