// SPDX-License-Identifier: Apache-2.0
//
// The program behind scripts/simulate: runs many seeds and prints those that break an invariant,
// each with its trace and the command that replays it. Or runs the mutants, each of which must be
// caught. docs/dev/testing.md describes the simulator.
//
// Several processes share the seeds. A process that crashes is a violation like any other; another
// takes its place.
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <charconv>
#include <chrono>
#include <cstdio>
#include <cstring>
#include <new>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "tests/sim/mutants.h"
#include "tests/sim/world.h"

namespace godwit::sim {
namespace {

constexpr size_t kTraceLines = 80;  // printed of a failing seed; its replay prints all
constexpr uint64_t kPrintedViolations = 20;
constexpr uint64_t kMutantSeeds = 20'000;  // within which each must be caught
constexpr unsigned kMaxJobs = 64;

struct Arguments {
  std::optional<uint64_t> seeds, seed;
  uint64_t first = 1;
  unsigned least_hosts = 2, most_hosts = kMaxHosts, jobs = 1;
  bool mutants = false;
  std::string mutant;
  uint64_t mutant_seeds = kMutantSeeds;
  Extras extras;
};

// Shared by all processes.
struct Shared {
  std::atomic<uint64_t> next{0}, violations{0};
  std::atomic<uint64_t> events{0}, moved{0}, aborted{0}, delivered{0}, dropped{0}, crashes{0};
  std::array<std::atomic<uint64_t>, kMaxJobs> running{};  // the seed of each process, plus 1
  char caught_by[12] = "a crash";                         // the violation's number, for mutants
};

Shared& share() {
  void* memory =
      mmap(nullptr, sizeof(Shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) {
    std::perror("simulate: mmap");
    std::exit(2);
  }
  return *new (memory) Shared;
}

unsigned hosts_of(uint64_t seed, const Arguments& arguments) {
  Chance chance(seed ^ 0x686f737473);
  return static_cast<unsigned>(chance.between(arguments.least_hosts, arguments.most_hosts));
}

std::string command_for(uint64_t seed, unsigned hosts, const std::string& mutant,
                        const Extras& extras) {
  return "scripts/simulate --seed " + std::to_string(seed) + " --hosts " + std::to_string(hosts) +
         (mutant.empty() ? "" : " --mutant " + mutant) + extras.arguments();
}

void print_violation(const RunOptions& options, const std::string& violation) {
  const auto& [seed, hosts, trace, mutant, extras] = options;
  World again({seed, hosts, true, mutant, extras});
  const RunReport report = again.run();
  std::string text = "seed " + std::to_string(seed) + " with " + std::to_string(hosts) +
                     " hosts: " + violation + "\n";
  text += "    " + report.trace.front() + "\n";
  const size_t from = report.trace.size() > kTraceLines ? report.trace.size() - kTraceLines : 0;
  if (from > 0) text += "    ... " + std::to_string(from) + " lines before\n";
  for (size_t i = from; i < report.trace.size(); ++i) text += "    " + report.trace[i] + "\n";
  if (report.violation != violation)
    text += "  it ran otherwise this time: " + report.violation + "\n";
  text +=
      "  replay: " + command_for(seed, hosts, mutant == nullptr ? "" : mutant->name, extras) + "\n";
  std::fputs(text.c_str(), stdout);
  std::fflush(stdout);
}

const Mutant* find_mutant(const std::string& name) {
  const auto& all = all_mutants();
  const auto found = std::ranges::find(all, name, &Mutant::name);
  return found == all.end() ? nullptr : &*found;
}

// Runs seeds until none is left.
void work(Shared& shared, unsigned job, const Arguments& arguments) {
  const Mutant* mutant = find_mutant(arguments.mutant);
  for (;;) {
    const uint64_t number = shared.next.fetch_add(1);
    if (number >= *arguments.seeds) return;
    const uint64_t seed = arguments.first + number;
    shared.running[job] = seed + 1;
    const unsigned hosts = hosts_of(seed, arguments);
    const RunOptions options{seed, hosts, false, mutant, arguments.extras};
    const RunReport report = World(options).run();
    shared.events += report.events;
    shared.moved += report.done;
    shared.aborted += report.aborted;
    shared.delivered += report.delivered;
    shared.dropped += report.dropped;
    shared.crashes += report.crashes;
    if (!report.violation.empty()) {
      if (shared.violations.fetch_add(1) < kPrintedViolations)
        print_violation(options, report.violation);
      else
        std::printf("seed %llu with %u hosts: %s\n", static_cast<unsigned long long>(seed), hosts,
                    report.violation.substr(0, report.violation.find('\n')).c_str());
    }
    shared.running[job] = 0;
  }
}

pid_t spawn(Shared& shared, unsigned job, const Arguments& arguments) {
  std::fflush(stdout);
  const pid_t child = fork();
  if (child == 0) {
    work(shared, job, arguments);
    std::fflush(stdout);
    _exit(0);
  }
  return child;
}

int run_seeds(const Arguments& arguments) {
  Shared& shared = share();
  const auto started = std::chrono::steady_clock::now();
  std::vector<std::pair<pid_t, unsigned>> children;
  for (unsigned job = 0; job < arguments.jobs; ++job)
    children.emplace_back(spawn(shared, job, arguments), job);
  while (!children.empty()) {
    int status = 0;
    const pid_t ended = wait(&status);
    const auto child = std::ranges::find(children, ended, &std::pair<pid_t, unsigned>::first);
    if (child == children.end()) break;
    const unsigned job = child->second;
    children.erase(child);
    if (WIFEXITED(status) && WEXITSTATUS(status) == 0) continue;
    ++shared.violations;
    const uint64_t running = shared.running[job].exchange(0);
    const uint64_t seed = running == 0 ? 0 : running - 1;
    const unsigned hosts = hosts_of(seed, arguments);
    std::printf("seed %llu with %u hosts: the process ended by signal %d\n  replay: %s\n",
                static_cast<unsigned long long>(seed), hosts,
                WIFSIGNALED(status) ? WTERMSIG(status) : 0,
                command_for(seed, hosts, arguments.mutant, arguments.extras).c_str());
    if (running != 0) children.emplace_back(spawn(shared, job, arguments), job);
  }
  const double seconds =
      std::chrono::duration<double>(std::chrono::steady_clock::now() - started).count();
  const auto per_second = static_cast<unsigned long long>(static_cast<double>(*arguments.seeds) /
                                                          std::max(seconds, 1e-9));
  std::printf(
      "%.1f s, %llu seeds/s with %u processes; %llu events, %llu ends of moves done and %llu "
      "aborted, %llu switches killed, %llu packets delivered and %llu dropped\n",
      seconds, per_second, arguments.jobs, static_cast<unsigned long long>(shared.events),
      static_cast<unsigned long long>(shared.moved),
      static_cast<unsigned long long>(shared.aborted),
      static_cast<unsigned long long>(shared.crashes),
      static_cast<unsigned long long>(shared.delivered),
      static_cast<unsigned long long>(shared.dropped));
  const uint64_t violations = shared.violations;
  std::printf("%llu seeds, %llu violations\n", static_cast<unsigned long long>(*arguments.seeds),
              static_cast<unsigned long long>(violations));
  return violations == 0 ? 0 : 1;
}

int replay(const Arguments& arguments) {
  const unsigned hosts = hosts_of(*arguments.seed, arguments);
  setvbuf(stdout, nullptr, _IOLBF, 0);
  World world({*arguments.seed, hosts, true, find_mutant(arguments.mutant), arguments.extras});
  const RunReport report = world.run();
  for (const std::string& line : report.trace) std::printf("%s\n", line.c_str());
  if (!report.violation.empty()) std::printf("%s\n", report.violation.c_str());
  std::printf("1 seeds, %d violations\n", report.violation.empty() ? 0 : 1);
  return report.violation.empty() ? 0 : 1;
}

// Returns the number of an invariant at the front of a violation's text, or "a packet" if it has
// none.
std::string number_of(const std::string& violation) {
  const size_t colon = violation.find(": ");
  const bool numbered = colon != std::string::npos && colon > 0 && colon <= 2 &&
                        violation.find_first_not_of("0123456789") == colon;
  return numbered ? violation.substr(0, colon) : "a packet";
}

// Runs in a process of its own, since a mutant may well break an assertion. Returns zero if the
// mutant is not caught; shared.caught_by says what has caught it.
uint64_t seeds_until_caught(const Mutant& mutant, const Arguments& arguments, Shared& shared) {
  const pid_t child = fork();
  if (child == 0) {
    freopen("/dev/null", "w", stderr);
    for (uint64_t seed = arguments.first; seed < arguments.first + arguments.mutant_seeds; ++seed) {
      shared.next = seed - arguments.first + 1;
      const RunReport report =
          World({seed, hosts_of(seed, arguments), false, &mutant, arguments.extras}).run();
      if (report.violation.empty()) continue;
      std::snprintf(shared.caught_by, sizeof shared.caught_by, "%s",
                    number_of(report.violation).c_str());
      _exit(1);
    }
    _exit(0);
  }
  int status = 0;
  waitpid(child, &status, 0);
  return WIFEXITED(status) && WEXITSTATUS(status) == 0 ? 0 : shared.next.load();
}

int run_mutants(const Arguments& arguments) {
  uint64_t count = 0, survived = 0;
  for (const Mutant& mutant : all_mutants()) {
    if (mutant.harmless) continue;
    ++count;
    Shared& shared = share();
    const uint64_t seeds = seeds_until_caught(mutant, arguments, shared);
    survived += seeds == 0 ? 1 : 0;
    const std::string seed_text = seeds == 0 ? "NOT CAUGHT"
                                             : "after " + std::to_string(seeds) +
                                                   (seeds == 1 ? " seed" : " seeds") + " by " +
                                                   shared.caught_by;
    std::printf("%-28s %-26s %s\n", mutant.name.c_str(), seed_text.c_str(), mutant.what.c_str());
    std::fflush(stdout);
  }
  std::printf("%llu mutants, %llu not caught\n", static_cast<unsigned long long>(count),
              static_cast<unsigned long long>(survived));
  return survived == 0 && count > 0 ? 0 : 1;
}

template <typename Number>
bool number(std::string_view text, Number& out) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), out);
  return error == std::errc{} && end == text.data() + text.size();
}

bool hosts(std::string_view text, Arguments& out) {
  const size_t dots = text.find("..");
  if (dots == std::string_view::npos)
    return number(text, out.least_hosts) && number(text, out.most_hosts);
  return number(text.substr(0, dots), out.least_hosts) &&
         number(text.substr(dots + 2), out.most_hosts);
}

// Returns what is wrong, or an empty text.
std::string parse(int count, char** values, Arguments& out) {
  for (int i = 1; i < count; ++i) {
    const std::string_view name = values[i];
    if (name == "--mutants") {
      out.mutants = true;
      continue;
    }
    if (i + 1 == count) return "unknown argument, or no value, at " + std::string(name);
    const std::string_view value = values[++i];
    uint64_t read = 0;
    const bool is_number = number(value, read);
    if (name == "--seeds" && is_number && read > 0) {
      out.seeds = read;
    } else if (name == "--seed" && is_number) {
      out.seed = read;
    } else if (name == "--first" && is_number) {
      out.first = read;
    } else if (name == "--jobs" && is_number && read >= 1 && read <= kMaxJobs) {
      out.jobs = static_cast<unsigned>(read);
    } else if (name == "--mutant-seeds" && is_number && read > 0) {
      out.mutant_seeds = read;
    } else if (name == "--mutant" && find_mutant(std::string(value)) != nullptr) {
      out.mutant = value;
    } else if (name == "--also" && out.extras.set(value)) {
      continue;
    } else if (name != "--hosts" || !hosts(value, out) || out.least_hosts < 2 ||
               out.most_hosts > kMaxHosts || out.least_hosts > out.most_hosts) {
      return "bad " + std::string(name) + " " + std::string(value);
    }
  }
  return {};
}

}  // namespace
}  // namespace godwit::sim

int main(int count, char** values) {
  using namespace godwit::sim;
  Arguments arguments;
  if (const std::string wrong = parse(count, values, arguments); !wrong.empty()) {
    std::fprintf(
        stderr,
        "simulate: %s\nusage: simulate [--seeds N] [--first S] [--seed S] [--hosts N | "
        "A..B] [--jobs J] [--mutants] [--mutant NAME] [--mutant-seeds N] [--also EXTRA]...\n",
        wrong.c_str());
    return 2;
  }
  if (arguments.mutants) return run_mutants(arguments);
  if (arguments.seed) return replay(arguments);
  if (!arguments.seeds) arguments.seeds = 20'000;
  return run_seeds(arguments);
}
