// SPDX-License-Identifier: Apache-2.0
//
// Text helpers for command lines, error texts and console tables. Pure functions.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace godwit {

// A word of a command line. `text` points into the line.
struct Token {
  std::string_view text;
  uint32_t column = 0;  // 1-based, in bytes
};

// Splits a line at white space. A word that begins with `#` starts a comment, which runs to the end
// of the line.
std::vector<Token> tokenize(std::string_view line);

// Returns the column at which `word` stands as a whole word, or zero if the line does not have it.
uint32_t column_of(std::string_view line, std::string_view word);

// Returns at most 64 bytes of `text` for an error message. Each byte that is not printable ASCII
// becomes `?`; `cut_mark` is appended if `text` is longer.
std::string printable(std::string_view text, std::string_view cut_mark = "...");

// Returns the position of the first byte that is not part of well-formed UTF-8 (RFC 3629), or npos.
size_t find_non_utf8(std::string_view text);
// Returns the text for a log line: each byte that is not printable ASCII becomes `?`, and a text of
// more than `most` bytes is cut and ends with "...".
std::string one_line(std::string_view text, size_t most);
// Returns the text as one line: each newline becomes "; ".
std::string joined_lines(std::string_view text);
// Returns whether each byte of the text is printable ASCII and not a blank.
bool is_word(std::string_view text);

// Parses decimal digits. Returns nullopt for an empty text, for any other character and for a
// number above `most`.
std::optional<uint64_t> to_number(std::string_view text, uint64_t most);

// Lays out cells in left-aligned columns, two blanks apart. The first row is the heading.
std::string table(const std::vector<std::vector<std::string>>& rows);

// Formats a time as "2026-11-24 06:15:12 UTC".
std::string utc_text(int64_t unix_s);
// Formats a time as "2026-11-24 06:15:12.345 UTC".
std::string utc_text_ms(int64_t unix_ms);

}  // namespace godwit
