// SPDX-License-Identifier: Apache-2.0
#include "control/commands/dispatcher.h"

#include <algorithm>
#include <exception>
#include <memory>
#include <optional>

#include "base/text.h"
#include "control/commands/command_refusal.h"
#include "control/commands/command_table.h"
#include "control/commands/completion.h"
#include "control/commands/parameters.h"
#include "control/commands/word_reader.h"

namespace godwit::control {
namespace {

void run_one(CommandContext& context, const Command& command, const Json& params,
             const CommandDone& done) {
  if (command.begin != nullptr) return command.begin(context, params, done);
  done(command.run(context, params));
}

void reply_with(Result<Json> data, const RpcReply& reply) {
  if (data) return reply(true, std::move(*data), {});
  reply(false, nullptr, {kRefused, std::move(data).error()});
}

// Moves the error of a command to its column in the line. An error in the parameter "text" of the
// flow commands counts from `text_column`. An error that has only a word gets the column of that
// word.
void place_in_line(Error& error, std::string_view line, const std::vector<Token>& words,
                   std::optional<uint32_t> text_column) {
  if (error.column > 0 && text_column) {
    shift_column(error, *text_column - 1, line.size() + 1);
  } else if (error.column == 0 && !error.token.empty()) {
    const auto found = std::ranges::find(words, error.token, &Token::text);
    if (found != words.end()) error.column = found->column;
  }
}

void run_line(CommandContext& context, const std::string& line, const RpcReply& reply) {
  const std::vector<Token> words = tokenize(line);
  if (words.empty()) return reply(true, {{"text", ""}, {"data", Json::object()}}, {});
  const Command& command = find_command(line, words);
  const size_t own = words_of(command).size();
  WordReader reader(line, {words.begin() + static_cast<std::ptrdiff_t>(own), words.end()});
  const Json params = command.read(reader);
  try {
    run_one(context, command, params, [&command, params, reply](Result<Json> data) {
      if (!data) return reply_with(std::move(data), reply);
      std::string text = command.print(*data, params);
      reply(true, {{"text", std::move(text)}, {"data", std::move(*data)}}, {});
    });
  } catch (CommandRefusal& refusal) {
    std::optional<uint32_t> text_column;
    if (params.contains("text"))
      text_column = own < words.size() ? words[own].column : static_cast<uint32_t>(line.size() + 2);
    place_in_line(refusal.error, line, words, text_column);
    throw;
  }
}

void run_method(CommandContext& context, const std::string& method, const Json& json,
                const RpcReply& reply) {
  if (method == "command") {
    const Parameters params(json, {"line"});
    return run_line(context, params.text("line"), reply);
  }
  if (method == "complete") {
    const Parameters params(json, {"line", "cursor"});
    const std::string line = params.text("line");
    const size_t cursor =
        params.has("cursor") ? params.number("cursor", 0, UINT32_MAX) : line.size();
    return reply(true, complete_line(context, line, cursor), {});
  }
  for (const Command& command : commands()) {
    if (command.method == method)
      return run_one(context, command, json,
                     [reply](Result<Json> data) { reply_with(std::move(data), reply); });
  }
  throw CommandRefusal{kMethodNotFound, Error{"there is no method " + printable(method)}};
}

}  // namespace

void call_async(CommandContext& context, const std::string& method, const Json& params,
                RpcReply reply) {
  RpcError error;
  try {
    return run_method(context, method, params, reply);
  } catch (CommandRefusal& refusal) {
    error = {refusal.code, std::move(refusal.error)};
  } catch (const std::exception& defect) {
    // A defect in a handler. The client gets an error, and the switch keeps running.
    error = {kRefused, Error{std::string("internal error: ") + defect.what()}};
  }
  reply(false, nullptr, std::move(error));
}

bool call(CommandContext& context, const std::string& method, const Json& params, Json& result,
          RpcError& error) {
  struct Reply {
    bool done = false;
    Json result;
    RpcError error{kRefused, Error{"not answered at once"}};
  };
  const auto got = std::make_shared<Reply>();
  call_async(context, method, params, [got](bool done, Json data, RpcError refused) {
    *got = {done, std::move(data), std::move(refused)};
  });
  result = got->result;
  error = got->error;
  return got->done;
}

}  // namespace godwit::control
