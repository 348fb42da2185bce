// SPDX-License-Identifier: Apache-2.0
//
// Reads the arguments of a command line: the words that follow the command's name. The dispatcher
// splits the line into words.
//
// In the comments below, to refuse a word is to throw a CommandRefusal with the code kInvalidParams
// and the word's column.
//
// Thread safety: the control thread only.
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
  // `words` are the words of `line` that follow the command's name. They point into the text of
  // `line`, which must outlive the reader.
  WordReader(std::string_view line, std::vector<Token> words)
      : line_(line), words_(std::move(words)) {}

  // Returns whether words are left.
  [[nodiscard]] bool more() const { return next_ < words_.size(); }
  // Returns the next word and moves past it. Refuses the line if no word is left; `expected`
  // describes the missing word in the error.
  Token next(const std::string& expected);
  // Returns the text of next().
  std::string text(const std::string& expected) { return std::string(next(expected).text); }
  // Ends the reading. Refuses the next word if words are left.
  void end();
  // Returns the rest of the line as it was typed and moves to its end. Returns an empty text if no
  // word is left.
  std::string rest();

  // Returns the word's value. Refuses the word if it is not a decimal number or is above `most`.
  [[nodiscard]] static uint64_t number(const Token& word, uint64_t most);
  // Returns the part of a word that begins `offset` bytes into it and has at most `length` bytes.
  // Its column is that of the part. `offset` is at most the length of the word.
  [[nodiscard]] static Token part(const Token& word, size_t offset,
                                  size_t length = std::string_view::npos);
  // Refuses the word with this message. `expected` says what would be correct.
  [[noreturn]] static void wrong(const Token& word, const std::string& message,
                                 const std::string& expected);

 private:
  std::string_view line_;
  std::vector<Token> words_;
  size_t next_ = 0;
};

// Readers that several commands use. Each returns the parameters of the command's method, and
// refuses words that are missing or left over.

// Returns an empty object.
Json read_nothing(WordReader& words);
// Returns {"port": WORD}. Does not check the word; the command's handler does.
Json read_port(WordReader& words);
// Does the same. If the word is missing, the error also names `all`.
Json read_port_or_all(WordReader& words);

}  // namespace godwit::control
