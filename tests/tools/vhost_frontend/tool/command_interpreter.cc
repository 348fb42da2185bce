// SPDX-License-Identifier: Apache-2.0
#include "tests/tools/vhost_frontend/tool/command_interpreter.h"

#include <algorithm>

namespace godwit::vhost_frontend {

using nlohmann::json;

Device& CommandInterpreter::device(const std::string& name) {
  Device* found = engine_.find(name);
  if (found == nullptr) {
    throw CommandError("unknown device '" + name + "'");
  }
  return *found;
}

std::vector<Device*> CommandInterpreter::devices(const std::string& names) {
  std::vector<Device*> found;
  if (names == "all") {
    for (const auto& one : engine_.devices()) {
      found.push_back(one.get());
    }
    return found;
  }
  for (const std::string& name : split(names, ',')) {
    found.push_back(&device(name));
  }
  return found;
}

void CommandInterpreter::wait_for(uint64_t timeout_ms, const std::vector<Device*>& waited,
                                  const char* what,
                                  const std::function<bool(const VhostFrontend&)>& done) {
  const bool finished = engine_.run_until(deadline_in(timeout_ms), [&] {
    return std::all_of(waited.begin(), waited.end(),
                       [&](const Device* one) { return done(*one->frontend); });
  });
  if (finished) {
    return;
  }
  for (const Device* one : waited) {
    if (!done(*one->frontend)) {
      const std::string& error = one->frontend->error();
      throw CommandError("'" + one->name + "' is not " + what + " but " +
                         state_name(one->frontend->state()) + (error.empty() ? "" : ": " + error));
    }
  }
}

json CommandInterpreter::quit(CommandWords& words) {
  words.finish();
  quit_ = true;
  return json::object();
}

json CommandInterpreter::help(CommandWords&) {
  json all = json::array();
  for (const Command& command : commands()) {
    all.push_back(std::string(command.verb) + " " + command.usage);
  }
  return {{"commands", all}};
}

const std::vector<CommandInterpreter::Command>& CommandInterpreter::commands() {
  using Self = CommandInterpreter;
  static const std::vector<Command> kCommands = {
      {"open", &Self::open,
       "NAME path=SOCKET [server=1] [incoming=0] [queues=1] [size=256] [mac=] [mtu=1500] [mem=MB] "
       "[regions=1] "
       "[buffer=BYTES] [features=MASK] [mrg=1] [csum=1] [tso=1] [event_idx=1] [v1=1] "
       "[protocol=MASK]"},
      {"close", &Self::close, "NAMES|all"},
      {"list", &Self::list, "[NAMES|all]"},
      {"wait", &Self::wait, "NAMES|all [TIMEOUT_MS] [state=running|stopped|ready|down]"},
      {"run", &Self::run_for, "[MS]   streams and sinks run for that time"},
      {"send", &Self::send,
       "NAME hex=FRAME[,FRAME] [count=1] [queue=0] [csum=full|partial] [gso_type=] [gso_size=] "
       "[header_length=] "
       "[timeout_ms=1000]"},
      {"recv", &Self::recv, "NAME [COUNT] [TIMEOUT_MS]"},
      {"stream", &Self::stream,
       "ID from=NAME dst=MAC pps=N count=N|seconds=S [src=MAC] [dip=] [sip=] [sport=] [dport=] "
       "[flows=1] [vlan=TCI] "
       "[ttl=64] [size=64] [queue=0]"},
      {"streams", &Self::streams, ""},
      {"stream-wait", &Self::stream_wait, "ID|all [TIMEOUT_MS]"},
      {"stream-stop", &Self::stream_stop, "ID|all"},
      {"sink", &Self::sink, "NAMES|all [on|off]"},
      {"sink-wait", &Self::sink_wait,
       "NAMES|all ID COUNT [TIMEOUT_MS]   waits until the sinks together have COUNT packets"},
      {"stats", &Self::stats, "[NAMES|all] [reset]"},
      {"stop", &Self::stop, "NAMES|all [timeout_ms=5000]   rings stop, as in a paused VM"},
      {"resume", &Self::resume, "NAMES|all [on=NAME2] [mode=shared|copy|dirty] [timeout_ms=5000]"},
      {"migrate", &Self::migrate, "NAME on=NAME2 [mode=dirty] [precopy_ms=50] [pause_ms=100]"},
      {"reset", &Self::reset,
       "NAMES|all [timeout_ms=5000]   the driver starts again, as in a reboot"},
      {"pause", &Self::pause, "NAMES|all   rings keep running, the guest does nothing"},
      {"unpause", &Self::unpause, "NAMES|all"},
      {"log", &Self::log, "NAME [on|off|show|clear]   dirty page logging"},
      {"arp-responder", &Self::arp_responder, "NAME ip=ADDRESS[,ADDRESS]"},
      {"rarp", &Self::rarp, "NAME   SEND_RARP"},
      {"events", &Self::events, "NAME"},
      {"help", &Self::help, ""},
      {"quit", &Self::quit, ""},
  };
  return kCommands;
}

json CommandInterpreter::run(const std::string& line) {
  json reply;
  try {
    CommandWords words(line);
    const auto& all = commands();
    const auto at = std::find_if(all.begin(), all.end(),
                                 [&](const Command& one) { return one.verb == words.verb(); });
    if (at == all.end()) {
      throw CommandError("unknown command '" + words.verb() + "'; help lists the commands");
    }
    reply = (this->*at->handler)(words);
    reply["ok"] = true;
  } catch (const CommandError& error) {
    reply = {{"ok", false}, {"error", error.what()}};
  }
  return reply;
}

}  // namespace godwit::vhost_frontend
