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

size_t find_non_utf8(std::string_view text) {
  const auto byte = [&](size_t at) {
    return at < text.size() ? static_cast<unsigned char>(text[at]) : 0u;
  };
  const auto continues = [&](size_t at, unsigned least = 0x80, unsigned most = 0xbf) {
    return byte(at) >= least && byte(at) <= most;
  };
  for (size_t i = 0; i < text.size();) {
    const unsigned first = byte(i);
    size_t length = 0;
    if (first < 0x80) {
      length = 1;
    } else if (first >= 0xc2 && first <= 0xdf && continues(i + 1)) {
      length = 2;
    } else if (first >= 0xe0 && first <= 0xef && continues(i + 2) &&
               continues(i + 1, first == 0xe0 ? 0xa0 : 0x80, first == 0xed ? 0x9f : 0xbf)) {
      length = 3;
    } else if (first >= 0xf0 && first <= 0xf4 && continues(i + 2) && continues(i + 3) &&
               continues(i + 1, first == 0xf0 ? 0x90 : 0x80, first == 0xf4 ? 0x8f : 0xbf)) {
      length = 4;
    }
    if (length == 0) return i;
    i += length;
  }
  return std::string_view::npos;
}

std::string one_line(std::string_view text, size_t most) {
  std::string out(text.substr(0, most));
  std::ranges::replace_if(
      out, [](char c) { return c < ' ' || c > '~'; }, '?');
  if (text.size() > most) out += "...";
  return out;
}

std::string joined_lines(std::string_view text) {
  std::string out;
  for (const char c : text) {
    if (c == '\n') {
      out += "; ";
    } else {
      out += c;
    }
  }
  return out;
}

bool is_word(std::string_view text) {
  return std::ranges::all_of(text, [](char c) { return c > ' ' && c <= '~'; });
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
