// SPDX-License-Identifier: Apache-2.0
//
// The `godwit` command's options. The words that are no options are the command, joined by single
// blanks.
#pragma once

#include <string>
#include <vector>

#include "base/result.h"

namespace godwit::cli {

inline constexpr const char* kDefaultSocket = "/run/godwit/godwit.sock";
inline constexpr const char* kSocketVariable = "GODWIT_SOCKET";

struct Arguments {
  std::string socket = kDefaultSocket;
  bool json = false;
  std::string file;  // -f, empty: none
  double timeout_s = 30;
  std::vector<std::string> words;  // empty: the shell
  std::string answer;              // not empty: print this and be done (--help, --version)
};

// An error is a usage error; its message needs no more said.
Result<Arguments> parse_arguments(int argc, const char* const* argv);

std::string join_words(const std::vector<std::string>& words);

}  // namespace godwit::cli
