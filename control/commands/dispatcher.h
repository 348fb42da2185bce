// SPDX-License-Identifier: Apache-2.0
//
// Answers the requests of the control socket: each command's method, and three methods about
// command lines.
//
//   command  {"line"}           -> {"text","data"}
//   complete {"line","cursor"?} -> {"begin","candidates":[{"word","help"}],"value"}
//   help     {"command"?}       -> {"commands":[{"words","params","method","help"}]}
//
// An error of `command` carries the column in the line, the word that stood there and what was
// expected.
//
// Thread safety: the control thread only.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>

#include "control/commands/command_context.h"
#include "control/rpc/jsonrpc.h"

namespace godwit::control {

// Runs a method and calls `reply` once, before it returns or later.
void call_async(CommandContext& context, const std::string& method, const nlohmann::json& params,
                RpcReply reply);

// Runs a method that replies before it returns, and refuses any other. Returns whether `result` is
// set; otherwise `error` is.
bool call(CommandContext& context, const std::string& method, const nlohmann::json& params,
          nlohmann::json& result, RpcError& error);

}  // namespace godwit::control
