// SPDX-License-Identifier: Apache-2.0
//
// Measures the classifier alone on ClassBench sets; kUsage lists the figures. `quiet` takes the
// best pass of each batch, for machines that are shared. The exit code is 1 for a mismatch or a set
// that cannot be read, and 2 for wrong usage.
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <string>
#include <vector>

#include "tests/bench/classifier_load.h"
#include "tests/builders/classbench.h"
#include "tests/builders/random_rule_set.h"

namespace {

using namespace godwit::bench;

constexpr const char* kUsage =
    R"(usage: classifier_bench [OPTION]... DIRECTORY SET...

Reads DIRECTORY/SET.xz and DIRECTORY/SET_trace.xz (ClassBench). A set named gen_SIZE_SEED is
generated instead: an access list of SIZE rules, and a trace. For each set it reports:
- cycles per lookup in batches of 32: percentiles over batches, and the mean without the slowest
  hundredth of batches, which were interrupted;
- bytes per rule;
- the time to insert all rules one by one, the longest of these inserts, and the time to insert all
  rules at once.

  --check N          compares N lookups with a linear search first
  --passes N         passes over the trace (3)
  --one              uses lookup() instead of lookup_batch()
  --lookups-only     leaves out the inserts one by one
  --updates N        reports updates per second, over N of them, in the table built at once: rules
                     at random places are removed and inserted again
  --disturb N        measures N interleaved pairs (goal: 20) of lookups while a writer updates this
                     table as fast as it can, and while it updates another table of the same rules
                     that nobody reads. The ratio is the median of the pairs
  --update-rates A,B measures lookups under A, B, ... updates per second
  --seconds S        the duration of each measurement of the last two (0.1)
  --json FILE        also writes the figures as JSON; with -, standard output has only these:
                     {"sets": {SET: {"rules", "mean", "p10", "p50", "p99", "quiet_p50",
                     "bytes_per_rule", "insert_s", "slowest_insert_us", "build_s",
                     "updates_per_s", "disturb": {"pairs", "ratio", "ratio_p50", "updates_per_s",
                     "updates_per_s_apart"}, "update_rates": [{"rate", "updates_per_s", "mean",
                     "p10", "p50", "p99", "ratio"}]}}}. Lookups are in cycles, ratios are of
                     cycles. Figures that were not requested are absent.
)";

struct Options {
  size_t check = 0;
  size_t passes = 3;
  size_t updates = 0;
  size_t pairs = 0;
  std::vector<uint64_t> rates;
  double seconds = 0.1;
  bool one = false;
  bool lookups_only = false;
  std::string json;
  std::string directory;
  std::vector<std::string> sets;
};

// Compares `count` lookups with a linear search. The rules are sorted, so the first match wins.
bool agrees(const Classifier& classifier, const std::deque<RuleEntry>& rules,
            const std::vector<FlowKey>& keys, size_t count) {
  for (size_t n = 0; n < count; ++n) {
    const FlowKey& key = keys[n * 7919 % keys.size()];
    const auto first = std::find_if(rules.begin(), rules.end(),
                                    [&](const RuleEntry& r) { return r.match.matches(key); });
    const RuleEntry* want = first == rules.end() ? nullptr : &*first;
    const RuleEntry* got = classifier.lookup(key, kGeneration);
    const FlowKey* batch[1] = {&key};
    const RuleEntry* out[1];
    classifier.lookup_batch(batch, kGeneration, out);
    if (got != want || out[0] != want) {
      std::fprintf(stderr, "MISMATCH at key %zu\n", n * 7919 % keys.size());
      return false;
    }
  }
  return true;
}

struct Cycles {
  std::vector<double> all;    // Per lookup, for each batch in each pass; sorted.
  std::vector<double> quiet;  // The same for the best pass of each batch; sorted.
  double mean = 0;            // Of `all`, without the slowest hundredth.
};

Cycles measure(const Classifier& classifier, const std::vector<FlowKey>& keys,
               const Options& options) {
  Cycles cycles;
  for (size_t pass = 0; pass <= options.passes; ++pass) {
    for (size_t start = 0; start + kBatch <= keys.size(); start += kBatch) {
      const double spent = timed_batch(classifier, keys, start, options.one);
      if (pass == 0) cycles.quiet.push_back(spent);
      if (pass > 0) cycles.all.push_back(spent);
      cycles.quiet[start / kBatch] = std::min(cycles.quiet[start / kBatch], spent);
    }
  }
  std::sort(cycles.all.begin(), cycles.all.end());
  cycles.mean = trimmed_mean(cycles.all);
  std::sort(cycles.quiet.begin(), cycles.quiet.end());
  return cycles;
}

struct Set {
  std::deque<RuleEntry> rules;
  std::vector<FlowKey> keys;
};

bool load(const std::string& name, const Options& options, Set& set) {
  size_t size = 0;
  uint64_t seed = 0;
  if (std::sscanf(name.c_str(), "gen_%zu_%lu", &size, &seed) == 2 && size > 0 &&
      size <= 10'000'000) {
    set.rules = godwit::testing::access_list(seed, size);
    godwit::testing::Random random(seed + 1);
    for (size_t i = 0; i < 100'000; ++i) {
      const auto n = godwit::testing::pick(random, static_cast<uint32_t>(size));
      set.keys.push_back(godwit::testing::list_key(random, set.rules[n]));
    }
    return true;
  }
  auto rules = godwit::testing::read_classbench_rules(options.directory + "/" + name + ".xz");
  auto keys = godwit::testing::read_classbench_trace(options.directory + "/" + name + "_trace.xz");
  if (!rules || !keys) {
    std::fprintf(stderr, "%s\n", (!rules ? rules.error() : keys.error()).message.c_str());
    return false;
  }
  set.rules = std::move(*rules);
  set.keys = std::move(*keys);
  return true;
}

// One line of text and one JSON object with the same figures.
struct Report {
  std::string text;
  std::string json;
  void add(const char* name, const char* shown, double value) {
    char buffer[160];
    if (shown != nullptr) {
      std::snprintf(buffer, sizeof buffer, shown, value);
      text += buffer;
    }
    std::snprintf(buffer, sizeof buffer, "%s\"%s\": %.6g", json.empty() ? "" : ", ", name, value);
    json += buffer;
  }
};

struct Table {
  Table(Reclaimer& reclaimer, const std::deque<RuleEntry>& rules) : classifier(reclaimer) {
    std::vector<const RuleEntry*> all;
    for (const RuleEntry& rule : rules) all.push_back(&rule);
    const auto start = Clock::now();
    good = classifier.insert_all(all).has_value();
    seconds = seconds_since(start);
  }
  Classifier classifier;
  bool good = false;
  double seconds = 0;
};

void disturb(const Set& set, const std::deque<RuleEntry>& copies, const Options& options,
             Report& report) {
  godwit::testing::TestRcu rcu;
  Reclaimer reclaimer(rcu);
  const size_t reader = rcu.register_reader();
  {
    Table read(reclaimer, set.rules);
    Table apart(reclaimer, copies);
    Updater here(read.classifier, reclaimer, set.rules);
    Updater there(apart.classifier, reclaimer, copies);
    std::vector<double> ratios, ratios_p50, rates, rates_apart;
    for (size_t i = 0; i < options.pairs; ++i) {
      Window windows[2];
      for (const size_t n : {i % 2, 1 - i % 2}) {
        windows[n] = measure_window(read.classifier, set.keys, rcu, reader, n == 0 ? here : there,
                                    kUnbounded, options.seconds);
      }
      ratios.push_back(trimmed_mean(windows[0].cycles) / trimmed_mean(windows[1].cycles));
      ratios_p50.push_back(at(windows[0].cycles, 50) / at(windows[1].cycles, 50));
      rates.push_back(windows[0].updates_per_s);
      rates_apart.push_back(windows[1].updates_per_s);
    }
    if (options.pairs > 0) {
      Report sub;
      sub.add("pairs", nullptr, static_cast<double>(options.pairs));
      sub.add("ratio", "  disturbed x %.3f", median(ratios));
      sub.add("ratio_p50", " (p50 x %.3f)", median(ratios_p50));
      sub.add("updates_per_s", " at %.0f/s", median(rates));
      sub.add("updates_per_s_apart", " (apart %.0f/s)", median(rates_apart));
      report.text += sub.text;
      report.json += ", \"disturb\": {" + sub.json + "}";
    }
    double base = 0;
    std::string list;
    for (const uint64_t rate : options.rates) {
      const Window window =
          measure_window(read.classifier, set.keys, rcu, reader, here, rate, 5 * options.seconds);
      if (base == 0) base = trimmed_mean(window.cycles);
      Report sub;
      sub.add("rate", "\n    under %8.0f updates/s", static_cast<double>(rate));
      sub.add("updates_per_s", " (%8.0f done)", window.updates_per_s);
      sub.add("mean", nullptr, trimmed_mean(window.cycles));
      sub.add("p10", ": cycles p10 %7.1f", at(window.cycles, 10));
      sub.add("p50", "  p50 %7.1f", at(window.cycles, 50));
      sub.add("p99", "  p99 %7.1f", at(window.cycles, 99));
      sub.add("ratio", "  x %.3f of the first", trimmed_mean(window.cycles) / base);
      report.text += sub.text;
      list += (list.empty() ? "{" : ", {") + sub.json + "}";
    }
    if (!list.empty()) report.json += ", \"update_rates\": [" + list + "]";
    rcu.offline(reader);
  }
  reclaimer.drain();
}

// Inserts the rules one by one into an empty table. Returns false if a rule is refused or a lookup
// is wrong.
bool measure_inserts(const Set& set, Reclaimer& reclaimer, const Options& options, Report& report) {
  Classifier classifier(reclaimer);
  double slowest = 0;
  const auto start = Clock::now();
  for (const RuleEntry& rule : set.rules) {
    const auto before = Clock::now();
    if (auto inserted = classifier.insert(rule); !inserted) {
      std::fprintf(stderr, "%s\n", inserted.error().message.c_str());
      return false;
    }
    slowest = std::max(slowest, seconds_since(before));
    if (rule.id.value % 64 == 0) reclaimer.collect();
  }
  reclaimer.collect();
  report.add("insert_s", "  inserts %6.3f s", seconds_since(start));
  report.add("slowest_insert_us", " (slowest %6.0f us)", slowest * 1e6);
  return agrees(classifier, set.rules, set.keys, options.check);
}

bool measure_set(const Set& set, const std::deque<RuleEntry>& copies, const Options& options,
                 Report& report) {
  godwit::NoWorkers grace;
  Reclaimer reclaimer(grace);
  report.add("rules", "%7.0f rules", static_cast<double>(set.rules.size()));
  if (!options.lookups_only && !measure_inserts(set, reclaimer, options, report)) return false;
  Table table(reclaimer, copies);
  if (!table.good || !agrees(table.classifier, copies, set.keys, options.check)) return false;
  const Cycles cycles = measure(table.classifier, set.keys, options);
  report.add("mean", "  cycles %7.1f", cycles.mean);
  report.add("p10", "  p10 %7.1f", at(cycles.all, 10));
  report.add("p50", "  p50 %7.1f", at(cycles.all, 50));
  report.add("p99", "  p99 %7.1f", at(cycles.all, 99));
  report.add("quiet_p50", "  quiet p50 %7.1f", at(cycles.quiet, 50));
  const double size = static_cast<double>(set.rules.size());
  report.add("bytes_per_rule", "  bytes/rule %6.1f",
             static_cast<double>(table.classifier.memory_bytes()) / size);
  report.add("build_s", "  at once %6.3f s", table.seconds);
  if (options.updates > 0) {
    Updater updater(table.classifier, reclaimer, copies);
    const auto begin = Clock::now();
    const bool good = updater.run(options.updates);
    report.add("updates_per_s", "  updates %8.0f/s",
               static_cast<double>(options.updates) / seconds_since(begin));
    if (!good || !agrees(table.classifier, copies, set.keys, options.check)) return false;
  }
  return true;
}

bool run(const std::string& name, const Options& options, Report& report) {
  Set set;
  if (!load(name, options, set)) return false;
  std::deque<RuleEntry> copies;  // An entry belongs to one table.
  for (const RuleEntry& rule : set.rules) {
    RuleEntry& copy = copies.emplace_back();
    copy.match = rule.match;
    copy.order = rule.order;
    copy.id = rule.id;
    godwit::testing::make_visible(copy, 1);
  }
  if (!measure_set(set, copies, options, report)) return false;
  if (options.pairs == 0 && options.rates.empty()) return true;
  disturb(set, copies, options, report);
  return true;
}

bool parse(int argc, char** argv, Options& options) {
  for (int i = 1; i < argc; ++i) {
    const std::string argument = argv[i];
    const auto text = [&] { return i + 1 < argc ? argv[++i] : ""; };
    const auto number = [&] { return std::strtoull(text(), nullptr, 10); };
    if (argument == "--check") {
      options.check = number();
    } else if (argument == "--passes") {
      options.passes = std::max<size_t>(1, number());
    } else if (argument == "--updates") {
      options.updates = number();
    } else if (argument == "--disturb") {
      options.pairs = number();
    } else if (argument == "--update-rates") {
      for (const char* at = text(); *at != '\0';) {
        char* end = nullptr;
        options.rates.push_back(std::strtoull(at, &end, 10));
        if (end == at) return false;
        at = *end == ',' ? end + 1 : end;
      }
    } else if (argument == "--seconds") {
      options.seconds = std::max(0.001, std::atof(text()));
    } else if (argument == "--json") {
      options.json = text();
    } else if (argument == "--lookups-only") {
      options.lookups_only = true;
    } else if (argument == "--one") {
      options.one = true;
    } else if (argument.starts_with("-")) {
      return false;
    } else if (options.directory.empty()) {
      options.directory = argument;
    } else {
      options.sets.push_back(argument);
    }
  }
  return !options.sets.empty();
}

}  // namespace

int main(int argc, char** argv) {
  Options options;
  if (!parse(argc, argv, options)) {
    const bool help = argc == 2 && std::strcmp(argv[1], "--help") == 0;
    std::fputs(kUsage, help ? stdout : stderr);
    return help ? 0 : 2;
  }
  bool good = true;
  std::string json;
  for (const std::string& name : options.sets) {
    Report report;
    if (!run(name, options, report)) {
      std::fprintf(stderr, "%s: failed\n", name.c_str());
      good = false;
      continue;
    }
    json += (json.empty() ? "" : ",\n") + std::string("  \"") + name + "\": {" + report.json + "}";
    if (options.json != "-") std::printf("%-14s %s\n", name.c_str(), report.text.c_str());
    std::fflush(stdout);
  }
  if (options.json.empty()) return good ? 0 : 1;
  FILE* file = options.json == "-" ? stdout : std::fopen(options.json.c_str(), "w");
  if (file == nullptr || std::fprintf(file, "{\"sets\": {\n%s\n}}\n", json.c_str()) < 0 ||
      std::fclose(file) != 0) {
    std::fprintf(stderr, "can't write %s\n", options.json.c_str());
    return 1;
  }
  return good ? 0 : 1;
}
