// SPDX-License-Identifier: Apache-2.0
//
// Small things about text that control/ needs in several places. Pure functions.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace godwit {

struct Word {
  std::string_view text;
  uint32_t column = 0;  // 1-based, bytes
};

// Words between blanks; one that starts with # ends the line.
std::vector<Word> split_words(std::string_view line);

// Where `word` stands as a whole word, 1-based; 0: nowhere.
uint32_t column_of(std::string_view line, std::string_view word);

// What stood there, fit to be shown: printable ASCII, cut to 64 bytes.
std::string printable(std::string_view text);

// Decimal digits and nothing else, at most `most`.
std::optional<uint64_t> to_number(std::string_view text, uint64_t most);

// Columns aligned by their longest cell, two blanks between; the first row is the heading.
std::string table(const std::vector<std::vector<std::string>>& rows);

}  // namespace godwit
