// SPDX-License-Identifier: Apache-2.0
#include <unistd.h>

#include <iostream>

#include "control/cli/arguments.h"
#include "control/cli/client.h"
#include "control/cli/session.h"
#include "control/cli/shell.h"

int main(int argc, char** argv) {
  using namespace godwit::cli;
  const auto arguments = parse_arguments(argc, argv);
  if (!arguments) {
    std::cerr << "godwit: " << arguments.error().message << "\n`godwit --help` shows the usage.\n";
    return static_cast<int>(ExitCode::kUsage);
  }
  if (!arguments->answer.empty()) {  // --help or --version
    std::cout << arguments->answer;
    return static_cast<int>(ExitCode::kDone);
  }
  Client client(arguments->socket, arguments->timeout_s);
  Session session(client, arguments->json, std::cout, std::cerr);
  ExitCode code = ExitCode::kDone;
  if (!arguments->file.empty()) {
    code = session.run_file(arguments->file);
  } else if (!arguments->words.empty()) {
    code = session.run_words(arguments->words);
  } else if (isatty(STDIN_FILENO) != 0) {
    code = run_shell(client, session);
  } else {
    code = session.run_lines(std::cin);
  }
  return static_cast<int>(code);
}
