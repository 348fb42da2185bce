// SPDX-License-Identifier: Apache-2.0
//
// RuleParser: a recursive-descent parser over the words of a line. It is internal to this room:
// flow_command.cc parses commands with it, and rule_completion.cc asks it what could follow. All
// other code uses flow_command.h.
//
// Each parsing method returns false on an error; after that only error(), expected() and ran_out()
// may be called. If the words run out, expected() is what could have followed, also after a
// success.
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

// What could be the next word: one of some fixed words, or a value.
struct Expected {
  std::vector<Completion> words;
  std::string value;      // description of the value; empty if there is none
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

  // Takes the next word if it is one of `words` and stores its index in `chosen`. Otherwise fails;
  // `what` says what the word is not.
  bool choose(const std::vector<Completion>& words, std::string_view what, size_t& chosen);
  // Takes the next word if it is `word`; a different word is not an error.
  bool take(std::string_view word);
  // Returns whether the words have run out; expected() then becomes `could_follow`.
  bool at_end(const Expected& could_follow);
  // Takes the next word. Returns an empty word at the end.
  std::string_view next();

  [[nodiscard]] const Error& error() const { return error_; }
  [[nodiscard]] const Expected& expected() const { return expected_; }
  // Returns whether the words ran out, as opposed to a word that is wrong.
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

// Parses a whole `flow` line. Defined in flow_command.cc.
bool parse_command(RuleParser& parser, FlowCommand& out);

// Returns the words as "a, b or c".
std::string join_words(const std::vector<Completion>& words);

}  // namespace godwit::dataplane
