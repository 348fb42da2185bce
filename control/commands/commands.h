// SPDX-License-Identifier: Apache-2.0
//
// Every command of the switch, in one table: its words for people, its method for programs, its
// help, and the functions that read the words into parameters, carry it out and print the result.
//
// A line of words and a method call are the same thing: words are read into the parameters that a
// program would send, the method runs, and the text is printed from its result. So nothing can be
// done in one way only. Errors carry the column (of the line), what stood there and what could have
// stood there.
//
// Thread safety: the control thread only.
#pragma once

#include <cstdint>
#include <functional>
#include <nlohmann/json_fwd.hpp>
#include <span>
#include <string>
#include <string_view>

#include "control/rpc/jsonrpc.h"

namespace godwit::dataplane {
class Fdb;
class PolicyStore;
class Ports;
}  // namespace godwit::dataplane
namespace godwit::migration {
class Engine;
class Journal;
}  // namespace godwit::migration

namespace godwit::control {

// What commands work on. The last four are the running switch without DPDK in sight; each gives a
// method's result.
struct Context {
  std::string host;
  std::string version;
  dataplane::PolicyStore& store;
  dataplane::Ports& ports;
  dataplane::Fdb& fdb;
  migration::Engine& engine;
  migration::Journal*
      journal;  // what commands change is written there before it is done; null: nowhere
  std::function<uint32_t()> now_s;          // the FDB's clock
  std::function<nlohmann::json()> drops;    // {"drops":{reason:n},"unpoliced_packets":n}
  std::function<nlohmann::json()> workers;  // {"workers":[...]}
  std::function<nlohmann::json()> memory;   // {"hugepages":..,"pools":[...],"heaps":[...]}
};

class WordReader;
using CommandDone = std::function<void(Result<nlohmann::json> data)>;

struct Command {
  std::string_view words;   // "show port stats"
  std::string_view params;  // as shown by help: "all|{port}"
  std::string_view method;  // "show.port.stats"
  std::string_view help;
  nlohmann::json (*read)(WordReader& words);
  nlohmann::json (*run)(Context& context, const nlohmann::json& params);
  std::string (*print)(const nlohmann::json& data, const nlohmann::json& params);
  // In place of `run`, for what others must answer first: calls `done` once, before it returns or
  // later.
  void (*begin)(Context& context, const nlohmann::json& params, CommandDone done) = nullptr;
};

std::span<const Command> commands();

// The control socket's handler: each command's method, and `command`, `complete`, `help`.
//   command  {"line"}           -> {"text","data"}
//   complete {"line","cursor"?} -> {"begin","candidates":[{"word","help"}],"value"}
//   help     {"command"?}       -> {"commands":[{"words","params","method","help"}]}
void call_later(Context& context, const std::string& method, const nlohmann::json& params,
                RpcReply reply);
// For methods that answer at once; one that does not is refused.
bool call(Context& context, const std::string& method, const nlohmann::json& params,
          nlohmann::json& result, RpcError& error);

// What could stand at `cursor` (bytes): the result of `complete`.
nlohmann::json complete_line(Context& context, std::string_view line, size_t cursor);

}  // namespace godwit::control
