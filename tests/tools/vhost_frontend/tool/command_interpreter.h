// SPDX-License-Identifier: Apache-2.0
//
// The command language of the `vhost-frontend` tool: one line in, one JSON object out. The command
// `help` lists the commands. A line is a verb, then words and key=value pairs in any order.
// Each reply has the key "ok". If it is false, "error" explains the failure. Commands run one after
// the other. Streams, sinks and responders continue while a command waits.
//
// Not thread safe. Times in replies are CLOCK_MONOTONIC nanoseconds.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "tests/tools/vhost_frontend/tool/command_words.h"
#include "tests/tools/vhost_frontend/tool/tool_engine.h"

namespace godwit::vhost_frontend {

inline constexpr uint64_t kMaxWaitMs = 600'000;
inline constexpr uint64_t kDefaultTimeoutMs = 5000;

inline int64_t deadline_in(uint64_t ms) {
  return monotonic_ns() + static_cast<int64_t>(ms) * 1'000'000;
}

// Throws CommandError if the status is an error.
inline void check(const Status& status) {
  if (!status.ok()) {
    throw CommandError(status.error());
  }
}

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

}  // namespace godwit::vhost_frontend
