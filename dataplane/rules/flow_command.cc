// SPDX-License-Identifier: Apache-2.0
#include "dataplane/rules/flow_command.h"

#include "dataplane/rules/rule_parser.h"
#include "dataplane/rules/vocabulary.h"

namespace godwit::dataplane {

namespace {

struct Verb {
  FlowVerb verb;
  std::string_view name;
  std::string_view help;
};

constexpr Verb kVerbs[] = {
    {FlowVerb::kValidate, "validate", "check whether a rule could be created"},
    {FlowVerb::kCreate, "create", "create a rule"},
    {FlowVerb::kDestroy, "destroy", "destroy rules by their numbers"},
    {FlowVerb::kFlush, "flush", "destroy all rules of a port"},
    {FlowVerb::kQuery, "query", "show the counters of a rule"},
    {FlowVerb::kList, "list", "list the rules of a port"},
    {FlowVerb::kDump, "dump", "show rules with all details"},
};

std::vector<Completion> verb_words() {
  std::vector<Completion> words;
  for (const Verb& verb : kVerbs) words.push_back({std::string(verb.name), std::string(verb.help)});
  return words;
}

const std::vector<Completion>& rule_word() {
  static const std::vector<Completion> word = {{"rule", "a rule by its number"}};
  return word;
}

bool parse_rule_id(RuleParser& parser, FlowCommand& out) {
  uint32_t id = 0;
  if (!parser.number(id, "a rule's number")) return false;
  out.rule_ids.push_back(id);
  return true;
}

bool parse_destroy(RuleParser& parser, FlowCommand& out) {
  size_t chosen = 0;
  do {
    if (!parser.choose(rule_word(), "the word rule", chosen) || !parse_rule_id(parser, out))
      return false;
  } while (!parser.at_end({rule_word(), {}, false}));
  return true;
}

bool parse_query(RuleParser& parser, FlowCommand& out) {
  size_t chosen = 0;
  return parse_rule_id(parser, out) &&
         parser.choose({{"count", "packets and bytes"}}, "an action that can be queried", chosen);
}

bool parse_list(RuleParser& parser, FlowCommand& out) {
  const std::vector<Completion> words = {{"group", "only rules of this group"}};
  while (!parser.at_end({words, {}, false})) {
    size_t chosen = 0;
    uint32_t group = 0;
    if (!parser.choose(words, "the word group", chosen) || !parser.number(group, "a group"))
      return false;
    out.groups.push_back(group);
  }
  return true;
}

bool parse_dump(RuleParser& parser, FlowCommand& out) {
  const std::vector<Completion> words = {{"all", "all rules of the port"}, {"rule", "one rule"}};
  size_t chosen = 0;
  if (!parser.choose(words, "what to dump", chosen)) return false;
  if (chosen == 1 && !parse_rule_id(parser, out)) return false;
  if (!parser.at_end({{}, "a file's name", false})) out.file = std::string(parser.next());
  return true;
}

bool parse_verb(RuleParser& parser, FlowCommand& out) {
  switch (out.verb) {
    case FlowVerb::kValidate:
    case FlowVerb::kCreate: return parser.rule(out.rule);
    case FlowVerb::kDestroy: return parse_destroy(parser, out);
    case FlowVerb::kQuery: return parse_query(parser, out);
    case FlowVerb::kList: return parse_list(parser, out);
    case FlowVerb::kDump: return parse_dump(parser, out);
    case FlowVerb::kFlush:
    case FlowVerb::kInvalid: break;
  }
  return true;
}

}  // namespace

bool parse_command(RuleParser& parser, FlowCommand& out) {
  parser.take("flow");
  size_t chosen = 0;
  if (!parser.choose(verb_words(), "a flow command", chosen)) return false;
  out.verb = kVerbs[chosen].verb;
  return parser.port(out.port) && parse_verb(parser, out) && parser.end_of_line();
}

std::string_view verb_name(FlowVerb verb) {
  for (const Verb& known : kVerbs) {
    if (known.verb == verb) return known.name;
  }
  return "";
}

Result<FlowCommand> parse_flow_command(std::string_view line) {
  if (line.size() > kMaxRuleText) return fail("a line is at most 64 KiB long");
  RuleParser parser(line);
  FlowCommand command;
  if (!parse_command(parser, command)) return fail(parser.error());
  return command;
}

std::string to_text(const FlowCommand& command) {
  std::string out = "flow " + std::string(verb_name(command.verb)) + " " + command.port;
  switch (command.verb) {
    case FlowVerb::kValidate:
    case FlowVerb::kCreate: out += " " + to_text(command.rule); break;
    case FlowVerb::kDestroy:
      for (const uint32_t id : command.rule_ids) out += " rule " + std::to_string(id);
      break;
    case FlowVerb::kQuery:
      for (const uint32_t id : command.rule_ids) out += " " + std::to_string(id);
      out += " count";
      break;
    case FlowVerb::kList:
      for (const uint32_t group : command.groups) out += " group " + std::to_string(group);
      break;
    case FlowVerb::kDump:
      if (command.rule_ids.empty()) out += " all";
      for (const uint32_t id : command.rule_ids) out += " rule " + std::to_string(id);
      if (!command.file.empty()) out += " " + command.file;
      break;
    case FlowVerb::kFlush:
    case FlowVerb::kInvalid: break;
  }
  return out;
}

}  // namespace godwit::dataplane
