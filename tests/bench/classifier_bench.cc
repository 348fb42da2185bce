// SPDX-License-Identifier: Apache-2.0
//
// Measures the classifier alone on ClassBench sets: cycles per lookup in batches of 32 (percentiles over batches; `quiet`
// is over each batch's best pass, for machines that are shared), bytes a rule, time to insert them all one by one,
// updates a second.
//
//   classifier_bench [--check N] [--passes N] [--updates N] [--one] DIRECTORY SET...
//
// reads DIRECTORY/SET.xz and DIRECTORY/SET_trace.xz. --check compares N lookups with a linear search first. --one
// measures lookup() instead of lookup_batch(). Exit code 1: a mismatch, or a set that can't be read.
#include <x86intrin.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <random>
#include <string>
#include <vector>

#include "dataplane/classifier.h"
#include "tests/support/classbench.h"

namespace {

using godwit::dataplane::Classifier;
using godwit::dataplane::FlowKey;
using godwit::dataplane::NoWorkers;
using godwit::dataplane::Reclaimer;
using godwit::dataplane::RuleEntry;
using Clock = std::chrono::steady_clock;

constexpr size_t kBatch = 32;
constexpr uint64_t kGeneration = 1;

struct Options {
  size_t check = 0;
  size_t passes = 3;
  size_t updates = 0;
  bool one = false;
  std::string directory;
  std::vector<std::string> sets;
};

double seconds_since(Clock::time_point start) { return std::chrono::duration<double>(Clock::now() - start).count(); }

// The rules are in Order, so the first that matches wins.
bool agrees(const Classifier& classifier, const std::deque<RuleEntry>& rules, const std::vector<FlowKey>& keys,
            size_t count) {
  for (size_t n = 0; n < count; ++n) {
    const FlowKey& key = keys[n * 7919 % keys.size()];
    const RuleEntry* want = nullptr;
    for (const RuleEntry& rule : rules) {
      if (!rule.match.matches(key)) continue;
      want = &rule;
      break;
    }
    const RuleEntry* got = classifier.lookup(key, kGeneration);
    const FlowKey* batch[1] = {&key};
    const RuleEntry* out[1];
    classifier.lookup_batch(batch, kGeneration, out);
    if (got != want || out[0] != want) {
      std::printf("MISMATCH at key %zu: found %lld (batch %lld), not %lld\n", n * 7919 % keys.size(),
                  got == nullptr ? -1ll : static_cast<long long>(got->id.value),
                  out[0] == nullptr ? -1ll : static_cast<long long>(out[0]->id.value),
                  want == nullptr ? -1ll : static_cast<long long>(want->id.value));
      return false;
    }
  }
  return true;
}

struct Cycles {
  std::vector<double> all;    // per lookup, of each batch in each pass; sorted
  std::vector<double> quiet;  // of each batch in its best pass; sorted
};

Cycles measure(const Classifier& classifier, const std::vector<FlowKey>& keys, const Options& options) {
  Cycles cycles;
  uint64_t sink = 0;
  for (size_t pass = 0; pass <= options.passes; ++pass) {
    for (size_t start = 0; start + kBatch <= keys.size(); start += kBatch) {
      const FlowKey* batch[kBatch];
      const RuleEntry* out[kBatch];
      for (size_t i = 0; i < kBatch; ++i) batch[i] = &keys[start + i];
      unsigned aux;
      const uint64_t before = __rdtscp(&aux);
      if (options.one) {
        for (size_t i = 0; i < kBatch; ++i) out[i] = classifier.lookup(*batch[i], kGeneration);
      } else {
        classifier.lookup_batch(batch, kGeneration, out);
      }
      const uint64_t after = __rdtscp(&aux);
      const double spent = static_cast<double>(after - before) / kBatch;
      if (pass == 0) cycles.quiet.push_back(spent);
      if (pass > 0) cycles.all.push_back(spent);
      cycles.quiet[start / kBatch] = std::min(cycles.quiet[start / kBatch], spent);
      for (const RuleEntry* entry : out) sink += reinterpret_cast<uintptr_t>(entry);
    }
  }
  if (sink == 1) std::puts("");
  std::sort(cycles.all.begin(), cycles.all.end());
  std::sort(cycles.quiet.begin(), cycles.quiet.end());
  return cycles;
}

double at(const std::vector<double>& sorted, size_t percent) { return sorted[sorted.size() * percent / 100]; }

// Removes and inserts rules at random places; each of the two counts as one update.
double updates_per_second(Classifier& classifier, Reclaimer& reclaimer, const std::deque<RuleEntry>& rules,
                          size_t count) {
  std::mt19937_64 random(1);
  const auto start = Clock::now();
  for (size_t i = 0; i < count; i += 2) {
    const RuleEntry& rule = rules[random() % rules.size()];
    classifier.remove(rule);
    if (!classifier.insert(rule)) return 0;
    if (i % 64 == 0) reclaimer.collect();
  }
  reclaimer.collect();
  return static_cast<double>(count) / seconds_since(start);
}

bool run(const std::string& set, const Options& options) {
  auto rules = godwit::testing::read_classbench_rules(options.directory + "/" + set + ".xz");
  auto keys = godwit::testing::read_classbench_trace(options.directory + "/" + set + "_trace.xz");
  if (!rules || !keys) {
    std::fprintf(stderr, "%s\n", (!rules ? rules.error() : keys.error()).message.c_str());
    return false;
  }
  NoWorkers grace;
  Reclaimer reclaimer(grace);
  Classifier classifier(reclaimer);
  const auto start = Clock::now();
  for (const RuleEntry& rule : *rules) {
    if (auto inserted = classifier.insert(rule); !inserted) {
      std::fprintf(stderr, "%s: %s\n", set.c_str(), inserted.error().message.c_str());
      return false;
    }
    if (rule.id.value % 64 == 0) reclaimer.collect();
  }
  reclaimer.collect();
  const double build = seconds_since(start);
  if (!agrees(classifier, *rules, *keys, options.check)) return false;
  double updates = 0;
  const Cycles cycles = measure(classifier, *keys, options);
  if (options.updates > 0) {
    updates = updates_per_second(classifier, reclaimer, *rules, options.updates);
    if (!agrees(classifier, *rules, *keys, options.check)) return false;
  }
  std::printf("%-14s %7zu rules  cycles p10 %7.1f  p50 %7.1f  p99 %7.1f  quiet p50 %7.1f  bytes/rule %6.1f  build %7.3f s",
              set.c_str(),
              rules->size(), at(cycles.all, 10), at(cycles.all, 50), at(cycles.all, 99), at(cycles.quiet, 50),
              static_cast<double>(classifier.memory_bytes()) / static_cast<double>(rules->size()), build);
  if (options.updates > 0) std::printf("  updates %8.0f/s", updates);
  std::printf("\n");
  std::fflush(stdout);
  return true;
}

}  // namespace

int main(int argc, char** argv) {
  Options options;
  for (int i = 1; i < argc; ++i) {
    const std::string argument = argv[i];
    const auto number = [&] { return i + 1 < argc ? std::strtoull(argv[++i], nullptr, 10) : 0; };
    if (argument == "--check") {
      options.check = number();
    } else if (argument == "--passes") {
      options.passes = std::max<size_t>(1, number());
    } else if (argument == "--updates") {
      options.updates = number();
    } else if (argument == "--one") {
      options.one = true;
    } else if (options.directory.empty()) {
      options.directory = argument;
    } else {
      options.sets.push_back(argument);
    }
  }
  if (options.sets.empty()) {
    std::fprintf(stderr, "usage: classifier_bench [--check N] [--passes N] [--updates N] [--one] DIRECTORY SET...\n");
    return 2;
  }
  bool good = true;
  for (const std::string& set : options.sets) good = run(set, options) && good;
  return good ? 0 : 1;
}
