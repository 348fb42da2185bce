// SPDX-License-Identifier: Apache-2.0
#include "control/cli/arguments.h"

#include <CLI/CLI.hpp>

#ifndef GODWIT_VERSION
#define GODWIT_VERSION "unknown"
#endif

namespace godwit::cli {
namespace {

constexpr const char* kFooter =
    "Without a command it starts a shell, or runs the lines of standard input if that is not a "
    "terminal.\n"
    "`godwit help` lists the commands. `migration export` and `migration import` write and read "
    "files on this side.\n"
    "Exit codes: 0 done, 1 refused, 2 usage error, 3 the daemon cannot be reached.";

}  // namespace

std::string join_words(const std::vector<std::string>& words) {
  std::string line;
  for (const std::string& word : words) {
    if (!line.empty()) line += ' ';
    line += word;
  }
  return line;
}

std::vector<Token> tokens_of(std::string_view line, const std::vector<std::string>& words) {
  std::vector<Token> tokens;
  size_t at = 0;
  for (const std::string& word : words) {
    tokens.push_back({line.substr(at, word.size()), static_cast<uint32_t>(at + 1)});
    at += word.size() + 1;
  }
  return tokens;
}

Result<Arguments> parse_arguments(int argc, const char* const* argv) {
  Arguments out;
  CLI::App app("godwit [OPTIONS] [COMMAND...]: runs commands of godwitd, the virtual switch",
               "godwit");
  app.footer(kFooter);
  app.allow_extras();
  app.add_option("--socket", out.socket, "the daemon's control socket")
      ->envname(kSocketVariable)
      ->capture_default_str();
  app.add_flag("--json", out.json, "print results and errors as JSON");
  app.add_option("-f,--file", out.file,
                 "run the lines of a file up to the first failure; - is standard input");
  app.add_option("--timeout", out.timeout_s, "seconds to wait for an answer")
      ->check(CLI::Range(0.001, 86400.0))
      ->capture_default_str();
  app.set_version_flag("--version", std::string("godwit ") + GODWIT_VERSION);
  try {
    app.parse(argc, argv);
  } catch (const CLI::CallForHelp&) {
    out.answer = app.help();
    return out;
  } catch (const CLI::CallForVersion& version) {
    out.answer = std::string(version.what()) + "\n";
    return out;
  } catch (const CLI::ParseError& error) {
    return fail(error.what());
  }
  out.words = app.remaining();
  for (const std::string& word : out.words) {
    if (word.size() > 1 && word[0] == '-') return fail("unknown option " + word);
  }
  if (!out.file.empty() && !out.words.empty())
    return fail("--file and a command exclude each other");
  return out;
}

}  // namespace godwit::cli
