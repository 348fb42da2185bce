// SPDX-License-Identifier: Apache-2.0
//
// Compares the classifier with a linear search over millions of lookups; kUsage says which. Prints
// a line for each part. The exit code is 1 for a mismatch or a set that cannot be read, and 2 for
// wrong usage.
#include <chrono>
#include <cinttypes>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <string>
#include <system_error>
#include <vector>

#include "tests/builders/classbench.h"
#include "tests/oracles/classifier_oracle.h"

namespace {

using godwit::testing::Agreement;
using Clock = std::chrono::steady_clock;

constexpr const char* kUsage =
    R"(usage: classifier_oracle [--lookups N] [--seed S] [DIRECTORY]

Compares N lookups (10,000,000), in batches and one by one, with a linear search:
  6 of 10  over each DIRECTORY/SET.xz that has a SET_trace.xz; larger sets get fewer, by the root
           of their number of rules. Without a directory, over generated access lists of 1,000,
           10,000 and 50,000 rules
  3 of 10  over random rules with IPv6, ranges, masks with holes and groups, in tables of 8 to
           4,096 rules
  1 of 10  by two threads while transactions change the table; they are compared afterwards with
           the rules that were visible at that time
)";

struct Set {
  std::string name;
  std::deque<godwit::dataplane::RuleEntry> rules;
  std::vector<godwit::dataplane::FlowKey> keys;
};

bool load(const std::string& directory, std::deque<Set>& sets) {
  std::error_code error;
  for (const auto& file : std::filesystem::directory_iterator(directory, error)) {
    const std::string name = file.path().filename().string();
    const std::string trace = directory + "/" + name.substr(0, name.find('.')) + "_trace.xz";
    if (!name.ends_with(".xz") || name.ends_with("_trace.xz") ||
        !std::filesystem::exists(trace, error))
      continue;
    auto rules = godwit::testing::read_classbench_rules(file.path().string());
    auto keys = godwit::testing::read_classbench_trace(trace);
    if (!rules || !keys) {
      std::fprintf(stderr, "%s\n", (!rules ? rules.error() : keys.error()).message.c_str());
      return false;
    }
    Set& set = sets.emplace_back();
    set.name = name.substr(0, name.find('.'));
    set.rules.swap(*rules);
    set.keys.swap(*keys);
  }
  if (sets.empty()) std::fprintf(stderr, "no sets in %s\n", directory.c_str());
  return !sets.empty();
}

void generate(uint64_t seed, std::deque<Set>& sets) {
  for (const size_t size : {1000, 10000, 50000}) {
    Set& set = sets.emplace_back();
    set.name = "generated_" + std::to_string(size);
    set.rules = godwit::testing::access_list(seed, size);
    godwit::testing::Random random(seed + size);
    for (size_t i = 0; i < 20000; ++i) {
      const auto n = godwit::testing::pick(random, static_cast<uint32_t>(size));
      set.keys.push_back(godwit::testing::list_key(random, set.rules[n]));
    }
  }
}

template <typename Part>
void run(const std::string& name, Agreement& total, Part part) {
  const auto start = Clock::now();
  const Agreement sum = part();
  const double seconds = std::chrono::duration<double>(Clock::now() - start).count();
  std::printf("%-22s %9" PRIu64 " lookups  %9" PRIu64 " hits  %" PRIu64 " mismatches  %6.1f s",
              name.c_str(), sum.lookups, sum.hits, sum.mismatches, seconds);
  if (sum.generations > 0) std::printf("  %" PRIu64 " transactions", sum.generations);
  std::printf("%s%s\n", sum.mismatches > 0 ? "  first: " : "", sum.first.c_str());
  std::fflush(stdout);
  total.add(sum);
}

}  // namespace

int main(int argc, char** argv) {
  uint64_t lookups = 10'000'000, seed = 1;
  std::string directory;
  for (int i = 1; i < argc; ++i) {
    const std::string argument = argv[i];
    if (argument == "--lookups" && i + 1 < argc) {
      lookups = std::strtoull(argv[++i], nullptr, 10);
    } else if (argument == "--seed" && i + 1 < argc) {
      seed = std::strtoull(argv[++i], nullptr, 10);
    } else if (!argument.starts_with("-") && directory.empty()) {
      directory = argument;
    } else {
      std::fputs(kUsage, argument == "--help" ? stdout : stderr);
      return argument == "--help" ? 0 : 2;
    }
  }
  const auto start = Clock::now();
  std::deque<Set> sets;  // A deque, since rules must not move.
  if (directory.empty()) {
    generate(seed, sets);
  } else if (!load(directory, sets)) {
    return 1;
  }
  double weights = 0;
  for (const Set& set : sets) weights += 1 / std::sqrt(static_cast<double>(set.rules.size()));
  Agreement total;
  for (const Set& set : sets) {
    const double share = 1 / std::sqrt(static_cast<double>(set.rules.size())) / weights;
    const auto mine = static_cast<uint64_t>(0.6 * share * static_cast<double>(lookups));
    run(set.name, total, [&] {
      return godwit::testing::check_rules(set.rules, set.keys, mine, seed, set.name.c_str());
    });
  }
  run("random rules", total, [&] { return godwit::testing::check_random(lookups * 3 / 10, seed); });
  Agreement threads;
  // Each round has a new table, since the oracle keeps all rules of the past.
  while (threads.lookups < lookups / 10) {
    run("concurrent updates", threads, [&] {
      return godwit::testing::ConcurrentOracle(seed + threads.lookups,
                                               std::min<uint64_t>(lookups / 10, 250'000))
          .run();
    });
  }
  total.add(threads);
  std::printf("seed %" PRIu64 ": %" PRIu64 " lookups, %" PRIu64 " mismatches, %.0f s\n", seed,
              total.lookups, total.mismatches,
              std::chrono::duration<double>(Clock::now() - start).count());
  return total.mismatches == 0 ? 0 : 1;
}
