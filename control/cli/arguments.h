// SPDX-License-Identifier: Apache-2.0
//
// The options of the `godwit` command. All other words are the command to run.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "base/text.h"

namespace godwit::cli {

inline constexpr const char* kDefaultSocket = "/run/godwit/godwit.sock";
inline constexpr const char* kSocketVariable = "GODWIT_SOCKET";

struct Arguments {
  std::string socket = kDefaultSocket;
  bool json = false;
  std::string file;  // -f, if given
  double timeout_s = 30;
  std::vector<std::string> words;  // the command; empty for the shell
  std::string answer;              // the text of --help or --version, if asked for
};

// Parses the command line. An error is a usage error with a complete message.
Result<Arguments> parse_arguments(int argc, const char* const* argv);

// Joins the words with single blanks.
std::string join_words(const std::vector<std::string>& words);

// Returns the words as tokens of `line`, which is join_words(words). A word may contain blanks.
std::vector<Token> tokens_of(std::string_view line, const std::vector<std::string>& words);

}  // namespace godwit::cli
