// SPDX-License-Identifier: Apache-2.0
//
// libFuzzer target: parses any bytes as a flow line. A command that is accepted must be equal after
// it was printed and parsed again, and its match must compile or be refused. Completion must accept
// the same bytes.
#include <cstdlib>
#include <string>
#include <string_view>
#include <vector>

#include "dataplane/rules/flow_command.h"
#include "dataplane/rules/match.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace godwit::dataplane;
  const std::string_view line(reinterpret_cast<const char*>(data), size);
  const auto command = parse_flow_command(line);
  if (command) {
    const auto again = parse_flow_command(to_text(*command));
    if (!again || !(*again == *command)) std::abort();
    (void)compile_match(command->rule).has_value();
  }
  const std::vector<std::string> names = {"vm1/net0"};
  (void)complete_flow_command(line, size, names);
  return 0;
}
