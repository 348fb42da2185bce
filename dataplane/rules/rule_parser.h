// SPDX-License-Identifier: Apache-2.0
//
// Inside of the rule language: a recursive-descent parser over words. flow_command.cc parses
// commands with it and rule_completion.cc asks it what could follow; everyone else uses
// flow_command.h.
//
// Each method returns false after it has noted the error; nothing is to be read after that but
// error() and expected(). Whenever the words run out, expected() is what could have stood there,
// also after a success.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "base/text.h"
#include "dataplane/rules/flow_command.h"
#include "dataplane/rules/rule.h"
#include "dataplane/rules/vocabulary.h"

namespace godwit::dataplane {

// What could stand somewhere: fixed words, and perhaps a value.
struct Expected {
  std::vector<Completion> words;
  std::string value;      // in words, empty = none
  bool endpoint = false;  // the value is an endpoint's name
  [[nodiscard]] std::string text() const;
};

class RuleParser {
 public:
  explicit RuleParser(std::string_view text);

  bool rule(Rule& out);
  bool port(std::string& out, uint8_t width = 16);
  bool number(uint32_t& out, std::string_view what);
  bool end_of_line();

  // The next word is one of `words`: takes it and says which; otherwise fails with `what`.
  bool choose(const std::vector<Completion>& words, std::string_view what, size_t& chosen);
  bool take(std::string_view word);
  // The words have run out: what could have stood here, were there more?
  bool at_end(const Expected& could_follow);
  std::string_view next();

  [[nodiscard]] const Error& error() const { return error_; }
  [[nodiscard]] const Expected& expected() const { return expected_; }
  // The words ran out, rather than one of them being wrong.
  [[nodiscard]] bool ran_out() const { return ran_out_; }

 private:
  struct ItemState;

  bool attributes(RuleAttributes& out);
  bool pattern(std::vector<PatternItem>& out);
  bool item(PatternItem& out);
  bool field(const ItemInfo& info, uint16_t index, ItemState& state);
  bool origin_field(const FieldInfo& info, size_t parameter, ItemState& state);
  bool finish_item(const ItemInfo& info, const ItemState& state, Token at, PatternItem& out);
  bool actions(std::vector<Action>& out);
  bool action(Action& out);
  bool value(Format format, uint8_t width, FieldBytes& out);
  bool separator(std::vector<Completion> also, std::string_view what);

  [[nodiscard]] bool has_word() const { return position_ < words_.size(); }
  [[nodiscard]] Token here() const;
  bool fail_here(std::string message, Expected expected);
  bool fail_at(Token at, std::string message, std::string expected);

  std::vector<Token> words_;
  size_t position_ = 0;
  uint32_t end_column_ = 1;
  Error error_;
  Expected expected_;
  bool ran_out_ = false;
};

// A whole `flow` line (flow_command.cc).
bool parse_command(RuleParser& parser, FlowCommand& out);

// A number as strtoumax reads it with base 0, without a sign but `+`: all of `text` or nothing.
bool read_number(std::string_view text, uint64_t& out);
// One line for a value of this format and width: "a number up to 65535".
std::string value_help(Format format, uint8_t width);
// "a, b or c".
std::string join_words(const std::vector<Completion>& words);

}  // namespace godwit::dataplane
