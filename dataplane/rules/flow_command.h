// SPDX-License-Identifier: Apache-2.0
//
// The rule language as text: testpmd's `flow` commands (DPDK 22.11), parsed, printed, completed and
// documented from the one table in rule_table.h.
//
//   [flow] validate|create {port} [group N] [priority N] ingress|egress|transfer
//          pattern ITEM [FIELD is|spec|last|mask|prefix VALUE]... / ... / end actions ACTION [ARG
//          VALUE]... / ... / end
//   [flow] destroy {port} rule N [rule N]...
//   [flow] flush {port}
//   [flow] query {port} {rule} count
//   [flow] list {port} [group N]...
//   [flow] dump {port} all [FILE] | rule N [FILE]
//
// {port}, and each port in a rule, is a number or an endpoint's name; a number is kept as decimal
// text, and whoever knows the ports rewrites it (for_each_endpoint_name). Numbers are decimal, 0x
// hex or 0 octal, as in testpmd. A word that starts with `#` ends the line. Words are exact:
// testpmd knows no abbreviations here.
//
// What is written without a mask gets rte_flow's default mask of the whole item, as testpmd and
// PMDs do it: `tcp dst spec 80` without any mask also matches source port 0. `is` is what people
// mean, and is what to_text() prints.
//
// Errors carry the column (1-based, in bytes of the text given), what stood there and what could
// stand there. Pure functions: safe from any thread, nothing thrown, input of any length and
// content.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "dataplane/rules/rule.h"

namespace godwit::dataplane {

enum class FlowVerb : uint8_t {
  kInvalid = 0,
  kValidate,
  kCreate,
  kDestroy,
  kFlush,
  kQuery,
  kList,
  kDump,
};

struct FlowCommand {
  FlowVerb verb = FlowVerb::kInvalid;
  std::string port;  // decimal number or endpoint name
  Rule rule;         // validate, create
  std::vector<uint32_t>
      rule_ids;                  // destroy: at least one; query: one; dump: one, or none for `all`
  std::vector<uint32_t> groups;  // list: which groups, none = all
  std::string file;              // dump: where to, empty = to the caller
  bool operator==(const FlowCommand&) const = default;
};

Result<FlowCommand> parse_flow_command(std::string_view line);
// Attributes, pattern and actions alone.
Result<Rule> parse_rule(std::string_view text);

// Canonical text: parse_rule(to_text(rule)) == rule for each rule in normal form (rule.h), and
// testpmd takes it once names are numbers (except the action `normal`).
std::string to_text(const Rule& rule);
// With the leading `flow`.
std::string to_text(const FlowCommand& command);
std::string_view verb_name(FlowVerb verb);

// A name that an endpoint may have: a letter, then letters, digits and `.` `_` `/` `-`, 63 in all
// at most.
bool is_endpoint_name(std::string_view text);

struct Completion {
  std::string word;
  std::string help;
  bool operator==(const Completion&) const = default;
};

struct Completions {
  size_t begin = 0;  // byte of the line where the word to replace begins; it ends at the cursor
  std::vector<Completion>
      candidates;     // words that could stand there and begin as what is there does
  std::string value;  // what value could be typed there ("a number up to 65535"), empty = none
};

// What could stand at `cursor` (a byte offset, cut to the line's length). `names`: the endpoints to
// offer for ports.
Completions complete_flow_command(std::string_view line, size_t cursor,
                                  std::span<const std::string> names);

// docs/user/rules.md.
std::string rule_reference_markdown();

}  // namespace godwit::dataplane
