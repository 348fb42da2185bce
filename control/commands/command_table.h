// SPDX-License-Identifier: Apache-2.0
//
// The table of all commands. A row has the command's words for people, its method for programs, its
// help, and the functions that read the words into parameters, run the command and print the
// result.
//
// A line of words and a method call are the same thing: the words become the parameters that a
// program would send, the method runs, and the text is printed from its result. So every command
// is available to both.
//
// A command's name is never changed; a new name is added beside it.
//
// Thread safety: constants.
#pragma once

#include <functional>
#include <nlohmann/json_fwd.hpp>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "base/text.h"

namespace godwit::control {

struct CommandContext;
class WordReader;
using CommandDone = std::function<void(Result<nlohmann::json> data)>;

struct Command {
  std::string_view words;   // "show port stats"
  std::string_view params;  // as shown by help: "all|{port}"
  std::string_view method;  // "show.port.stats"
  std::string_view help;
  nlohmann::json (*read)(WordReader& words);
  nlohmann::json (*run)(CommandContext& context, const nlohmann::json& params);
  std::string (*print)(const nlohmann::json& data, const nlohmann::json& params);
  // Replaces `run` in commands that wait for another host. Calls `done` once, before it returns or
  // later.
  void (*begin)(CommandContext& context, const nlohmann::json& params, CommandDone done) = nullptr;
};

std::span<const Command> commands();

// Returns the words of a command of the table.
const std::vector<std::string_view>& words_of(const Command& command);

// Returns how many words at the start of the line are equal to the command's first words.
size_t common_words(std::span<const Token> line, const Command& command);

// Returns the command whose words begin the line. Refuses a line that names none, with the column
// of the first word that fits no command.
const Command& find_command(std::string_view line, std::span<const Token> words);

}  // namespace godwit::control
