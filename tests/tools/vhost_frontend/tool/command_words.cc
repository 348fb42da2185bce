// SPDX-License-Identifier: Apache-2.0
#include "tests/tools/vhost_frontend/tool/command_words.h"

#include <algorithm>
#include <charconv>

#include <arpa/inet.h>

#include "tests/tools/vhost_frontend/virtqueue.h"

namespace godwit::vhost_frontend {
namespace {

uint64_t parse_number(const std::string& what, const std::string& text, uint64_t least,
                      uint64_t most) {
  const bool hex = text.starts_with("0x");
  const char* begin = text.data() + (hex ? 2 : 0);
  const char* end = text.data() + text.size();
  uint64_t value = 0;
  const auto [stopped, error] = std::from_chars(begin, end, value, hex ? 16 : 10);
  if (error != std::errc() || stopped != end || begin == end) {
    throw CommandError(what + ": '" + text + "' is not a number");
  }
  if (value < least || value > most) {
    throw CommandError(what + " must be between " + std::to_string(least) + " and " +
                       std::to_string(most));
  }
  return value;
}

}  // namespace

std::vector<std::string> split(const std::string& text, char separator) {
  std::vector<std::string> parts;
  size_t at = 0;
  while (at <= text.size()) {
    const size_t end = std::min(text.find(separator, at), text.size());
    if (end > at) {
      parts.push_back(text.substr(at, end - at));
    }
    at = end + 1;
  }
  return parts;
}

CommandWords::CommandWords(const std::string& line) {
  for (const std::string& part : split(line, ' ')) {
    const size_t equals = part.find('=');
    if (verb_.empty()) {
      verb_ = part;
    } else if (equals == std::string::npos || equals == 0) {
      words_.push_back(part);
    } else {
      values_[part.substr(0, equals)] = part.substr(equals + 1);
    }
  }
}

std::string CommandWords::word(const char* what) {
  if (next_word_ == words_.size()) {
    throw CommandError(std::string(what) + " is missing");
  }
  return words_[next_word_++];
}

std::string CommandWords::word_or(const std::string& fallback) {
  return next_word_ == words_.size() ? fallback : words_[next_word_++];
}

uint64_t CommandWords::number_or(uint64_t fallback, uint64_t least, uint64_t most) {
  return next_word_ == words_.size() ? fallback
                                     : parse_number("number", words_[next_word_++], least, most);
}

std::string CommandWords::text(const std::string& key) {
  const auto at = values_.find(key);
  if (at == values_.end()) {
    throw CommandError(key + "= is missing");
  }
  std::string value = at->second;
  values_.erase(at);
  return value;
}

std::string CommandWords::text_or(const std::string& key, const std::string& fallback) {
  return has(key) ? text(key) : fallback;
}

uint64_t CommandWords::number(const std::string& key, uint64_t least, uint64_t most) {
  return parse_number(key, text(key), least, most);
}

uint64_t CommandWords::number_or(const std::string& key, uint64_t fallback, uint64_t least,
                                 uint64_t most) {
  return has(key) ? number(key, least, most) : fallback;
}

bool CommandWords::flag_or(const std::string& key, bool fallback) {
  return number_or(key, fallback, 0, 1) != 0;
}

void CommandWords::finish() const {
  if (next_word_ < words_.size()) {
    throw CommandError("'" + words_[next_word_] + "' is not expected here");
  }
  if (!values_.empty()) {
    throw CommandError("'" + values_.begin()->first + "=' is not a key of this command");
  }
}

std::string to_hex(std::span<const uint8_t> bytes) {
  static constexpr char kDigits[] = "0123456789abcdef";
  std::string text;
  text.reserve(bytes.size() * 2);
  for (const uint8_t byte : bytes) {
    text += kDigits[byte >> 4];
    text += kDigits[byte & 15];
  }
  return text;
}

std::vector<uint8_t> from_hex(const std::string& text) {
  std::vector<uint8_t> bytes(text.size() / 2);
  if (text.empty() || text.size() % 2 != 0 || bytes.size() > kMaxFrame) {
    throw CommandError("hex: expected an even number of digits, at most " +
                       std::to_string(kMaxFrame) + " bytes");
  }
  for (size_t i = 0; i < bytes.size(); ++i) {
    const char* at = text.data() + 2 * i;
    if (std::from_chars(at, at + 2, bytes[i], 16).ptr != at + 2) {
      throw CommandError("hex: '" + std::string(at, 2) + "' is not a byte");
    }
  }
  return bytes;
}

std::array<uint8_t, 6> parse_mac(const std::string& text) {
  std::array<uint8_t, 6> mac{};
  const std::vector<std::string> parts = split(text, ':');
  for (size_t i = 0; i < parts.size() && i < mac.size(); ++i) {
    mac[i] = static_cast<uint8_t>(parse_number("mac", "0x" + parts[i], 0, 255));
  }
  if (parts.size() != mac.size()) {
    throw CommandError("'" + text + "' is not a MAC address");
  }
  return mac;
}

bool parse_ip(const std::string& text, std::array<uint8_t, 16>* ip) {
  *ip = {};
  if (inet_pton(AF_INET, text.c_str(), ip->data()) == 1) {
    return false;
  }
  if (inet_pton(AF_INET6, text.c_str(), ip->data()) == 1) {
    return true;
  }
  throw CommandError("'" + text + "' is not an IP address");
}

}  // namespace godwit::vhost_frontend
