// SPDX-License-Identifier: Apache-2.0
//
// `learning-switch`: the network between hosts for tests, on DPDK devices. learning_switch.h
// describes its habits.
//
//   learning-switch --port net_memif0,role=server,id=0,socket=/tmp/f.sock
//                   --port net_vhost0,iface=/tmp/c.sock,client=1
//                   [--file-prefix NAME] [--cpu N] [--lifetime SECONDS]
//
// It reads one command a line from standard input and answers each with a line of JSON with "ok":
//   set [learn_ms=0] [age_ms=0] [never_flood=0] [deaf=0] [latency_us=0] [vlans=10,20]
//       (an option that is left out gets its default)
//   forget | stats | where MAC [VLAN] | quit
//
// It polls while frames arrive and otherwise sleeps kNapNs at a time. It ends on `quit`, at the end
// of its input, on SIGTERM, or after its lifetime.
#include <fcntl.h>
#include <poll.h>
#include <rte_eal.h>
#include <rte_errno.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <csignal>
#include <cstdio>
#include <ctime>
#include <map>
#include <optional>
#include <sstream>
#include <string>

#include <nlohmann/json.hpp>

#include "tests/tools/learning_switch/switch_ports.h"

namespace godwit::learning_switch {
namespace {

using nlohmann::json;

constexpr int64_t kNapNs = 20'000;
constexpr int64_t kInputNs = 2'000'000;  // The interval at which it reads the input.
constexpr unsigned kQuietTurns = 16;     // After so many turns without a frame it sleeps.
constexpr uint64_t kMaxMs = 3'600'000;
volatile std::sig_atomic_t g_ended = 0;

struct Options {
  std::vector<std::string> ports;
  std::string file_prefix = "learning-switch";
  std::string cpu = "0";
  uint64_t lifetime_s = 3600;
};

int64_t now() {
  timespec time{};
  clock_gettime(CLOCK_MONOTONIC, &time);
  return int64_t{time.tv_sec} * 1'000'000'000 + time.tv_nsec;
}

std::optional<uint64_t> to_number(const std::string& text, uint64_t most) {
  uint64_t value = 0;
  const char* end = text.data() + text.size();
  const auto parsed = std::from_chars(text.data(), end, value);
  if (text.empty() || parsed.ec != std::errc{} || parsed.ptr != end || value > most) {
    return std::nullopt;
  }
  return value;
}

json refused(const std::string& why) { return {{"ok", false}, {"error", why}}; }

json set_habits(SwitchPorts& ports, std::istringstream& words) {
  std::map<std::string, std::string> given;
  for (std::string word; words >> word;) {
    const size_t equals = word.find('=');
    given[word.substr(0, equals)] = equals == std::string::npos ? "" : word.substr(equals + 1);
  }
  SwitchHabits habits;
  uint64_t learn_ms = 0, age_ms = 0, latency_us = 0, never_flood = 0, deaf = 0;
  const std::map<std::string, std::pair<uint64_t*, uint64_t>> known = {
      {"learn_ms", {&learn_ms, kMaxMs}},
      {"age_ms", {&age_ms, kMaxMs}},
      {"latency_us", {&latency_us, 1'000'000}},
      {"never_flood", {&never_flood, 1}},
      {"deaf", {&deaf, 1}}};
  for (const auto& [key, text] : given) {
    if (key == "vlans") {
      std::istringstream list(text);
      for (std::string one; std::getline(list, one, ',');) {
        const auto vlan = to_number(one, 4095);
        if (!vlan) {
          return refused("vlans: '" + one + "' is not a VLAN from 0 to 4095");
        }
        habits.vlans.set(*vlan);
      }
      continue;
    }
    const auto option = known.find(key);
    if (option == known.end()) {
      return refused("unknown option '" + key + "'");
    }
    const auto value = to_number(text, option->second.second);
    if (!value) {
      return refused(key + ": expected a number up to " + std::to_string(option->second.second) +
                     ", not '" + text + "'");
    }
    *option->second.first = *value;
  }
  habits.learn_delay_ns = static_cast<int64_t>(learn_ms) * 1'000'000;
  habits.age_ns = static_cast<int64_t>(age_ms) * 1'000'000;
  habits.never_flood = never_flood != 0;
  habits.drop_announcements = deaf != 0;
  ports.logic().set_habits(habits);
  ports.set_latency_ns(static_cast<int64_t>(latency_us) * 1000);
  return {{"ok", true}};
}

json where(SwitchPorts& ports, std::istringstream& words) {
  std::string text, vlan_text = "0";
  words >> text >> vlan_text;
  std::erase(text, ':');
  uint64_t mac = 0;
  const char* end = text.data() + text.size();
  const auto parsed = std::from_chars(text.data(), end, mac, 16);
  const auto vlan = to_number(vlan_text, 4095);
  if (text.size() != 12 || parsed.ec != std::errc{} || parsed.ptr != end || !vlan) {
    return refused("usage: where MAC [VLAN]");
  }
  return {{"ok", true}, {"port", ports.logic().where(static_cast<uint16_t>(*vlan), mac, now())}};
}

json stats(SwitchPorts& ports) {
  const SwitchCounts& all = ports.logic().counts();
  json each = json::array();
  for (size_t i = 0; i < ports.size(); ++i) {
    const SwitchPortCounts& one = ports.counts(i);
    each.push_back({{"name", ports.name(i)},
                    {"up", ports.up(i)},
                    {"rx", one.rx},
                    {"tx", one.tx},
                    {"tx_overflow", one.tx_overflow},
                    {"tx_down", one.tx_down},
                    {"no_copy", one.no_copy},
                    {"most_queued", one.most_queued}});
  }
  return {{"ok", true},
          {"ports", each},
          {"addresses", ports.logic().addresses()},
          {"frames", all.frames},
          {"known", all.known},
          {"flooded", all.flooded},
          {"groups", all.groups},
          {"unknown_dropped", all.unknown_dropped},
          {"announcement_dropped", all.announcement_dropped},
          {"vlan_dropped", all.vlan_dropped},
          {"hairpin_dropped", all.hairpin_dropped},
          {"runts", all.runts},
          {"table_full", all.table_full},
          {"moved", all.moved}};
}

json answer(SwitchPorts& ports, const std::string& line) {
  std::istringstream words(line);
  std::string verb;
  words >> verb;
  if (verb == "set") {
    return set_habits(ports, words);
  }
  if (verb == "where") {
    return where(ports, words);
  }
  if (verb == "stats") {
    return stats(ports);
  }
  if (verb == "forget") {
    ports.logic().forget();
    return {{"ok", true}};
  }
  if (verb == "quit") {
    g_ended = 1;
    return {{"ok", true}};
  }
  return refused("unknown command '" + verb + "'; expected set, forget, stats, where or quit");
}

// Answers the waiting commands. Returns false at the end of the input.
bool serve(SwitchPorts& ports, std::string& unread) {
  pollfd input{STDIN_FILENO, POLLIN, 0};
  if (poll(&input, 1, 0) <= 0) {
    return true;
  }
  char bytes[4096];
  const ssize_t count = read(STDIN_FILENO, bytes, sizeof(bytes));
  if (count <= 0) {
    return count < 0 && errno == EAGAIN;
  }
  unread.append(bytes, static_cast<size_t>(count));
  for (size_t end = unread.find('\n'); end != std::string::npos; end = unread.find('\n')) {
    const std::string reply = answer(ports, unread.substr(0, end)).dump() + "\n";
    unread.erase(0, end + 1);
    std::fwrite(reply.data(), 1, reply.size(), stdout);
    std::fflush(stdout);
  }
  return unread.size() < sizeof(bytes);
}

void run(SwitchPorts& ports, int64_t end_ns) {
  std::string unread;
  unsigned quiet = 0;
  int64_t input_ns = 0;
  while (g_ended == 0) {
    const int64_t now_ns = now();
    quiet = ports.turn(now_ns) != 0 ? 0 : quiet + 1;
    if (now_ns - input_ns >= kInputNs) {
      input_ns = now_ns;
      if (!serve(ports, unread) || now_ns >= end_ns) {
        return;
      }
    }
    if (quiet < kQuietTurns) {
      continue;
    }
    const int64_t due_ns = ports.next_due_ns();
    const int64_t nap_ns = due_ns < 0 ? kNapNs : std::clamp<int64_t>(due_ns - now_ns, 1000, kNapNs);
    const timespec nap{0, nap_ns};
    nanosleep(&nap, nullptr);
  }
}

bool parse_options(int argc, char** argv, Options* options) {
  for (int i = 1; i + 1 < argc; i += 2) {
    const std::string key = argv[i];
    const std::string value = argv[i + 1];
    if (key == "--port") {
      options->ports.push_back(value);
    } else if (key == "--file-prefix") {
      options->file_prefix = value;
    } else if (key == "--cpu") {
      options->cpu = value;
    } else if (key == "--lifetime") {
      const auto seconds = to_number(value, 86400);
      options->lifetime_s = seconds.value_or(0);
    } else {
      return false;
    }
  }
  return argc % 2 == 1 && !options->ports.empty() &&
         options->ports.size() <= LearningSwitch::kMaxPorts && options->lifetime_s > 0;
}

bool start_eal(const Options& options) {
  std::vector<std::string> words = {"learning-switch",
                                    "--no-huge",
                                    "--no-shconf",
                                    "--no-pci",
                                    "-m",
                                    "512",
                                    "--lcores",
                                    "0@" + options.cpu,
                                    "--no-telemetry",
                                    "--log-level",
                                    "error",
                                    "--file-prefix",
                                    options.file_prefix};
  for (const std::string& port : options.ports) {
    words.push_back("--vdev");
    words.push_back(port);
  }
  std::vector<char*> arguments;
  for (std::string& word : words) {
    arguments.push_back(word.data());
  }
  return rte_eal_init(static_cast<int>(arguments.size()), arguments.data()) >= 0;
}

int start(const Options& options) {
  if (!start_eal(options)) {
    std::fprintf(stderr, "learning-switch: cannot start EAL: %s\n", rte_strerror(rte_errno));
    return 1;
  }
  std::vector<std::string> names;
  for (const std::string& port : options.ports) {
    names.push_back(port.substr(0, port.find(',')));
  }
  Status why;
  auto ports = SwitchPorts::open(names, &why);
  if (ports == nullptr) {
    std::fprintf(stderr, "learning-switch: %s\n", why.error().c_str());
    return 1;
  }
  prctl(PR_SET_TIMERSLACK, 1UL);
  // Touches all buffers now. The first access to a buffer is slow and would otherwise happen at a
  // peak of load.
  mlockall(MCL_CURRENT | MCL_FUTURE);
  run(*ports, now() + static_cast<int64_t>(options.lifetime_s) * 1'000'000'000);
  ports.reset();
  rte_eal_cleanup();
  return 0;
}

}  // namespace
}  // namespace godwit::learning_switch

int main(int argc, char** argv) {
  godwit::learning_switch::Options options;
  if (!godwit::learning_switch::parse_options(argc, argv, &options)) {
    std::fprintf(stderr,
                 "usage: learning-switch --port DEVARGS [--port DEVARGS ...] [--file-prefix NAME] "
                 "[--cpu N] [--lifetime SECONDS]\n");
    return 2;
  }
  std::signal(SIGTERM, [](int) { godwit::learning_switch::g_ended = 1; });
  std::signal(SIGINT, [](int) { godwit::learning_switch::g_ended = 1; });
  fcntl(STDIN_FILENO, F_SETFL, fcntl(STDIN_FILENO, F_GETFL) | O_NONBLOCK);
  return godwit::learning_switch::start(options);
}
