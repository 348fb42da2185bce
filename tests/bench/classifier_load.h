// SPDX-License-Identifier: Apache-2.0
//
// A load on one rule table: lookups by a reader and updates by a writer. Cycles are those of the
// time stamp counter, per lookup, in batches of 32.
//
// Thread safety: measure_window() looks up in the calling thread and updates in a second one. A
// TestRcu protects the reader.
#pragma once

#include <x86intrin.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cmath>
#include <cstdint>
#include <deque>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "dataplane/classifier/classifier.h"
#include "tests/harness/test_rcu.h"

namespace godwit::bench {

using dataplane::Classifier;
using dataplane::FlowKey;
using dataplane::RuleEntry;
using godwit::Reclaimer;
using Clock = std::chrono::steady_clock;

inline constexpr size_t kBatch = 32;
inline constexpr uint64_t kGeneration = 1;

inline double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}
inline double at(const std::vector<double>& sorted, size_t percent) {
  return sorted.empty() ? 0 : sorted[std::min(sorted.size() - 1, sorted.size() * percent / 100)];
}
inline double median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return at(values, 50);
}
// Returns the mean without the slowest hundredth of the values, which were interrupted.
inline double trimmed_mean(const std::vector<double>& sorted) {
  const size_t count = sorted.size() - sorted.size() / 100;
  double sum = 0;
  for (size_t i = 0; i < count; ++i) sum += sorted[i];
  return count == 0 ? 0 : sum / static_cast<double>(count);
}

// Looks up the batch that starts at `start`. Returns cycles per lookup.
inline double timed_batch(const Classifier& classifier, const std::vector<FlowKey>& keys,
                          size_t start, bool one) {
  const FlowKey* batch[kBatch];
  const RuleEntry* out[kBatch];
  for (size_t i = 0; i < kBatch; ++i) batch[i] = &keys[start + i];
  unsigned aux;
  const uint64_t before = __rdtscp(&aux);
  if (one) {
    for (size_t i = 0; i < kBatch; ++i) out[i] = classifier.lookup(*batch[i], kGeneration);
  } else {
    classifier.lookup_batch(batch, kGeneration, out);
  }
  const uint64_t after = __rdtscp(&aux);
  for (const RuleEntry* entry : out) asm volatile("" : : "r"(entry));
  return static_cast<double>(after - before) / kBatch;
}

// Removes and inserts rules at random places. Each of the two is one update.
class Updater {
 public:
  Updater(Classifier& classifier, Reclaimer& reclaimer, const std::deque<RuleEntry>& rules)
      : classifier_(classifier), reclaimer_(reclaimer), rules_(rules) {}

  bool run(size_t updates) {
    bool good = true;
    for (size_t i = 0; i < updates; i += 2) {
      const RuleEntry& rule = rules_[random_() % rules_.size()];
      classifier_.remove(rule);
      good = classifier_.insert(rule).has_value() && good;
      if (++since_collect_ % 32 == 0) reclaimer_.collect();
    }
    return good;
  }

 private:
  Classifier& classifier_;
  Reclaimer& reclaimer_;
  const std::deque<RuleEntry>& rules_;
  std::mt19937_64 random_{1};
  size_t since_collect_ = 0;
};

struct Window {
  std::vector<double> cycles;  // Per lookup, for each batch; sorted.
  double updates_per_s = 0;
};

// Looks up in `read` for some seconds while a second thread updates by `updater` at `rate` a
// second. With a rate of 0 there are no updates; with kUnbounded the thread updates as fast as it
// can. The figures assume that no other work runs on the two CPUs.
inline constexpr uint64_t kUnbounded = UINT64_MAX;
inline Window measure_window(const Classifier& read, const std::vector<FlowKey>& keys,
                             testing::TestRcu& rcu, size_t reader, Updater& updater, uint64_t rate,
                             double seconds) {
  Window window;
  std::atomic<bool> stop{false};
  std::atomic<uint64_t> updates{0};
  std::thread writer;
  const auto start = Clock::now();
  if (rate > 0) {
    writer = std::thread([&] {
      uint64_t done = 0;
      while (!stop.load(std::memory_order_relaxed)) {
        const double due =
            rate == kUnbounded ? HUGE_VAL : seconds_since(start) * static_cast<double>(rate);
        if (static_cast<double>(done) > due) {
          __builtin_ia32_pause();
          continue;
        }
        updater.run(rate == kUnbounded ? 64 : 2);
        done += rate == kUnbounded ? 64 : 2;
      }
      updates.store(done);
    });
  }
  for (size_t at = 0; seconds_since(start) < seconds; at += kBatch) {
    if (at + kBatch > keys.size()) at = 0;
    window.cycles.push_back(timed_batch(read, keys, at, false));
    rcu.quiescent(reader);
  }
  const double took = seconds_since(start);
  stop.store(true);
  if (writer.joinable()) writer.join();
  window.updates_per_s = static_cast<double>(updates.load()) / took;
  std::sort(window.cycles.begin(), window.cycles.end());
  return window;
}

}  // namespace godwit::bench
