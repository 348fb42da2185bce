// SPDX-License-Identifier: Apache-2.0
//
// The command language of the `vhost-frontend` tool: a line in, a JSON object out. `help` lists it.
// A line is a verb, then words and key=value pairs in any order. Each reply has "ok"; where that is
// false, "error" says why. Commands run one after the other; streams, sinks and responders go on
// while one waits.
//
// Not thread safe. Times in replies are CLOCK_MONOTONIC nanoseconds.
#pragma once

#include <cstdint>
#include <map>
#include <stdexcept>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "tests/tools/vhost_frontend/tool_engine.h"

namespace godwit::support {

// What is wrong with a command; its text goes to the user.
class CommandError : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

// The words of a command. Every word must be used: `finish` refuses what nothing asked for.
class CommandWords {
 public:
  explicit CommandWords(const std::string& line);
  const std::string& verb() const { return verb_; }

  // The next word that isn't key=value.
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

class CommandInterpreter {
 public:
  explicit CommandInterpreter(Engine& engine) : engine_(engine) {}
  nlohmann::json run(const std::string& line);
  bool quit() const { return quit_; }

 private:
  using Handler = nlohmann::json (CommandInterpreter::*)(CommandWords&);
  struct Command {
    const char* verb;
    Handler handler;
    const char* usage;
  };
  static const std::vector<Command>& commands();

  nlohmann::json open(CommandWords& words);
  nlohmann::json close(CommandWords& words);
  nlohmann::json list(CommandWords& words);
  nlohmann::json wait(CommandWords& words);
  nlohmann::json run_for(CommandWords& words);
  nlohmann::json send(CommandWords& words);
  nlohmann::json recv(CommandWords& words);
  nlohmann::json stream(CommandWords& words);
  nlohmann::json streams(CommandWords& words);
  nlohmann::json stream_wait(CommandWords& words);
  nlohmann::json stream_stop(CommandWords& words);
  nlohmann::json sink(CommandWords& words);
  nlohmann::json sink_wait(CommandWords& words);
  nlohmann::json stats(CommandWords& words);
  nlohmann::json stop(CommandWords& words);
  nlohmann::json resume(CommandWords& words);
  nlohmann::json migrate(CommandWords& words);
  nlohmann::json reset(CommandWords& words);
  nlohmann::json pause(CommandWords& words);
  nlohmann::json unpause(CommandWords& words);
  nlohmann::json log(CommandWords& words);
  nlohmann::json arp_responder(CommandWords& words);
  nlohmann::json rarp(CommandWords& words);
  nlohmann::json events(CommandWords& words);
  nlohmann::json quit(CommandWords& words);
  nlohmann::json help(CommandWords& words);

  Device& device(const std::string& name);
  std::vector<Device*> devices(const std::string& names);
  void begin_log(Device& device, bool copy);
  nlohmann::json stop_devices(const std::vector<Device*>& devices, uint64_t timeout_ms);
  nlohmann::json move_and_start(Device& from, Device& to, Engine::Move how, uint64_t timeout_ms);
  void wait_for(uint64_t timeout_ms, const std::vector<Device*>& devices, const char* what,
                const std::function<bool(const VhostFrontend&)>& done);

  Engine& engine_;
  bool quit_ = false;
};

nlohmann::json describe_device(const Device& device);
nlohmann::json describe_frame(const CapturedFrame& frame);
nlohmann::json describe_account(const StreamAccount& account);
nlohmann::json describe_stream(const Stream& stream);

std::string to_hex(std::span<const uint8_t> bytes);
std::vector<uint8_t> from_hex(const std::string& text);
std::array<uint8_t, 6> parse_mac(const std::string& text);
// True where it was IPv6; an IPv4 address is in the first four bytes.
bool parse_ip(const std::string& text, std::array<uint8_t, 16>* ip);
std::vector<std::string> split(const std::string& text, char separator);

}  // namespace godwit::support
