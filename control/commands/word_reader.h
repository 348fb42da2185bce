// SPDX-License-Identifier: Apache-2.0
//
// Reads the words behind a command's own words. The line was split into words once, by the
// dispatcher. A missing or wrong word is refused with kInvalidParams and its column.
#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "base/text.h"

namespace godwit::control {

using Json = nlohmann::json;

class WordReader {
 public:
  // `words` are the words of `line` behind the command's own.
  WordReader(std::string_view line, std::vector<Token> words)
      : line_(line), words_(std::move(words)) {}

  [[nodiscard]] bool more() const { return next_ < words_.size(); }
  // Returns the next word. `expected` describes it in the error if there is none.
  Token next(const std::string& expected);
  std::string text(const std::string& expected) { return std::string(next(expected).text); }
  // Refuses the next word, if there is one.
  void end();
  // Returns the rest of the line as it was typed.
  std::string rest();

  // Returns the word as a number of at most `most`.
  [[nodiscard]] static uint64_t number(const Token& word, uint64_t most);
  // Returns the part of a word that begins `offset` bytes into it, with its own column.
  [[nodiscard]] static Token part(const Token& word, size_t offset,
                                  size_t length = std::string_view::npos);
  [[noreturn]] static void wrong(const Token& word, const std::string& message,
                                 const std::string& expected);

 private:
  std::string_view line_;
  std::vector<Token> words_;
  size_t next_ = 0;
};

// Readers that several commands use. Each returns the parameters of the command's method.
Json read_nothing(WordReader& words);
Json read_port(WordReader& words);         // {"port"}
Json read_port_or_all(WordReader& words);  // {"port"}

}  // namespace godwit::control
