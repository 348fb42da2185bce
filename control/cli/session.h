// SPDX-License-Identifier: Apache-2.0
//
// Runs commands one after another over one client: from argv, a file, or a shell. Results go to
// `out`, errors to `err`. With --json errors go to `out` as {"error": ...}.
//
// Thread safety: none.
#pragma once

#include <iosfwd>
#include <string>
#include <string_view>
#include <vector>

#include "base/text.h"
#include "control/cli/client.h"
#include "control/cli/exit_code.h"

namespace godwit::cli {

class Session {
 public:
  Session(Client& client, bool json, std::ostream& out, std::ostream& err)
      : client_(client), json_(json), out_(out), err_(err) {}

  // Runs one line. An error's message begins with `place` ("FILE:LINE") if that is given. A line
  // without words does nothing.
  ExitCode run(const std::string& line, std::string_view place = {});
  // Runs the command of argv.
  ExitCode run_words(const std::vector<std::string>& words);

  // Runs the lines of a file, or of standard input for "-", up to the first failure.
  ExitCode run_file(const std::string& path);
  // Runs the lines up to `quit` or the end. Stops early only if the daemon cannot be reached.
  // Returns the code of the first failure.
  ExitCode run_lines(std::istream& in);

  // Returns whether the line is `quit` or `exit`.
  [[nodiscard]] static bool ends(std::string_view line);

 private:
  ExitCode run(std::string_view line, const std::vector<Token>& words, std::string_view place);
  ExitCode report(ExitCode code, const nlohmann::json& error, std::string_view line,
                  std::string_view place);

  Client& client_;
  const bool json_;
  std::ostream& out_;
  std::ostream& err_;
};

}  // namespace godwit::cli
