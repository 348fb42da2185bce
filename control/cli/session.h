// SPDX-License-Identifier: Apache-2.0
//
// Commands run one after another over one client: from argv, a file, or a shell. Results go to
// `out`, errors to `err` (with --json, errors go to `out` as {"error": ...}).
//
// Thread safety: none.
#pragma once

#include <iosfwd>
#include <string>
#include <string_view>
#include <vector>

#include "control/cli/client.h"
#include "control/cli/exit_code.h"

namespace godwit::cli {

class Session {
 public:
  Session(Client& client, bool json, std::ostream& out, std::ostream& err)
      : client_(client), json_(json), out_(out), err_(err) {}

  // `place`: "FILE:LINE", put before an error's message. A line without words is done at once.
  ExitCode run(const std::string& line, std::string_view place = {});
  ExitCode run_words(const std::vector<std::string>& words);

  // Each line of a file ("-": standard input), up to the first that fails.
  ExitCode run_file(const std::string& path);
  // Each line up to `quit` or the end, whatever fails but the daemon itself; the first failure's
  // code.
  ExitCode run_lines(std::istream& in);

  // `quit` or `exit`.
  [[nodiscard]] static bool ends(std::string_view line);

 private:
  ExitCode run(const std::string& line, const std::vector<std::string>& words,
               std::string_view place);
  ExitCode report(ExitCode code, const nlohmann::json& error, std::string_view line,
                  std::string_view place);

  Client& client_;
  const bool json_;
  std::ostream& out_;
  std::ostream& err_;
};

}  // namespace godwit::cli
