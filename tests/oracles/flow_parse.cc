// SPDX-License-Identifier: Apache-2.0
//
// Reads `flow` lines from standard input and prints the result of the parser for each, for tests in
// other languages: "ok TAB canonical text" or "err TAB column TAB token TAB message TAB expected".
// With --reference it prints docs/user/rules.md.
#include <iostream>
#include <string>
#include <string_view>

#include "dataplane/rules/flow_command.h"

int main(int argc, char** argv) {
  if (argc == 2 && std::string_view(argv[1]) == "--reference") {
    std::cout << godwit::dataplane::rule_reference_markdown();
    return 0;
  }
  std::string line;
  while (std::getline(std::cin, line)) {
    const auto parsed = godwit::dataplane::parse_flow_command(line);
    if (parsed) {
      std::cout << "ok\t" << to_text(*parsed) << '\n';
    } else {
      const godwit::Error& error = parsed.error();
      std::cout << "err\t" << error.column << '\t' << error.token << '\t' << error.message << '\t'
                << error.expected << '\n';
    }
  }
  return 0;
}
