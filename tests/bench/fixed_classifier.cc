// SPDX-License-Identifier: Apache-2.0
//
// Runs the classifier on fixed input, so that callgrind can count its instructions: 1,000 rules
// inserted one by one, and all at once into another table; 20,000 lookups in batches and one by
// one; 1,000 updates. Input and hash key are constant, so each run executes the same instructions.
//
// Each part is a function, which callgrind counts alone by its name, such as
// --toggle-collect=fixed_lookups. The generation of input is in none of them. --portable selects
// the code for a CPU without extensions. instruction_counts.txt keeps the counts, and scripts/test
// compares them with a run.
//
// The exit code is 1 if a lookup gave a wrong result, so that the counts are void.
#include <array>
#include <cstdio>
#include <cstring>
#include <deque>
#include <vector>

#include "dataplane/classifier/classifier.h"
#include "tests/bench/portable_path.h"
#include "tests/builders/random_rule_set.h"

namespace {

using godwit::NoWorkers;
using godwit::Reclaimer;
using godwit::dataplane::Classifier;
using godwit::dataplane::FlowKey;
using godwit::dataplane::RuleEntry;

constexpr size_t kRules = 1000;
constexpr size_t kLookups = 20000;
constexpr size_t kUpdates = 1000;
constexpr uint64_t kSeed = 42;

}  // namespace

extern "C" {

[[gnu::noinline]] bool fixed_inserts(Classifier& classifier, const std::deque<RuleEntry>& rules) {
  bool good = true;
  for (const RuleEntry& rule : rules) good = classifier.insert(rule).has_value() && good;
  return good;
}

[[gnu::noinline]] bool fixed_build(Classifier& classifier,
                                   const std::vector<const RuleEntry*>& rules) {
  return classifier.insert_all(rules).has_value();
}

[[gnu::noinline]] size_t fixed_lookups(const Classifier& classifier,
                                       const std::vector<FlowKey>& keys) {
  size_t hits = 0;
  for (size_t start = 0; start < keys.size(); start += 32) {
    std::array<const FlowKey*, 32> batch;
    std::array<const RuleEntry*, 32> out;
    for (size_t i = 0; i < batch.size(); ++i) batch[i] = &keys[start + i];
    classifier.lookup_batch(batch, 1, out);
    for (const RuleEntry* entry : out) hits += entry != nullptr;
  }
  return hits;
}

[[gnu::noinline]] size_t fixed_single_lookups(const Classifier& classifier,
                                              const std::vector<FlowKey>& keys) {
  size_t hits = 0;
  for (const FlowKey& key : keys) hits += classifier.lookup(key, 1) != nullptr;
  return hits;
}

[[gnu::noinline]] bool fixed_updates(Classifier& classifier, const std::deque<RuleEntry>& rules) {
  bool good = true;
  for (size_t i = 0; i < kUpdates / 2; ++i) {
    const RuleEntry& rule = rules[i * 397 % rules.size()];
    classifier.remove(rule);
    good = classifier.insert(rule).has_value() && good;
  }
  return good;
}

}  // extern "C"

int main(int argc, char** argv) {
  if (argc == 2 && std::strcmp(argv[1], "--portable") == 0) godwit::bench::take_portable_path();
  const std::deque<RuleEntry> rules = godwit::testing::access_list(kSeed, kRules);
  godwit::testing::Random random(kSeed + 1);
  std::vector<FlowKey> keys(kLookups);
  for (FlowKey& key : keys) {
    key = godwit::testing::list_key(
        random, rules[godwit::testing::pick(random, static_cast<uint32_t>(rules.size()))]);
  }
  NoWorkers grace;
  Reclaimer reclaimer(grace);
  Classifier classifier(reclaimer, {kSeed, ~kSeed});
  const std::deque<RuleEntry> copies = godwit::testing::access_list(kSeed, kRules);
  std::vector<const RuleEntry*> all;
  for (const RuleEntry& copy : copies) all.push_back(&copy);
  Classifier built(reclaimer, {kSeed, ~kSeed});
  const bool good = fixed_build(built, all) && fixed_inserts(classifier, rules) &&
                    fixed_lookups(classifier, keys) == keys.size() &&
                    fixed_updates(classifier, rules) &&
                    fixed_single_lookups(classifier, keys) == keys.size();
  if (!good) std::fprintf(stderr, "fixed_classifier: a lookup or an insert went wrong\n");
  return good ? 0 : 1;
}
