// SPDX-License-Identifier: Apache-2.0
//
// The rule language as text: testpmd's `flow` commands (DPDK 22.11). They are parsed, printed,
// completed and documented from the tables in vocabulary.h.
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
// {port}, and each port in a rule, is a number or an endpoint's name. A number is kept as decimal
// text; a caller that knows the ports rewrites it (for_each_endpoint_name). Numbers are decimal, 0x
// hexadecimal or 0 octal, as in testpmd. A word that begins with `#` starts a comment, which ends
// with the line. Words cannot be abbreviated, as in testpmd.
//
// An item in which nothing has a mask gets rte_flow's default mask of the whole item, as in testpmd
// and PMDs. So `tcp dst spec 80` without any mask also requires source port 0. Users usually mean
// `is`, which is also what to_text() prints.
//
// Errors have the column (1-based, in bytes of the given text), the word there and what was
// expected.
//
// Thread safety: pure functions. They throw nothing and accept input of any length and content.
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
  std::string port;  // a decimal number or an endpoint's name
  Rule rule;         // for validate and create
  // At least one for destroy, one for query, and one or none (`all`) for dump.
  std::vector<uint32_t> rule_ids;
  std::vector<uint32_t> groups;  // for list; empty lists all groups
  std::string file;              // for dump; empty prints to the caller
  bool operator==(const FlowCommand&) const = default;
};

Result<FlowCommand> parse_flow_command(std::string_view line);
// Parses a rule alone: attributes, pattern and actions.
Result<Rule> parse_rule(std::string_view text);

// Returns the canonical text: parse_rule(to_text(rule)) == rule for each rule in normal form
// (rule.h). testpmd accepts the text once names are replaced by numbers, except for the action
// `normal`.
std::string to_text(const Rule& rule);
// Returns the canonical text of a command, with the leading `flow`.
std::string to_text(const FlowCommand& command);
std::string_view verb_name(FlowVerb verb);

// Returns whether an endpoint may have this name: a letter, then letters, digits, `.`, `_`, `/` and
// `-`, at most 63 characters.
bool is_endpoint_name(std::string_view text);

struct Completion {
  std::string word;
  std::string help;
  bool operator==(const Completion&) const = default;
};

struct Completions {
  size_t begin = 0;  // first byte of the word to replace, which ends at the cursor
  std::vector<Completion> candidates;  // words that could be there and begin with the typed text
  std::string value;  // a value that could be there ("a number up to 65535"), or empty
};

// Returns what could be at `cursor`, a byte offset that is limited to the length of the line.
// `names` are the endpoints that are offered for ports.
Completions complete_flow_command(std::string_view line, size_t cursor,
                                  std::span<const std::string> names);

// Returns the text of docs/user/rules.md.
std::string rule_reference_markdown();

}  // namespace godwit::dataplane
