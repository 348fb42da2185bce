// SPDX-License-Identifier: Apache-2.0
#include "control/commands/word_reader.h"

#include "control/commands/command_refusal.h"

namespace godwit::control {

Token WordReader::next(const std::string& expected) {
  if (more()) return words_[next_++];
  throw CommandRefusal{
      kInvalidParams,
      Error{"the line ends too early", 0, static_cast<uint32_t>(line_.size() + 1), "", expected}};
}

void WordReader::wrong(const Token& word, const std::string& message, const std::string& expected) {
  throw CommandRefusal{kInvalidParams,
                       Error{message, 0, word.column, printable(word.text), expected}};
}

uint64_t WordReader::number(const Token& word, uint64_t most) {
  const auto value = to_number(word.text, most);
  if (!value) wrong(word, "not a number in range", "a number from 0 to " + std::to_string(most));
  return *value;
}

Token WordReader::part(const Token& word, size_t offset, size_t length) {
  return {word.text.substr(offset, length), word.column + static_cast<uint32_t>(offset)};
}

void WordReader::end() {
  if (more()) wrong(words_[next_], "unexpected word", "the end of the line");
}

std::string WordReader::rest() {
  if (!more()) return {};
  const size_t begin = words_[next_].column - 1;
  next_ = words_.size();
  return std::string(line_.substr(begin));
}

Json read_nothing(WordReader& words) {
  words.end();
  return Json::object();
}

Json read_port(WordReader& words) {
  Json params{{"port", words.text("a port's number or an endpoint's name")}};
  words.end();
  return params;
}

Json read_port_or_all(WordReader& words) {
  Json params{{"port", words.text("all, a port's number or an endpoint's name")}};
  words.end();
  return params;
}

}  // namespace godwit::control
