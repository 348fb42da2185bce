// SPDX-License-Identifier: Apache-2.0
#include "dataplane/rules/rule_parser.h"

#include <algorithm>
#include <array>
#include <limits>
#include <optional>

#include "dataplane/rules/value_text.h"

namespace godwit::dataplane {

namespace {

enum Parameter : size_t { kIs, kSpec, kLast, kMask, kPrefix };

const std::vector<Completion>& parameters() {
  static const std::vector<Completion> list = {
      {"is", "match exactly this value"},
      {"spec", "match this value under the mask"},
      {"last", "upper end of a range that begins at spec"},
      {"mask", "mask of the bits to compare"},
      {"prefix", "number of leading bits to compare"},
  };
  return list;
}

const std::vector<Completion>& attribute_words() {
  static const std::vector<Completion> list = {
      {"group", "group of the rule; packets start in group 0"},
      {"priority", "priority of the rule; the lowest wins"},
      {"ingress", "packets that the endpoint sends"},
      {"egress", "packets that are delivered to the endpoint"},
      {"transfer", "packets from anywhere, or from the endpoint the pattern names"},
      {"pattern", "what to match"},
  };
  return list;
}

bool is_space(char c) { return c == ' ' || c == '\t' || c == '\r' || c == '\n'; }

bool is_zero(const FieldBytes& bytes) {
  return std::all_of(bytes.begin(), bytes.end(), [](uint8_t b) { return b == 0; });
}

FieldBytes masked(FieldBytes bytes, const FieldBytes& mask) {
  for (size_t i = 0; i < bytes.size(); ++i) bytes[i] = static_cast<uint8_t>(bytes[i] & mask[i]);
  return bytes;
}

// Returns whether two fields of an item share bits of the key, as tci does with pcp, dei and vid.
bool overlap(const FieldInfo& a, const FieldInfo& b) {
  if (a.key_offset != b.key_offset || a.key_size != b.key_size) return false;
  return a.shift < b.shift + b.width && b.shift < a.shift + a.width;
}

std::vector<Completion> item_words(bool with_end) {
  std::vector<Completion> words;
  for (const ItemInfo& info : items())
    words.push_back({std::string(info.name), std::string(info.help)});
  if (with_end) words.push_back({"end", "the pattern ends here"});
  return words;
}

std::vector<Completion> action_words(bool with_end) {
  std::vector<Completion> words;
  for (const ActionInfo& info : actions())
    words.push_back({std::string(info.name), std::string(info.help)});
  if (with_end) words.push_back({"end", "the actions end here"});
  return words;
}

std::vector<Completion> field_words(const ItemInfo& info) {
  std::vector<Completion> words;
  for (const FieldInfo& field : info.fields)
    words.push_back({std::string(field.name), std::string(field.help)});
  return words;
}

std::string quoted(std::string_view word) { return '"' + printable(word, "") + '"'; }

}  // namespace

std::string join_words(const std::vector<Completion>& words) {
  std::string out;
  for (size_t i = 0; i < words.size(); ++i) {
    if (i > 0) out += i + 1 == words.size() ? " or " : ", ";
    out += words[i].word;
  }
  return out;
}

std::string Expected::text() const {
  if (value.empty()) return join_words(words);
  return words.empty() ? value : value + ", " + join_words(words);
}

bool is_endpoint_name(std::string_view text) {
  const auto letter = [](char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); };
  if (text.empty() || text.size() > kMaxEndpointName || !letter(text[0])) return false;
  return std::all_of(text.begin(), text.end(), [&](char c) {
    return letter(c) || (c >= '0' && c <= '9') || c == '.' || c == '_' || c == '/' || c == '-';
  });
}

// The values of an item's fields so far. They are stored as in a flow key, so that fields that
// share bits override each other as in testpmd's structures.
struct RuleParser::ItemState {
  std::array<uint8_t, kFlowKeyBytes> spec{};
  std::array<uint8_t, kFlowKeyBytes> last{};
  std::array<uint8_t, kFlowKeyBytes> mask{};
  bool has_spec = false;
  bool has_last = false;
  bool has_mask = false;
  uint32_t named = 0;  // bit n is set if field n was named
  std::string endpoint;
  bool endpoint_masked_out = false;
};

RuleParser::RuleParser(std::string_view text) {
  size_t i = 0;
  while (i < text.size()) {
    if (is_space(text[i])) {
      ++i;
    } else if (text[i] == '#') {
      while (i < text.size() && text[i] != '\n') ++i;
    } else {
      const size_t begin = i;
      while (i < text.size() && !is_space(text[i])) ++i;
      words_.push_back({text.substr(begin, i - begin), static_cast<uint32_t>(begin + 1)});
      end_column_ = static_cast<uint32_t>(i + 1);
    }
  }
}

Token RuleParser::here() const { return has_word() ? words_[position_] : Token{{}, end_column_}; }

std::string_view RuleParser::next() {
  return has_word() ? words_[position_++].text : std::string_view{};
}

bool RuleParser::take(std::string_view word) {
  if (!has_word() || words_[position_].text != word) return false;
  ++position_;
  return true;
}

bool RuleParser::fail_at(Token at, std::string message, std::string expected_text) {
  error_ =
      Error{std::move(message), 0, at.column, printable(at.text, ""), std::move(expected_text)};
  return false;
}

// Fails with `message` about the present word, or with "the line ends too early" if there is none.
bool RuleParser::fail_here(std::string message, Expected could_stand) {
  ran_out_ = !has_word();
  expected_ = std::move(could_stand);
  if (ran_out_) message = "the line ends too early";
  return fail_at(here(), std::move(message), expected_.text());
}

bool RuleParser::at_end(const Expected& could_follow) {
  if (has_word()) return false;
  ran_out_ = true;
  expected_ = could_follow;
  return true;
}

bool RuleParser::end_of_line() {
  if (!has_word()) return true;
  ran_out_ = false;
  return fail_at(here(), "there is more on the line than the command takes", "the end of the line");
}

bool RuleParser::choose(const std::vector<Completion>& words, std::string_view what,
                        size_t& chosen) {
  const std::string_view word = here().text;
  for (size_t i = 0; has_word() && i < words.size(); ++i) {
    if (words[i].word == word) {
      ++position_;
      chosen = i;
      return true;
    }
  }
  return fail_here(quoted(word) + " is not " + std::string(what), {words, {}, false});
}

bool RuleParser::number(uint32_t& out, std::string_view what) {
  uint64_t parsed = 0;
  if (!has_word() || !read_number(here().text, parsed) ||
      parsed > std::numeric_limits<uint32_t>::max()) {
    return fail_here(quoted(here().text) + " is not " + std::string(what),
                     {{}, value_help(Format::kNumber, 32), false});
  }
  ++position_;
  out = static_cast<uint32_t>(parsed);
  return true;
}

bool RuleParser::port(std::string& out, uint8_t width) {
  const std::string_view word = here().text;
  uint64_t parsed = 0;
  if (has_word() && read_number(word, parsed) && parsed >> width == 0) {
    out = std::to_string(parsed);
  } else if (has_word() && is_endpoint_name(word)) {
    out = std::string(word);
  } else {
    return fail_here(quoted(word) + " is not a port",
                     {{}, value_help(Format::kEndpoint, width), true});
  }
  ++position_;
  return true;
}

bool RuleParser::value(Format format, uint8_t width, FieldBytes& out) {
  if (!has_word() || !read_value(here().text, format, width, out)) {
    const std::string help = value_help(format, width);
    return fail_here(quoted(here().text) + " is not " + help, {{}, help, false});
  }
  ++position_;
  return true;
}

// Takes the "/" in front of the next item or action.
bool RuleParser::separator(std::vector<Completion> also, std::string_view what) {
  if (take("/")) return true;
  also.push_back({"/", "next"});
  return fail_here(quoted(here().text) + " cannot stand " + std::string(what),
                   {std::move(also), {}, false});
}

bool RuleParser::rule(Rule& out) {
  return attributes(out.attributes) && pattern(out.pattern) && actions(out.actions);
}

bool RuleParser::attributes(RuleAttributes& out) {
  while (true) {
    const Token at = here();
    size_t chosen = 0;
    if (!choose(attribute_words(), "an attribute of a rule", chosen)) return false;
    switch (chosen) {
      case 0:
        if (!number(out.group, "a group")) return false;
        break;
      case 1:
        if (!number(out.priority, "a priority")) return false;
        break;
      case 5:
        if (out.direction != Direction::kInvalid) return true;
        return fail_at(at, "the rule has no direction",
                       "ingress, egress or transfer before the pattern");
      default: {
        const auto direction = static_cast<Direction>(chosen - 1);
        if (out.direction != Direction::kInvalid && out.direction != direction) {
          return fail_at(at, "a rule has exactly one direction",
                         "only one of ingress, egress and transfer");
        }
        out.direction = direction;
      }
    }
  }
}

bool RuleParser::pattern(std::vector<PatternItem>& out) {
  while (!take("end")) {
    const Token at = here();
    const std::optional<uint16_t> kind = has_word() ? find_item(at.text) : std::nullopt;
    if (!kind) {
      return fail_here(quoted(at.text) + " is not a pattern item", {item_words(true), {}, false});
    }
    if (out.size() == kMaxItems) return fail_at(at, "a pattern has at most 32 items", "end");
    PatternItem& added = out.emplace_back();
    added.item = *kind;
    if (!item(added)) return false;
  }
  if (take("actions")) return true;
  return fail_here(quoted(here().text) + " cannot stand after the pattern",
                   {{{"actions", "what to do"}}, {}, false});
}

// Parses an item from its name to its "/".
bool RuleParser::item(PatternItem& out) {
  const Token at = here();
  const ItemInfo& info = item_info(out.item);
  ++position_;
  ItemState state;
  while (!take("/")) {
    const std::optional<uint16_t> index = has_word() ? find_field(info, here().text) : std::nullopt;
    if (!index) return separator(field_words(info), "in item " + std::string(info.name));
    ++position_;
    if (!field(info, *index, state)) return false;
  }
  return finish_item(info, state, at, out);
}

bool RuleParser::field(const ItemInfo& info, uint16_t index, ItemState& state) {
  const FieldInfo& described = info.fields[index];
  size_t parameter = 0;
  if (!choose(parameters(), "a way to match a field", parameter)) return false;
  state.named |= 1u << index;
  if (described.format == Format::kEndpoint) return origin_field(described, parameter, state);

  FieldBytes bytes{};
  if (parameter == kPrefix) {
    const Token at = here();
    uint32_t bits = 0;
    if (!number(bits, "a prefix length")) return false;
    if (bits > described.width) {
      return fail_at(at, "the prefix is longer than the field",
                     "at most " + std::to_string(described.width));
    }
    bytes = prefix_mask(static_cast<uint8_t>(bits), described.width);
  } else if (!value(described.format, described.width, bytes)) {
    return false;
  }
  switch (parameter) {
    case kIs:
      put_field(described, full_mask(described), state.mask);
      state.has_mask = true;
      [[fallthrough]];
    case kSpec:
      put_field(described, bytes, state.spec);
      state.has_spec = true;
      break;
    case kLast:
      put_field(described, bytes, state.last);
      state.has_last = true;
      break;
    default: put_field(described, bytes, state.mask); state.has_mask = true;
  }
  return true;
}

// Parses the field that names a port. A port is matched as a whole or not at all.
bool RuleParser::origin_field(const FieldInfo& info, size_t parameter, ItemState& state) {
  const Token at = here();
  if (parameter == kIs || parameter == kSpec) {
    if (!port(state.endpoint, info.width)) return false;
    state.has_spec = true;
    if (parameter == kIs) {
      state.has_mask = true;
      state.endpoint_masked_out = false;
    }
    return true;
  }
  uint32_t bits = 0;
  if (parameter == kLast) {
    position_ -= 1;
    return fail_at(here(), "ports have no ranges", "is, spec, mask or prefix");
  }
  if (!number(bits, parameter == kPrefix ? "a prefix length" : "a mask")) return false;
  const uint64_t all = parameter == kPrefix ? info.width : (uint64_t{1} << info.width) - 1;
  if (bits != 0 && bits != all) {
    return fail_at(at, "a port is matched whole or not at all", "0 or " + std::to_string(all));
  }
  state.has_mask = true;
  state.endpoint_masked_out = bits == 0;
  return true;
}

bool RuleParser::finish_item(const ItemInfo& info, const ItemState& state, Token at,
                             PatternItem& out) {
  if (!state.has_spec && (state.has_last || state.has_mask)) {
    return fail_at(at, "item " + std::string(info.name) + " has a mask or a last, but no value",
                   "is or spec");
  }
  if (!state.has_spec) return true;
  if (names_origin(info)) {
    if (!state.endpoint_masked_out) out.endpoint = state.endpoint;
    return true;
  }
  for (uint16_t i = 0; i < info.fields.size(); ++i) {
    const FieldInfo& field = info.fields[i];
    // Of fields that share bits, the wide one is stored if it was named, and otherwise the narrow
    // ones.
    bool shadowed = false;
    for (uint16_t j = 0; j < info.fields.size(); ++j) {
      if (i == j || !overlap(field, info.fields[j])) continue;
      shadowed |= field.width > info.fields[j].width ? (state.named >> i & 1) == 0
                                                     : (state.named >> j & 1) != 0;
    }
    if (shadowed) continue;
    FieldMatch match;
    match.field = i;
    match.mask = state.has_mask ? get_field(field, state.mask)
                                : low_bits_mask(field.default_mask_bits, field.width);
    if (is_zero(match.mask)) continue;
    match.spec = masked(get_field(field, state.spec), match.mask);
    const FieldBytes last = masked(get_field(field, state.last), match.mask);
    match.has_last = !is_zero(last) && last != match.spec;
    if (match.has_last) match.last = last;
    out.fields.push_back(match);
  }
  return true;
}

bool RuleParser::actions(std::vector<Action>& out) {
  while (!take("end")) {
    const Token at = here();
    const std::optional<uint16_t> kind = has_word() ? find_action(at.text) : std::nullopt;
    if (!kind) {
      return fail_here(quoted(at.text) + " is not an action", {action_words(true), {}, false});
    }
    if (out.size() == kMaxActions) return fail_at(at, "a rule has at most 64 actions", "end");
    Action& added = out.emplace_back();
    added.action = *kind;
    if (!action(added)) return false;
  }
  return true;
}

// Parses an action from its name to its "/". Without an argument its value is zero, as in testpmd.
bool RuleParser::action(Action& out) {
  const ActionInfo& info = action_info(out.action);
  ++position_;
  if (info.format == Format::kEndpoint) out.endpoint = "0";
  while (!take("/")) {
    if (info.argument.empty() || !take(info.argument)) {
      std::vector<Completion> also;
      if (!info.argument.empty()) also.push_back({std::string(info.argument), "argument"});
      return separator(std::move(also), "in action " + std::string(info.name));
    }
    const bool done = info.format == Format::kEndpoint ? port(out.endpoint, info.width)
                                                       : value(info.format, info.width, out.value);
    if (!done) return false;
  }
  return true;
}

Result<Rule> parse_rule(std::string_view text) {
  if (text.size() > kMaxRuleText) return fail("a rule is at most 64 KiB long");
  RuleParser parser(text);
  Rule rule;
  if (!parser.rule(rule) || !parser.end_of_line()) return fail(parser.error());
  return rule;
}

}  // namespace godwit::dataplane
