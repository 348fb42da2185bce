// SPDX-License-Identifier: Apache-2.0
//
// Compares lookups of the classifier with FirstMatch, in any number: with given rules, with random
// rules of every kind and groups, and from several threads while a writer commits transactions.
// Each part returns how many lookups agreed, and the first mismatch. A seed determines the rules
// and keys.
#pragma once

#include <atomic>
#include <cstdint>
#include <deque>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "dataplane/state/forwarding_state.h"
#include "tests/builders/random_rule_set.h"
#include "tests/harness/test_rcu.h"
#include "tests/oracles/first_match.h"

namespace godwit::testing {

struct Agreement {
  uint64_t lookups = 0;
  uint64_t hits = 0;
  uint64_t mismatches = 0;
  std::string first;  // The first mismatch.
  uint64_t generations = 0;

  void add(const RuleEntry* got, const RuleEntry* want, const char* what) {
    ++lookups;
    hits += want != nullptr;
    if (got == want || mismatches++ > 0) return;
    const auto name = [](const RuleEntry* e) {
      return e == nullptr ? "none" : std::to_string(e->order.sequence);
    };
    first = std::string(what) + ": found " + name(got) + ", not " + name(want);
  }
  void add(const Agreement& other) {
    lookups += other.lookups;
    hits += other.hits;
    generations += other.generations;
    if (mismatches == 0) first = other.first;
    mismatches += other.mismatches;
  }
};

// Looks up to 64 keys up at one generation, in batches and one by one.
inline void compare(const dataplane::Classifier& classifier, const FirstMatch& oracle,
                    const std::vector<FlowKey>& keys, uint64_t generation, const char* what,
                    Agreement& sum) {
  std::vector<const FlowKey*> pointers;
  for (const FlowKey& key : keys) pointers.push_back(&key);
  const std::vector<uint64_t> generations(keys.size(), generation);
  std::vector<const RuleEntry*> want(keys.size()), got(keys.size());
  oracle.lookup(pointers, generations, want);
  for (size_t at = 0; at < keys.size(); at += 32) {
    const size_t count = std::min<size_t>(32, keys.size() - at);
    if (at % 64 == 0) {
      classifier.lookup_batch({pointers.data() + at, count}, generation, {got.data() + at, count});
    } else {
      for (size_t i = at; i < at + count; ++i) got[i] = classifier.lookup(keys[i], generation);
    }
  }
  for (size_t i = 0; i < keys.size(); ++i) sum.add(got[i], want[i], what);
}

// Looks up keys of `trace` in `rules`, half of the keys with some bits changed. Removes and inserts
// again a third of the rules, before and between the lookups.
inline Agreement check_rules(const std::deque<RuleEntry>& rules, const std::vector<FlowKey>& trace,
                             uint64_t lookups, uint64_t seed, const char* what) {
  Agreement sum;
  Random random(seed);
  NoWorkers grace;
  Reclaimer reclaimer(grace);
  dataplane::Classifier classifier(reclaimer);
  std::vector<const RuleEntry*> all;
  for (const RuleEntry& rule : rules) all.push_back(&rule);
  if (!classifier.insert_all(all)) {
    sum.mismatches = 1;
    sum.first = "an insert was refused";
    return sum;
  }
  const FirstMatch oracle(all);
  const uint64_t rounds = (lookups + FirstMatch::kKeys - 1) / FirstMatch::kKeys;
  for (uint64_t round = 0; round < rounds; ++round) {
    const size_t churn = rules.size() / 3 / static_cast<size_t>(rounds) + 1;
    for (size_t i = 0; i < churn; ++i) {
      const RuleEntry& rule = rules[pick(random, static_cast<uint32_t>(rules.size()))];
      classifier.remove(rule);
      if (!classifier.insert(rule)) ++sum.mismatches;
    }
    reclaimer.collect();
    std::vector<FlowKey> keys(FirstMatch::kKeys);
    for (FlowKey& key : keys) {
      key = trace[pick(random, static_cast<uint32_t>(trace.size()))];
      if (pick(random, 2) == 0)
        key.ipv4.src = to_be32(key.ipv4.src.host() ^ (1u << pick(random, 32)));
      if (pick(random, 4) == 0)
        key.ipv4.dst = to_be32(key.ipv4.dst.host() ^ (1u << pick(random, 32)));
      if (pick(random, 4) == 0) key.l4.dst = to_be16(static_cast<uint16_t>(pick(random, 65536)));
    }
    compare(classifier, oracle, keys, 1, what, sum);
  }
  return sum;
}

// Looks up random keys in random rules of every kind, including IPv6, ranges and groups, in tables
// of many sizes.
inline Agreement check_random(uint64_t lookups, uint64_t seed) {
  constexpr uint64_t kEach = 8192;
  Agreement sum;
  for (uint64_t table_number = 0; sum.lookups < lookups; ++table_number) {
    Random random(seed + table_number);
    NoWorkers grace;
    Reclaimer reclaimer(grace);
    dataplane::RuleTable table(reclaimer);
    std::vector<std::unique_ptr<RuleEntry>> entries;
    std::vector<const RuleEntry*> groups[3], all;
    const size_t size = size_t{8} << pick(random, 10);
    for (size_t i = 0; i < size; ++i) {
      entries.push_back(random_entry(random, i));
      RuleEntry& entry = *entries.back();
      entry.group = pick(random, 3);
      make_visible(entry, 1 + pick(random, 4), pick(random, 3) == 0 ? 5 + pick(random, 4) : kNever);
      groups[entry.group].push_back(&entry);
      all.push_back(&entry);
    }
    const size_t at_once = table_number % 2 == 0 ? all.size() : all.size() / 3;
    bool good = table.insert_all(std::span(all).first(at_once)).has_value();
    for (size_t i = at_once; i < all.size(); ++i) good = table.insert(*all[i]).has_value() && good;
    if (!good) ++sum.mismatches;
    for (uint32_t group = 0; group < 3; ++group) {
      const FirstMatch oracle(groups[group]);
      const dataplane::Classifier* classifier = table.group(group);
      if (classifier == nullptr) continue;
      for (uint64_t n = 0; n < kEach / 3; n += FirstMatch::kKeys) {
        std::vector<FlowKey> keys(FirstMatch::kKeys);
        for (FlowKey& key : keys) {
          key = random_key(random);
          if (pick(random, 2) == 0) continue;
          const Match& match = all[pick(random, static_cast<uint32_t>(all.size()))]->match;
          for (size_t w = 0; w < kFlowKeyWords; ++w) {
            key.set_word(w, (key.word(w) & ~match.mask.word(w)) | match.value.word(w));
          }
        }
        compare(*classifier, oracle, keys, 1 + pick(random, 8), "random rules", sum);
      }
    }
  }
  return sum;
}

// The result of a reader's lookup. It is verified when the generations of all rules are final.
struct Sighting {
  FlowKey key;
  uint64_t generation;
  uint32_t group;
  const RuleEntry* found;
};

// A writer commits transactions of several inserts and removals in two groups while readers look
// up. Each transaction also replaces one marker rule in both groups. A lookup that finds markers of
// two generations observed an incomplete transaction.
class ConcurrentOracle {
 public:
  ConcurrentOracle(uint64_t seed, uint64_t lookups)
      : random_(seed), seed_(seed), each_(lookups / kReaders + 1) {}

  Agreement run() {
    std::vector<size_t> slots;
    commit(kLive);  // Before the readers start, so that each group has its classifier.
    for (size_t r = 0; r < kReaders; ++r) slots.push_back(rcu_.register_reader());
    std::vector<std::thread> readers;
    for (size_t r = 0; r < kReaders; ++r)
      readers.emplace_back([this, r, slot = slots[r]] { read(r, slot); });
    while (reading_.load() > 0) commit(1 + pick(random_, 30));
    for (std::thread& reader : readers) reader.join();
    Agreement sum;
    for (size_t r = 0; r < kReaders; ++r) judge(sightings_[r], sum);
    sum.generations = published_.load();
    if (torn_.load() > 0) {
      sum.mismatches += torn_.load();
      sum.first = "markers of two generations";
    }
    reclaimer_.drain();
    return sum;
  }

 private:
  static constexpr size_t kReaders = 2;
  static constexpr uint32_t kGroups = 2;
  static constexpr uint16_t kMarkerPort = 41000;
  static constexpr size_t kLive = 1500;           // The number of rules.
  static constexpr uint64_t kTransactions = 500;  // The least number of transactions.

  RuleEntry& add(std::unique_ptr<RuleEntry> entry, uint32_t group) {
    entry->group = group;
    if (!table_.insert(*entry)) ++torn_;
    entries_.push_back(std::move(entry));
    return *entries_.back();
  }

  void commit(size_t changes) {
    const uint64_t next = published_.load(std::memory_order_relaxed) + 1;
    std::vector<RuleEntry*> comes, goes;
    for (uint32_t group = 0; group < kGroups; ++group) {
      auto marker = std::make_unique<RuleEntry>();
      marker->match.mask.l4.dst = to_be16(0xffff);
      marker->match.value.l4.dst = to_be16(kMarkerPort);
      marker->order = {0, 0, next};
      comes.push_back(&add(std::move(marker), group));
      if (markers_[group] != nullptr) goes.push_back(markers_[group]);
      markers_[group] = comes.back();
    }
    const size_t want = pick(random_, 50) == 0 ? 100 : kLive;  // Sometimes removes most rules.
    for (size_t i = 0; i < changes; ++i) {
      auto entry = random_entry(random_, ++sequence_ << 20);
      entry->order.priority += 1;
      comes.push_back(&add(std::move(entry), pick(random_, kGroups)));
      live_.push_back(comes.back());
    }
    while (live_.size() > want) {
      RuleEntry*& gone = live_[pick(random_, static_cast<uint32_t>(live_.size()))];
      if (std::find(comes.begin(), comes.end(), gone) == comes.end()) {
        goes.push_back(gone);
        gone = live_.back();
        live_.pop_back();
      } else if (live_.size() <= changes + want) {
        break;
      }
    }
    for (RuleEntry* entry : goes) entry->visible_until.store(next, std::memory_order_relaxed);
    for (RuleEntry* entry : comes) entry->visible_from.store(next, std::memory_order_relaxed);
    published_.store(next, std::memory_order_release);
    rcu_.wait(rcu_.start());  // No reader uses the previous generation any more.
    for (RuleEntry* entry : goes) table_.remove(*entry);
    reclaimer_.collect();
  }

  void read(size_t reader, size_t slot) {
    Random random(seed_ + 1 + reader);
    std::vector<Sighting>& seen = sightings_[reader];
    seen.reserve(each_ + 64);
    while (seen.size() < each_) {
      const uint64_t generation = published_.load(std::memory_order_acquire);
      // The kept results are spread over all transactions. The other lookups only add load.
      const bool kept = seen.size() * kTransactions <= each_ * generation;
      FlowKey keys[32];
      const FlowKey* batch[32];
      const RuleEntry* out[kGroups][32];
      for (size_t i = 0; i < 32; ++i) {
        keys[i] = random_key(random);
        if (i % 8 == 0) keys[i].l4.dst = to_be16(kMarkerPort);
        batch[i] = &keys[i];
      }
      const uint32_t first =
          pick(random, kGroups);  // Like a packet that jumps from one group to the other.
      for (const uint32_t group : {first, 1 - first})
        table_.group(group)->lookup_batch(batch, generation, out[group]);
      for (size_t i = 0; i < 32; ++i) {
        for (uint32_t group = 0; kept && group < kGroups; ++group) {
          seen.push_back({keys[i], generation, group, out[group][i]});
        }
        if (i % 8 != 0) continue;
        const RuleEntry* a = out[0][i];
        const RuleEntry* b = out[1][i];
        if (a == nullptr || b == nullptr || a->order.sequence != generation ||
            b->order.sequence != generation)
          ++torn_;
      }
      rcu_.quiescent(slot);
    }
    rcu_.offline(slot);
    --reading_;
  }

  // Generations are final now, so the visibility of each rule at each time is known.
  void judge(const std::vector<Sighting>& seen, Agreement& sum) {
    std::vector<const RuleEntry*> groups[kGroups];
    for (const auto& entry : entries_) groups[entry->group].push_back(entry.get());
    for (uint32_t group = 0; group < kGroups; ++group) {
      const FirstMatch oracle(groups[group]);
      std::vector<const Sighting*> mine;
      for (const Sighting& sighting : seen) {
        if (sighting.group == group) mine.push_back(&sighting);
      }
      for (size_t at = 0; at < mine.size(); at += FirstMatch::kKeys) {
        const size_t count = std::min(FirstMatch::kKeys, mine.size() - at);
        const FlowKey* keys[FirstMatch::kKeys];
        uint64_t generations[FirstMatch::kKeys];
        const RuleEntry* want[FirstMatch::kKeys];
        for (size_t i = 0; i < count; ++i) {
          keys[i] = &mine[at + i]->key;
          generations[i] = mine[at + i]->generation;
        }
        oracle.lookup({keys, count}, {generations, count}, {want, count});
        for (size_t i = 0; i < count; ++i)
          sum.add(mine[at + i]->found, want[i], "under concurrent updates");
      }
    }
  }

  Random random_;
  const uint64_t seed_;
  const uint64_t each_;  // The number of lookups of each reader.
  TestRcu rcu_;
  Reclaimer reclaimer_{rcu_};
  dataplane::RuleTable table_{reclaimer_};
  std::deque<std::unique_ptr<RuleEntry>> entries_;  // All entries, for verification.
  std::vector<RuleEntry*> live_;
  RuleEntry* markers_[kGroups] = {};
  uint64_t sequence_ = 0;
  std::atomic<uint64_t> published_{0};
  std::atomic<uint64_t> torn_{0};
  std::atomic<size_t> reading_{kReaders};
  std::vector<Sighting> sightings_[kReaders];
};

}  // namespace godwit::testing
