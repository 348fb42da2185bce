// SPDX-License-Identifier: Apache-2.0
#include <algorithm>

#include "dataplane/rules/flow_command.h"
#include "dataplane/rules/rule_parser.h"
#include "dataplane/rules/vocabulary.h"

namespace godwit::dataplane {

namespace {

bool is_blank(char c) { return c == ' ' || c == '\t' || c == '\r' || c == '\n'; }

void offer(Completions& out, std::string_view typed, Completion candidate) {
  if (candidate.word.substr(0, typed.size()) == typed)
    out.candidates.push_back(std::move(candidate));
}

}  // namespace

// The parser reads the words before the one at the cursor. When it runs out of words, it knows what
// could follow.
Completions complete_flow_command(std::string_view line, size_t cursor,
                                  std::span<const std::string> names) {
  Completions out;
  line = line.substr(0, std::min(cursor, line.size()));
  out.begin = line.size();
  while (out.begin > 0 && !is_blank(line[out.begin - 1])) --out.begin;
  if (line.size() > kMaxRuleText) return out;
  const std::string_view typed = line.substr(out.begin);

  const std::string_view before = line.substr(0, out.begin);
  RuleParser parser(before);
  FlowCommand ignored;
  parse_command(parser, ignored);
  if (!parser.ran_out()) return out;
  // Nothing can follow within a comment.
  const size_t line_start =
      before.rfind('\n') == std::string_view::npos ? 0 : before.rfind('\n') + 1;
  for (size_t i = line_start; i < before.size(); ++i) {
    if (before[i] == '#' && (i == 0 || is_blank(before[i - 1]))) return out;
  }

  for (const Completion& word : parser.expected().words) offer(out, typed, word);
  if (before.find_first_not_of(" \t\r\n") == std::string_view::npos) {
    offer(out, typed, {"flow", "rules"});
  }
  if (parser.expected().endpoint) {
    for (const std::string& name : names) offer(out, typed, {name, "endpoint"});
  }
  out.value = parser.expected().value;
  return out;
}

}  // namespace godwit::dataplane
