// SPDX-License-Identifier: Apache-2.0
//
// Measures whether workers slow each other down. Runs the pipeline (pipeline_load.h) on one CPU and
// on several at once, in turn, on one shared switch: state, tables, FDB, counters, dedupe. Each
// worker has its own CPU, frames and flow cache, as in the daemon. What workers share (worker.h
// lists it) must not be written for each packet. A cache line that is written by two CPUs costs
// about 100 cycles a packet, and two workers then do less than twice the work of one.
//
//   pipeline_scaling [--workers N] [--rounds N] [--seconds S] [--json]
//
// Prints, for each kind of rules, packets a second alone and together, and the ratio of the rate of
// N workers to that of one: the median of the rounds, N at best. Two CPUs that are threads of one
// core have a lower ratio whatever they write. The first two rows therefore show the limits of the
// machine: each worker adds to its own counter, and all add to one counter. The exit code is 1 if a
// packet was not sent.
#include <pthread.h>
#include <sched.h>

#include <algorithm>
#include <atomic>
#include <barrier>
#include <charconv>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <memory>
#include <string_view>
#include <thread>
#include <vector>

#include "base/clock.h"
#include "tests/bench/pipeline_load.h"

namespace {

using namespace godwit;
using bench::SharedSwitch;
using bench::WorkerLoad;

constexpr size_t kTurn = 64;  // Bursts between readings of the clock.

struct Options {
  size_t workers = 2;
  size_t rounds = 9;
  double seconds = 0.3;
  bool json = false;
};

std::vector<int> usable_cpus() {
  cpu_set_t set;
  std::vector<int> cpus;
  if (sched_getaffinity(0, sizeof set, &set) != 0) return cpus;
  for (int cpu = 0; cpu < CPU_SETSIZE; ++cpu) {
    if (CPU_ISSET(cpu, &set)) cpus.push_back(cpu);
  }
  return cpus;
}

void pin(int cpu) {
  cpu_set_t set;
  CPU_ZERO(&set);
  CPU_SET(cpu, &set);
  (void)pthread_setaffinity_np(pthread_self(), sizeof set, &set);
}

// Runs each function of `turns` on its own CPU for `seconds`. Returns the sum of their rates, in
// items a second. One call of a function processes `items`.
double rate(const std::vector<std::function<void()>>& turns, const std::vector<int>& cpus,
            double seconds, double items) {
  std::barrier ready(static_cast<std::ptrdiff_t>(turns.size()));
  std::vector<double> rates(turns.size());
  std::vector<std::thread> threads;
  for (size_t i = 0; i < turns.size(); ++i) {
    threads.emplace_back([&, i] {
      pin(cpus[i]);
      turns[i]();  // Warms the caches.
      ready.arrive_and_wait();
      const auto began = std::chrono::steady_clock::now();
      double took = 0;
      size_t done = 0;
      while (took < seconds) {
        turns[i]();
        ++done;
        took = std::chrono::duration<double>(std::chrono::steady_clock::now() - began).count();
      }
      rates[i] = static_cast<double>(done) * items / took;
    });
  }
  for (std::thread& thread : threads) thread.join();
  double sum = 0;
  for (const double one : rates) sum += one;
  return sum;
}

double median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return values[values.size() / 2];
}

struct Figure {
  const char* name;
  double alone = 0;  // Items a second.
  double together = 0;
  double scale = 0;
};

Figure compare(const char* name, const std::vector<std::function<void()>>& turns,
               const Options& options, const std::vector<int>& cpus, double items) {
  std::vector<double> alone, together, scale;
  for (size_t round = 0; round < options.rounds; ++round) {
    // The CPU that runs alone rotates, so that a slow one does not look like the cost of sharing.
    std::vector<int> rotated = cpus;
    std::rotate(rotated.begin(),
                rotated.begin() + static_cast<std::ptrdiff_t>(round % turns.size()),
                rotated.begin() + static_cast<std::ptrdiff_t>(turns.size()));
    alone.push_back(rate({turns[0]}, rotated, options.seconds, items));
    together.push_back(rate(turns, rotated, options.seconds, items));
    scale.push_back(together.back() / alone.back());
  }
  return {name, median(alone), median(together), median(scale)};
}

Figure pipeline_figure(const char* name, const std::function<void(SharedSwitch&)>& rules,
                       const Options& options, const std::vector<int>& cpus, bool& good) {
  SharedSwitch shared(static_cast<uint16_t>(options.workers));
  rules(shared);
  std::vector<std::unique_ptr<WorkerLoad>> loads;
  std::vector<std::function<void()>> turns;
  std::vector<size_t> bursts(options.workers, 0);
  for (uint16_t i = 0; i < options.workers; ++i) {
    loads.push_back(std::make_unique<WorkerLoad>(shared, WorkerId{i}));
    turns.emplace_back([load = loads.back().get(), count = &bursts[i]] {
      load->run(kTurn, false);
      *count += kTurn;
    });
  }
  const Figure figure =
      compare(name, turns, options, cpus, static_cast<double>(kTurn * dataplane::kBurst));
  for (size_t i = 0; i < loads.size(); ++i) {
    if (!loads[i]->all_sent(bursts[i])) {
      std::fprintf(stderr, "%s: worker %zu sent %zu packets of %zu\n", name, i, loads[i]->sent(),
                   bursts[i] * dataplane::kBurst);
      good = false;
    }
  }
  return figure;
}

// Returns the figures of threads that share nothing and of threads that share a cache line: the
// limits of this machine.
std::vector<Figure> machine_figures(const Options& options, const std::vector<int>& cpus) {
  struct alignas(64) Line {
    std::atomic<uint64_t> count{0};
  };
  std::vector<Line> own(options.workers);
  Line shared;
  std::vector<std::function<void()>> apart, on_one;
  constexpr int kAdds = 20000;
  for (size_t i = 0; i < options.workers; ++i) {
    apart.emplace_back([line = &own[i]] {
      for (int n = 0; n < kAdds; ++n) line->count.fetch_add(1, std::memory_order_relaxed);
    });
    on_one.emplace_back([line = &shared] {
      for (int n = 0; n < kAdds; ++n) line->count.fetch_add(1, std::memory_order_relaxed);
    });
  }
  return {compare("own line", apart, options, cpus, kAdds),
          compare("shared line", on_one, options, cpus, kAdds)};
}

bool number(const char* text, double& value) {
  const char* end = text + std::strlen(text);
  const auto [stopped, error] = std::from_chars(text, end, value);
  return error == std::errc() && stopped == end && value > 0;
}

bool parse(int count, char** words, Options& options) {
  for (int i = 1; i < count; ++i) {
    const std::string_view word = words[i];
    double value = 0;
    if (word == "--json") {
      options.json = true;
      continue;
    }
    if (i + 1 >= count || !number(words[++i], value)) return false;
    if (word == "--workers" && value >= 2 && value <= 64)
      options.workers = static_cast<size_t>(value);
    else if (word == "--rounds" && value <= 1000)
      options.rounds = static_cast<size_t>(value);
    else if (word == "--seconds" && value <= 60)
      options.seconds = value;
    else
      return false;
  }
  return true;
}

void print(const std::vector<Figure>& figures, const Options& options) {
  if (options.json) {
    std::printf("{\"workers\": %zu, \"rows\": [", options.workers);
    for (const Figure& figure : figures) {
      std::printf(
          "%s{\"name\": \"%s\", \"alone_per_second\": %.0f, \"together_per_second\": %.0f, "
          "\"scale\": %.3f}",
          &figure == figures.data() ? "" : ", ", figure.name, figure.alone, figure.together,
          figure.scale);
    }
    std::printf("]}\n");
    return;
  }
  std::printf("%-14s %14s %18s %8s\n", "", "M/s alone", "M/s together", "ratio");
  for (const Figure& figure : figures) {
    std::printf("%-14s %14.2f %18.2f %8.2f\n", figure.name, figure.alone / 1e6,
                figure.together / 1e6, figure.scale);
  }
}

}  // namespace

int main(int count, char** words) {
  Options options;
  if (!parse(count, words, options)) {
    std::fprintf(stderr,
                 "usage: pipeline_scaling [--workers 2..64] [--rounds N] [--seconds S] [--json]\n");
    return 2;
  }
  const std::vector<int> cpus = usable_cpus();
  if (cpus.size() < options.workers) {
    std::fprintf(stderr, "pipeline_scaling: needs %zu CPUs, may use %zu\n", options.workers,
                 cpus.size());
    return 2;
  }
  bool good = true;
  std::vector<Figure> figures = machine_figures(options, cpus);
  figures.push_back(pipeline_figure(
      "one rule", [](SharedSwitch& shared) { shared.catch_all_rule(); }, options, cpus, good));
  figures.push_back(pipeline_figure(
      "100 rules", [](SharedSwitch& shared) { shared.flow_rules(); }, options, cpus, good));
  figures.push_back(pipeline_figure(
      "egress rules",
      [](SharedSwitch& shared) {
        shared.flow_rules();
        shared.egress_rules();
      },
      options, cpus, good));
  figures.push_back(pipeline_figure(
      "normal", [](SharedSwitch&) {}, options, cpus, good));
  print(figures, options);
  return good ? 0 : 1;
}
