// SPDX-License-Identifier: Apache-2.0
#include "dataplane/classifier/classifier.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstddef>
#include <cstring>
#include <deque>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "dataplane/classifier/builder.h"
#include "dataplane/classifier/searcher.h"
#include "tests/builders/random_rule_set.h"
#include "tests/oracles/linear_classifier.h"

namespace godwit::dataplane {
namespace {

using testing::LinearClassifier;
using testing::make_visible;
using testing::mask_bytes;
using testing::pick;
using testing::prefix;
using testing::Random;
using testing::random_entry;
using testing::random_key;

constexpr uint64_t kGeneration = 5;

// The classifier and the oracle with the same entries, which the pair owns.
struct Pair {
  explicit Pair(Reclaimer& reclaimer) : fast(reclaimer) {}
  RuleEntry& add(std::unique_ptr<RuleEntry> entry) {
    EXPECT_TRUE(fast.insert(*entry).has_value());
    slow.insert(*entry);
    entries.push_back(std::move(entry));
    return *entries.back();
  }
  void add_all(Random& random, uint64_t sequence, size_t count) {
    std::vector<const RuleEntry*> all;
    for (size_t i = 0; i < count; ++i) {
      entries.push_back(random_entry(random, sequence + i));
      make_visible(*entries.back(), 1);
      all.push_back(entries.back().get());
      slow.insert(*all.back());
    }
    EXPECT_TRUE(fast.insert_all(all).has_value());
  }
  void remove(size_t i) {
    fast.remove(*entries[i]);
    slow.remove(*entries[i]);
    std::swap(entries[i], entries.back());
    entries.pop_back();
  }
  Classifier fast;
  LinearClassifier slow;
  std::vector<std::unique_ptr<RuleEntry>> entries;
};

// Returns random keys, about half of which match a rule by construction.
std::vector<FlowKey> keys_for(Random& random, const Pair& pair, size_t count) {
  std::vector<FlowKey> keys(count);
  for (FlowKey& key : keys) {
    key = random_key(random);
    if (pair.entries.empty() || pick(random, 2) == 0) continue;
    const Match& match =
        pair.entries[pick(random, static_cast<uint32_t>(pair.entries.size()))]->match;
    for (size_t i = 0; i < kFlowKeyWords; ++i) {
      key.set_word(i, (key.word(i) & ~match.mask.word(i)) | match.value.word(i));
    }
  }
  return keys;
}

::testing::AssertionResult same(const Pair& pair, const std::vector<FlowKey>& keys,
                                uint64_t generation) {
  for (const FlowKey& key : keys) {
    const RuleEntry* got = pair.fast.lookup(key, generation);
    const RuleEntry* want = pair.slow.lookup(key, generation);
    if (got != want) {
      return ::testing::AssertionFailure()
             << "of " << pair.slow.size() << " rules, found "
             << (got == nullptr ? -1 : static_cast<int64_t>(got->id.value)) << ", not "
             << (want == nullptr ? -1 : static_cast<int64_t>(want->id.value));
    }
  }
  for (size_t start = 0; start < keys.size(); start += 32) {
    const size_t count = std::min<size_t>(32, keys.size() - start);
    const FlowKey* batch[32];
    const RuleEntry* out[32];
    for (size_t i = 0; i < count; ++i) batch[i] = &keys[start + i];
    pair.fast.lookup_batch({batch, count}, generation, {out, count});
    for (size_t i = 0; i < count; ++i) {
      if (out[i] != pair.slow.lookup(*batch[i], generation)) {
        return ::testing::AssertionFailure() << "a batch differs at " << i;
      }
    }
  }
  return ::testing::AssertionSuccess();
}

class ClassifierTest : public ::testing::Test {
 protected:
  NoWorkers grace_;
  Reclaimer reclaimer_{grace_};
};

TEST_F(ClassifierTest, EmptyClassifierMatchesNothing) {
  const Classifier classifier(reclaimer_);
  EXPECT_EQ(classifier.lookup(FlowKey{}, kGeneration), nullptr);
  EXPECT_EQ(classifier.size(), 0u);
}

TEST_F(ClassifierTest, LowestPriorityThenRankThenAgeWins) {
  Pair pair(reclaimer_);
  const Order orders[] = {{7, 0, 1}, {5, 1, 2}, {5, 1, 1}, {5, 0, 9}, {3, 1, 100}, {3, 0, 200}};
  const RuleEntry* best = nullptr;
  for (const Order& order : orders) {  // each matches everything and beats those before it
    auto entry = std::make_unique<RuleEntry>();
    entry->order = order;
    make_visible(*entry, 1);
    best = &pair.add(std::move(entry));
    EXPECT_EQ(pair.fast.lookup(FlowKey{}, kGeneration), best);
  }
  EXPECT_EQ(pair.fast.size(), 6u);
}

TEST_F(ClassifierTest, EntryIsVisibleInItsGenerationsOnly) {
  Pair pair(reclaimer_);
  RuleEntry& entry = pair.add(std::make_unique<RuleEntry>());
  EXPECT_EQ(pair.fast.lookup(FlowKey{}, kNever - 1), nullptr);
  make_visible(entry, 10, 20);
  EXPECT_EQ(pair.fast.lookup(FlowKey{}, 9), nullptr);
  EXPECT_EQ(pair.fast.lookup(FlowKey{}, 10), &entry);
  EXPECT_EQ(pair.fast.lookup(FlowKey{}, 19), &entry);
  EXPECT_EQ(pair.fast.lookup(FlowKey{}, 20), nullptr);
}

TEST_F(ClassifierTest, RandomInsertsAgreeWithOracle) {
  for (uint64_t seed = 1; seed <= 12; ++seed) {
    SCOPED_TRACE(seed);
    Random random(seed);
    Pair pair(reclaimer_);
    const size_t rules = size_t{1} << seed;
    for (size_t i = 0; i < rules; ++i) make_visible(pair.add(random_entry(random, i)), 1);
    EXPECT_EQ(pair.fast.size(), rules);
    ASSERT_TRUE(same(pair, keys_for(random, pair, 300), kGeneration));
  }
}

TEST_F(ClassifierTest, RandomInsertsRemovalsAndGenerationsAgreeWithOracle) {
  for (uint64_t seed = 100; seed < 112; ++seed) {
    SCOPED_TRACE(seed);
    Random random(seed);
    Pair pair(reclaimer_);
    uint64_t sequence = 0;
    for (size_t round = 0; round < 30; ++round) {
      const bool growing = pick(random, 3) != 0;
      for (size_t i = pick(random, 120); i > 0; --i) {
        if (growing || pair.entries.empty()) {
          RuleEntry& entry = pair.add(random_entry(random, sequence++));
          const uint64_t from = pick(random, 8);
          if (pick(random, 8) != 0)
            make_visible(entry, from, pick(random, 2) == 0 ? kNever : from + pick(random, 8));
        } else {
          pair.remove(pick(random, static_cast<uint32_t>(pair.entries.size())));
        }
      }
      reclaimer_.collect();
      ASSERT_EQ(pair.fast.size(), pair.slow.size());
      ASSERT_TRUE(same(pair, keys_for(random, pair, 64), pick(random, 12)));
    }
    while (!pair.entries.empty()) pair.remove(pair.entries.size() - 1);
    EXPECT_EQ(pair.fast.size(), 0u);
    EXPECT_EQ(pair.fast.lookup(random_key(random), kGeneration), nullptr);
  }
}

TEST_F(ClassifierTest, LookupAfterReturnsEveryMatchInOrder) {
  for (uint64_t seed = 200; seed < 206; ++seed) {
    SCOPED_TRACE(seed);
    Random random(seed);
    Pair pair(reclaimer_);
    for (size_t i = 0; i < 700; ++i) {
      RuleEntry& entry = pair.add(random_entry(random, i));
      if (pick(random, 5) != 0) make_visible(entry, 1);
    }
    for (const FlowKey& key : keys_for(random, pair, 60)) {
      std::vector<const RuleEntry*> got;
      for (const RuleEntry* entry = pair.fast.lookup(key, kGeneration);
           entry != nullptr && got.size() <= 700;
           entry = pair.fast.lookup(key, kGeneration, &entry->order)) {
        got.push_back(entry);
      }
      ASSERT_EQ(got, pair.slow.all(key, kGeneration));
    }
  }
}

TEST_F(ClassifierTest, LookupAfterOrderOfNoEntryReturnsNextMatch) {
  Pair pair(reclaimer_);
  for (uint32_t priority : {10u, 20u}) {
    auto entry = std::make_unique<RuleEntry>();
    entry->order.priority = priority;
    make_visible(*entry, 1);
    pair.add(std::move(entry));
  }
  const Order between{15, 0, 0};
  EXPECT_EQ(pair.fast.lookup(FlowKey{}, kGeneration, &between), pair.entries[1].get());
}

TEST_F(ClassifierTest, EntriesOfOneMaskedValueAgreeWithOracle) {
  Random random(300);
  Pair pair(reclaimer_);
  for (size_t i = 0; i < 600; ++i) {  // one value with different priorities, generations and ranges
    auto entry = std::make_unique<RuleEntry>();
    entry->match.mask.l4.dst = entry->match.value.l4.dst = to_be16(0x00ff);
    KeyRange range;
    range.offset = offsetof(FlowKey, l4.src);
    range.size = 2;
    range.mask[0] = range.mask[1] = 0xff;
    range.low[1] = static_cast<uint8_t>(pick(random, 200));
    range.high[1] = static_cast<uint8_t>(range.low[1] + pick(random, 4));
    entry->match.ranges.push_back(range);
    entry->order = {pick(random, 50), 0, i};
    make_visible(*entry, pick(random, 8));
    pair.add(std::move(entry));
  }
  std::vector<FlowKey> keys(256);
  for (size_t i = 0; i < keys.size(); ++i) {
    keys[i].l4.dst = to_be16(0xff);
    keys[i].l4.src = to_be16(static_cast<uint16_t>(i));
  }
  ASSERT_TRUE(same(pair, keys, kGeneration));
  while (pair.entries.size() > 20)
    pair.remove(pick(random, static_cast<uint32_t>(pair.entries.size())));
  ASSERT_TRUE(same(pair, keys, kGeneration));
}

TEST_F(ClassifierTest, NestedPrefixesAgreeWithOracle) {
  Pair pair(reclaimer_);
  uint64_t sequence = 0;
  for (uint32_t source = 0; source <= 32; ++source) {
    for (uint32_t destination = 0; destination <= 32; ++destination) {
      auto entry = std::make_unique<RuleEntry>();
      Match& match = entry->match;
      prefix(match.mask.bytes() + offsetof(FlowKey, ipv4.src), source);
      prefix(match.mask.bytes() + offsetof(FlowKey, ipv4.dst), destination);
      match.value.ipv4.src = to_be32(0x0a0b0c0d);
      match.value.ipv4.dst = to_be32(0xc0a80102);
      mask_bytes(match.value, match.mask);
      entry->order = {64 - source - destination, 0, sequence++};
      make_visible(*entry, 1);
      pair.add(std::move(entry));
    }
  }
  Random random(400);
  std::vector<FlowKey> keys(500);
  for (FlowKey& key : keys) {
    key.ipv4.src = to_be32(0x0a0b0c0du ^ (uint32_t{1} << pick(random, 32)) ^ pick(random, 2));
    key.ipv4.dst = to_be32(0xc0a80102u ^ (uint32_t{1} << pick(random, 32)) ^ pick(random, 2));
  }
  ASSERT_TRUE(same(pair, keys, kGeneration));
}

TEST_F(ClassifierTest, MemoryIsReportedAndReleased) {
  Random random(500);
  Pair pair(reclaimer_);
  const size_t empty = pair.fast.memory_bytes();
  for (size_t i = 0; i < 3000; ++i) pair.add(random_entry(random, i));
  const size_t full = pair.fast.memory_bytes();
  EXPECT_GT(full, empty + 3000 * 8);
  while (!pair.entries.empty()) pair.remove(pair.entries.size() - 1);
  reclaimer_.collect();
  EXPECT_LT(pair.fast.memory_bytes(), empty + (full - empty) / 4);
}

TEST_F(ClassifierTest, LargeTableAgreesWithOracle) {
  Random random(700);
  Pair pair(reclaimer_);
  for (size_t i = 0; i < 20000; ++i) make_visible(pair.add(random_entry(random, i)), 1);
  ASSERT_TRUE(same(pair, keys_for(random, pair, 300), kGeneration));
  for (size_t i = 0; i < 4000; ++i)
    pair.remove(pick(random, static_cast<uint32_t>(pair.entries.size())));
  for (size_t i = 0; i < 3000; ++i) make_visible(pair.add(random_entry(random, 20000 + i)), 1);
  ASSERT_TRUE(same(pair, keys_for(random, pair, 300), kGeneration));
}

TEST_F(ClassifierTest, InsertAllAgreesWithOracleAtEachSize) {
  for (const size_t rules : {0, 1, 8, 9, 300, 1024, 1025, 3000, 9000}) {
    SCOPED_TRACE(rules);
    Random random(800 + rules);
    Pair pair(reclaimer_);
    pair.add_all(random, 0, rules);
    EXPECT_EQ(pair.fast.size(), rules);
    ASSERT_TRUE(same(pair, keys_for(random, pair, 300), kGeneration));
    pair.add_all(random, rules, rules + 5);              // more than present: rebuilds
    pair.add_all(random, 2 * rules + 5, 1 + rules / 9);  // few: inserts one by one
    for (size_t i = 0; i < rules / 2; ++i)
      pair.remove(pick(random, static_cast<uint32_t>(pair.entries.size())));
    ASSERT_TRUE(same(pair, keys_for(random, pair, 300), kGeneration));
  }
}

// A new tree is built in steps while the old one changes. Rules that are inserted, removed and
// inserted again meanwhile are in it once.
TEST_F(ClassifierTest, ChangesDuringRebuildAreInNewTree) {
  for (uint64_t seed = 900; seed < 906; ++seed) {
    SCOPED_TRACE(seed);
    Random random(seed);
    Pair pair(reclaimer_);
    uint64_t sequence = 0;
    pair.add_all(random, 0, 1100);
    sequence = 1100;
    for (size_t round = 0; round < 60; ++round) {
      for (size_t i = 0; i < 40 + pick(random, 200); ++i) {
        const uint32_t what = pick(random, 10);
        if (what < 6) {
          make_visible(pair.add(random_entry(random, sequence++)), 1);
        } else {
          const size_t at = what == 6 ? pair.entries.size() - 1
                                      : pick(random, static_cast<uint32_t>(pair.entries.size()));
          if (what < 9) {
            pair.remove(at);
          } else {  // remove and insert the same entry
            pair.fast.remove(*pair.entries[at]);
            ASSERT_TRUE(pair.fast.insert(*pair.entries[at]).has_value());
          }
        }
      }
      if (pick(random, 3) == 0) reclaimer_.collect();
      ASSERT_EQ(pair.fast.size(), pair.slow.size());
      ASSERT_TRUE(same(pair, keys_for(random, pair, 40), kGeneration)) << "round " << round;
    }
    while (!pair.entries.empty())
      pair.remove(pick(random, static_cast<uint32_t>(pair.entries.size())));
    EXPECT_EQ(pair.fast.lookup(random_key(random), kGeneration), nullptr);
  }
}

TEST_F(ClassifierTest, RefusesEntriesOverLimitsUnchanged) {
  Random random(950);
  Classifier few(reclaimer_, {1, 2}, {.rules = 10});
  std::vector<std::unique_ptr<RuleEntry>> entries;
  std::vector<const RuleEntry*> all;
  for (size_t i = 0; i < 11; ++i) {
    entries.push_back(random_entry(random, i));
    all.push_back(entries.back().get());
  }
  const Result<void> eleven = few.insert_all(all);
  ASSERT_FALSE(eleven.has_value());
  EXPECT_EQ(eleven.error().message, "this table is full: it may hold 10 rules");
  EXPECT_EQ(few.size(), 0u);
  for (size_t i = 0; i < 10; ++i) ASSERT_TRUE(few.insert(*entries[i]).has_value());
  EXPECT_FALSE(few.insert(*entries[10]).has_value());
  EXPECT_EQ(few.size(), 10u);
  few.remove(*entries[3]);
  EXPECT_TRUE(few.insert(*entries[10]).has_value());

  Classifier small(reclaimer_, {1, 2}, {.memory_bytes = size_t{1} << 20});
  std::deque<RuleEntry> list = testing::access_list(1, 30000);
  size_t taken = 0;
  for (; taken < list.size() && small.insert(list[taken]).has_value(); ++taken)
    reclaimer_.collect();
  EXPECT_GT(taken, 2000u);
  EXPECT_LT(taken, 30000u);
  EXPECT_EQ(small.size(), taken);
  const Result<void> refused = small.insert(list[taken]);
  ASSERT_FALSE(refused.has_value());
  EXPECT_EQ(refused.error().message, "this table's rules use all of its memory (1 MB)");
}

TEST_F(ClassifierTest, RefusesSequenceThatIsTooLarge) {
  Classifier classifier(reclaimer_);
  RuleEntry entry;
  entry.order.sequence = uint64_t{1} << 60;
  const Result<void> inserted = classifier.insert(entry);
  ASSERT_FALSE(inserted.has_value());
  EXPECT_NE(inserted.error().message.find("sequence"), std::string::npos);
  EXPECT_EQ(classifier.size(), 0u);
}

// The searchers of all instruction sets agree with each other.
TEST(ClassifierVectors, FindTheSameRecordsOnEachInstructionSet) {
  Random random(800);
  classifier::Layout layout;
  for (uint8_t byte :
       std::to_array<uint8_t>({22, 23, 28, 40, 41, 42, 43, 44, 45, 46, 47, 80, 81, 82, 83})) {
    layout.add(byte);
  }
  for (const size_t size : {1, 2, 3, 7, 8, 9, 31, 63, 64, 65, 128, 200, 256}) {
    std::vector<std::unique_ptr<RuleEntry>> entries;
    std::vector<classifier::Record> records;
    for (size_t i = 0; i < size; ++i) {
      entries.push_back(random_entry(random, i));
      records.push_back(classifier::make_record(*entries.back(), layout));
    }
    classifier::Pool pool;
    const classifier::TernaryBlock& block = *classifier::make_block(records, size, pool);
    const size_t count = std::min<size_t>(size, 64);
    void* memory = pool.allocate(classifier::Leaf::bytes(count));
    for (size_t i = 0; i < count; ++i) classifier::Leaf::put(memory, count, i, records[i]);
    for (size_t n = 0; n < 1000; ++n) {
      const FlowKey key = random_key(random);
      const classifier::Bits bits = layout.compact(key);
      for (const classifier::Searcher& searcher : classifier::searchers()) {
        ASSERT_EQ(searcher.pick(layout, key), bits) << searcher.name;
        uint64_t columns[classifier::kBlockWords];
        searcher.candidates(block, bits, columns);
        const uint64_t hits = searcher.leaf_hits({memory, count}, bits);
        for (size_t i = 0; i < size; ++i) {
          const bool accepts = (bits & records[i].mask) == records[i].value;
          ASSERT_EQ(((columns[i / 64] >> (i % 64)) & 1) != 0, accepts)
              << searcher.name << ", of " << size;
          if (i < count) {
            ASSERT_EQ(((hits >> i) & 1) != 0, accepts) << searcher.name << ", of " << count;
          }
        }
        ASSERT_TRUE(count == 64 || hits >> count == 0) << searcher.name;
      }
    }
  }
}

TEST(ClassifierVectors, PickAnyBytesOfTheKey) {
  Random random(801);
  for (size_t round = 0; round < 500; ++round) {
    classifier::Layout layout;
    for (uint8_t byte = 0; byte < kFlowKeyBytes && layout.used < classifier::kCompactBytes;
         ++byte) {
      if (pick(random, 8) < 2) layout.add(byte);
    }
    FlowKey key;
    for (size_t i = 0; i < kFlowKeyBytes; ++i)
      key.bytes()[i] = static_cast<uint8_t>(pick(random, 256));
    for (const classifier::Searcher& searcher : classifier::searchers()) {
      ASSERT_EQ(searcher.pick(layout, key), layout.compact(key)) << searcher.name;
    }
  }
}

TEST(ClassifierVectors, LookUpTheSameOnEachInstructionSet) {
  Random random(802);
  for (const size_t size : {5, 60, 700, 4000}) {
    std::vector<std::unique_ptr<RuleEntry>> entries;
    std::vector<const RuleEntry*> all;
    for (size_t i = 0; i < size; ++i) {
      entries.push_back(random_entry(random, i));
      make_visible(*entries.back(), pick(random, 4), pick(random, 3) == 0 ? 4 : kNever);
      all.push_back(entries.back().get());
    }
    classifier::Layout layout;
    for (uint8_t byte :
         std::to_array<uint8_t>({22, 23, 28, 40, 41, 42, 43, 44, 45, 46, 47, 80, 81, 82, 83}))
      layout.add(byte);
    classifier::Builder builder(layout, {1, 2});
    while (!builder.step(all, 1000)) {
    }
    const std::shared_ptr<classifier::Root> root = builder.take();
    size_t hits = 0;
    for (size_t n = 0; n < 4000; n += 32) {
      std::array<FlowKey, 32> keys;
      std::array<const FlowKey*, 32> batch;
      for (size_t i = 0; i < keys.size(); ++i) {
        keys[i] = random_key(random);
        batch[i] = &keys[i];
      }
      const uint64_t generation = pick(random, 6);
      for (const classifier::Searcher& searcher : classifier::searchers()) {
        std::array<const RuleEntry*, 32> out;
        searcher.lookup_batch(*root, batch, generation, out);
        for (size_t i = 0; i < keys.size(); ++i) {
          const RuleEntry* want =
              classifier::searchers().back().lookup(*root, keys[i], generation, nullptr);
          ASSERT_EQ(out[i], want) << searcher.name;
          ASSERT_EQ(searcher.lookup(*root, keys[i], generation, nullptr), want) << searcher.name;
          hits += want != nullptr;
        }
      }
    }
    EXPECT_GT(hits, 0u);
  }
}

}  // namespace
}  // namespace godwit::dataplane
