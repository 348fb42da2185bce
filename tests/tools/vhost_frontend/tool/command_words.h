// SPDX-License-Identifier: Apache-2.0
//
// The words of a command line, and the conversions between text and addresses, frames and numbers.
// All conversions throw CommandError on malformed text. Not thread safe.
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <span>
#include <stdexcept>
#include <string>
#include <vector>

namespace godwit::vhost_frontend {

// An error in a command. The reply carries its text.
class CommandError : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

// The words of one command line. Each accessor consumes the word or value that it returns and
// throws CommandError if the word is missing or out of range. finish() throws if a word is left
// over.
class CommandWords {
 public:
  explicit CommandWords(const std::string& line);
  const std::string& verb() const { return verb_; }

  // Returns the next word that is not a key=value pair.
  std::string word(const char* what);
  std::string word_or(const std::string& fallback);
  uint64_t number_or(uint64_t fallback, uint64_t least, uint64_t most);

  bool has(const std::string& key) const { return values_.contains(key); }
  std::string text(const std::string& key);
  std::string text_or(const std::string& key, const std::string& fallback);
  uint64_t number(const std::string& key, uint64_t least, uint64_t most);
  uint64_t number_or(const std::string& key, uint64_t fallback, uint64_t least, uint64_t most);
  bool flag_or(const std::string& key, bool fallback);
  void finish() const;

 private:
  std::string verb_;
  std::vector<std::string> words_;
  size_t next_word_ = 0;
  std::map<std::string, std::string> values_;
};

std::string to_hex(std::span<const uint8_t> bytes);
std::vector<uint8_t> from_hex(const std::string& text);
std::array<uint8_t, 6> parse_mac(const std::string& text);
// Returns true for IPv6. An IPv4 address is stored in the first four bytes.
bool parse_ip(const std::string& text, std::array<uint8_t, 16>* ip);
std::vector<std::string> split(const std::string& text, char separator);

}  // namespace godwit::vhost_frontend
