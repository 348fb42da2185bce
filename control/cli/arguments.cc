// SPDX-License-Identifier: Apache-2.0
#include "control/cli/arguments.h"

#include <CLI/CLI.hpp>

#ifndef GODWIT_VERSION
#define GODWIT_VERSION "unknown"
#endif

namespace godwit::cli {
namespace {

constexpr const char* kFooter =
    "Without a command: the shell, or the lines of standard input where that is no terminal.\n"
    "`godwit help` lists the commands. Files of `migration export` and `import` are read and "
    "written here.\n"
    "Exit codes: 0 done, 1 refused, 2 usage, 3 the daemon cannot be reached.";

}  // namespace

std::string join_words(const std::vector<std::string>& words) {
  std::string line;
  for (const std::string& word : words) {
    if (!line.empty()) line += ' ';
    line += word;
  }
  return line;
}

Result<Arguments> parse_arguments(int argc, const char* const* argv) {
  Arguments out;
  CLI::App app("godwit [OPTIONS] [COMMAND...]: a command for godwitd, the virtual switch",
               "godwit");
  app.footer(kFooter);
  app.allow_extras();
  app.add_option("--socket", out.socket, "the daemon's control socket")
      ->envname(kSocketVariable)
      ->capture_default_str();
  app.add_flag("--json", out.json, "print results and errors as JSON");
  app.add_option("-f,--file", out.file,
                 "run each line of a file (-: standard input), up to the first failure");
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
    if (word.size() > 1 && word[0] == '-') return fail("there is no option " + word);
  }
  if (!out.file.empty() && !out.words.empty())
    return fail("a file of commands and a command: one of them");
  return out;
}

}  // namespace godwit::cli
