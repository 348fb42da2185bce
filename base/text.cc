// SPDX-License-Identifier: Apache-2.0
#include "base/text.h"

#include <algorithm>
#include <charconv>
#include <cstdio>
#include <ctime>

namespace godwit {
namespace {

bool blank(char c) {
  return c == ' ' || c == '\t' || c == '\r' || c == '\n' || c == '\f' || c == '\v';
}

// Formats date and time of day, without the zone.
std::string date_and_time(int64_t unix_s) {
  const time_t seconds = unix_s;
  tm parts{};
  gmtime_r(&seconds, &parts);
  char text[64];
  return std::string(text, std::strftime(text, sizeof text, "%F %T", &parts));
}

}  // namespace

std::vector<Token> tokenize(std::string_view line) {
  std::vector<Token> tokens;
  size_t at = 0;
  while (at < line.size()) {
    if (blank(line[at])) {
      ++at;
      continue;
    }
    size_t end = at;
    while (end < line.size() && !blank(line[end])) ++end;
    if (line[at] == '#') break;
    tokens.push_back({line.substr(at, end - at), static_cast<uint32_t>(at + 1)});
    at = end;
  }
  return tokens;
}

uint32_t column_of(std::string_view line, std::string_view word) {
  for (const Token& token : tokenize(line)) {
    if (token.text == word) return token.column;
  }
  return 0;
}

std::string printable(std::string_view text, std::string_view cut_mark) {
  constexpr size_t kMost = 64;
  std::string out;
  for (const char c : text.substr(0, kMost)) out += c >= ' ' && c <= '~' ? c : '?';
  if (text.size() > kMost) out += cut_mark;
  return out;
}

std::optional<uint64_t> to_number(std::string_view text, uint64_t most) {
  uint64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (text.empty() || error != std::errc{} || end != text.data() + text.size() || value > most)
    return std::nullopt;
  return value;
}

std::string table(const std::vector<std::vector<std::string>>& rows) {
  std::vector<size_t> widths;
  for (const auto& row : rows) {
    widths.resize(std::max(widths.size(), row.size()));
    for (size_t i = 0; i < row.size(); ++i) widths[i] = std::max(widths[i], row[i].size());
  }
  std::string out;
  for (const auto& row : rows) {
    std::string line;
    for (size_t i = 0; i < row.size(); ++i) {
      line += row[i];
      if (i + 1 < row.size()) line.append(widths[i] - row[i].size() + 2, ' ');
    }
    line.erase(line.find_last_not_of(' ') + 1);
    out += line + "\n";
  }
  return out;
}

std::string utc_text(int64_t unix_s) { return date_and_time(unix_s) + " UTC"; }

std::string utc_text_ms(int64_t unix_ms) {
  char fraction[16];
  std::snprintf(fraction, sizeof fraction, ".%03d UTC", static_cast<int>(unix_ms % 1000));
  return date_and_time(unix_ms / 1000) + fraction;
}

}  // namespace godwit
