// SPDX-License-Identifier: Apache-2.0
//
// The short form of tests/bench/classifier_oracle, which takes some seconds.
#include "tests/oracles/classifier_oracle.h"

#include <gtest/gtest.h>

#include "tests/oracles/linear_classifier.h"

namespace godwit::dataplane {
namespace {

using namespace godwit::testing;

constexpr uint64_t kSeed = 77;

TEST(ClassifierOracle, AgreesWithLinearSearch) {
  Random random(kSeed);
  LinearClassifier linear;
  std::vector<std::unique_ptr<RuleEntry>> entries;
  std::vector<const RuleEntry*> all;
  for (size_t i = 0; i < 500; ++i) {
    entries.push_back(random_entry(random, i));
    make_visible(*entries.back(), pick(random, 4), pick(random, 3) == 0 ? 4 : kNever);
    linear.insert(*entries.back());
    all.push_back(entries.back().get());
  }
  const FirstMatch oracle(all);
  size_t hits = 0;
  for (const size_t count : {1, 5, 63, 64}) {
    for (size_t round = 0; round < 10; ++round) {
      std::vector<FlowKey> keys(count);
      std::vector<const FlowKey*> pointers;
      std::vector<uint64_t> generations;
      std::vector<const RuleEntry*> out(count);
      for (FlowKey& key : keys) {
        key = random_key(random);
        pointers.push_back(&key);
        generations.push_back(pick(random, 6));
      }
      oracle.lookup(pointers, generations, out);
      for (size_t i = 0; i < count; ++i) {
        ASSERT_EQ(out[i], linear.lookup(keys[i], generations[i]));
        hits += out[i] != nullptr;
      }
    }
  }
  EXPECT_GT(hits, 100u);
}

TEST(ClassifierOracle, AgreesOnAccessLists) {
  const std::deque<RuleEntry> rules = access_list(kSeed, 5000);
  Random random(kSeed);
  std::vector<FlowKey> keys;
  for (size_t i = 0; i < 5000; ++i) keys.push_back(list_key(random, rules[pick(random, 5000)]));
  const Agreement sum = check_rules(rules, keys, 100'000, kSeed, "access list");
  EXPECT_EQ(sum.mismatches, 0u) << sum.first << ", seed " << kSeed;
  EXPECT_GT(sum.hits, sum.lookups / 4);
}

TEST(ClassifierOracle, AgreesOnRandomRulesInGroups) {
  const Agreement sum = check_random(200'000, kSeed);
  EXPECT_EQ(sum.mismatches, 0u) << sum.first << ", seed " << kSeed;
  EXPECT_GT(sum.hits, sum.lookups / 4);
}

TEST(ClassifierOracle, PacketsSeeWholeTransactionsOfTheirGeneration) {
  const Agreement sum = ConcurrentOracle(kSeed, 60'000).run();
  EXPECT_EQ(sum.mismatches, 0u) << sum.first << ", seed " << kSeed;
  EXPECT_GT(sum.generations, 400u);
  EXPECT_GT(sum.hits, sum.lookups / 4);
}

}  // namespace
}  // namespace godwit::dataplane
