// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <deque>
#include <memory>
#include <thread>
#include <vector>

#include "dataplane/classifier/classifier.h"
#include "tests/builders/random_rule_set.h"
#include "tests/harness/test_rcu.h"

namespace godwit::dataplane {
namespace {

using testing::make_visible;
using testing::pick;
using testing::Random;
using testing::random_entry;
using testing::random_key;
using testing::TestRcu;

constexpr uint64_t kSeed = 600;
constexpr size_t kReaders = 2;
constexpr uint16_t kFirstPort = 40000;
constexpr uint32_t kSteadyRules = 64;

// Readers look up while the writer inserts and removes. Steady rules for 64 ports are always
// present. A moving rule of better priority for the first port changes with each generation, and
// random rules of worse priority come and go.
class ClassifierConcurrencyTest : public ::testing::Test {
 protected:
  ClassifierConcurrencyTest() {
    for (size_t i = 0; i < steady_.size(); ++i) {
      steady_[i].match.mask.l4.dst = to_be16(0xffff);
      steady_[i].match.value.l4.dst = to_be16(static_cast<uint16_t>(kFirstPort + i));
      steady_[i].order = {1, 0, i};
      make_visible(steady_[i], 1);
      EXPECT_TRUE(classifier_.insert(steady_[i]).has_value());
    }
  }

  void start_readers() {
    for (size_t r = 0; r < kReaders; ++r) {
      readers_.emplace_back([this, slot = rcu_.register_reader(), seed = kSeed + 1 + r] {
        Random random(seed);
        while (!stop_.load(std::memory_order_relaxed)) {
          look_up(random, published_.load(std::memory_order_acquire));
          rcu_.quiescent(slot);
        }
        rcu_.offline(slot);
      });
    }
  }
  void stop_readers() {
    stop_.store(true);
    for (std::thread& reader : readers_) reader.join();
  }

  void look_up(Random& random, uint64_t generation) {
    FlowKey keys[32];
    const FlowKey* batch[32];
    const RuleEntry* out[32];
    for (size_t i = 0; i < 32; ++i) {
      keys[i] = random_key(random);
      if (i % 2 == 0)
        keys[i].l4.dst = to_be16(static_cast<uint16_t>(kFirstPort + pick(random, kSteadyRules)));
      batch[i] = &keys[i];
    }
    classifier_.lookup_batch(batch, generation, out);
    for (size_t i = 0; i < 32; ++i) {
      const RuleEntry* found = i % 3 == 0 ? classifier_.lookup(keys[i], generation) : out[i];
      if (found != nullptr && (!found->visible(generation) || !found->match.matches(keys[i])))
        ++wrong_;
      if (i % 2 == 0) check_steady(keys[i].l4.dst.host(), found, generation);
    }
    lookups_.fetch_add(32, std::memory_order_relaxed);
  }
  void check_steady(uint16_t port, const RuleEntry* found, uint64_t generation) {
    if (found != &steady_[port - kFirstPort]) {
      // Only the moving rule of this generation may win over a steady one.
      if (found == nullptr || found->order.priority != 0 || found->order.sequence != generation)
        ++wrong_;
    } else if (port == kFirstPort && generation > 1) {
      ++wrong_;  // the moving rule should have won
    }
  }

  // Publishes a generation with a new moving rule and up to 11 random rules more. Removes the
  // moving rule of the last generation after a grace period.
  void publish_next() {
    const uint64_t next = published_.load(std::memory_order_relaxed) + 1;
    auto fresh = std::make_unique<RuleEntry>();
    fresh->match.mask.l4.dst = to_be16(0xffff);
    fresh->match.value.l4.dst = to_be16(kFirstPort);
    fresh->order = {0, 0, next};
    ASSERT_TRUE(classifier_.insert(*fresh).has_value());
    for (size_t i = pick(random_, 12); i > 0; --i) {
      auto entry = random_entry(random_, sequence_++);
      entry->order.priority += 10;
      make_visible(*entry, next);
      ASSERT_TRUE(classifier_.insert(*entry).has_value());
      noise_.push_back(std::move(entry));
    }
    if (moving_) moving_->visible_until.store(next, std::memory_order_relaxed);
    fresh->visible_from.store(next, std::memory_order_relaxed);
    published_.store(next, std::memory_order_release);
    rcu_.wait(rcu_.start());  // after this nobody reads the last generation
    if (moving_) {
      classifier_.remove(*moving_);
      reclaimer_.retire(std::move(moving_));
    }
    moving_ = std::move(fresh);
  }
  void remove_noise(size_t keep) {
    while (noise_.size() > keep) {
      const size_t i = pick(random_, static_cast<uint32_t>(noise_.size()));
      std::swap(noise_[i], noise_.front());
      classifier_.remove(*noise_.front());
      reclaimer_.retire(std::move(noise_.front()));
      noise_.pop_front();
    }
  }

  TestRcu rcu_;
  std::deque<RuleEntry> steady_{kSteadyRules};
  std::deque<std::unique_ptr<RuleEntry>> noise_;
  std::unique_ptr<RuleEntry> moving_;
  Reclaimer reclaimer_{rcu_};
  Classifier classifier_{reclaimer_};
  Random random_{kSeed};
  uint64_t sequence_ = 1000;
  std::atomic<uint64_t> published_{1};
  std::atomic<bool> stop_{false};
  std::atomic<uint64_t> wrong_{0};
  std::atomic<uint64_t> lookups_{0};
  std::vector<std::thread> readers_;
};

TEST_F(ClassifierConcurrencyTest, ReadersSeeOneWholeGenerationDuringChanges) {
  start_readers();
  const auto end = std::chrono::steady_clock::now() + std::chrono::milliseconds(1500);
  while (std::chrono::steady_clock::now() < end && !HasFatalFailure()) {
    publish_next();
    remove_noise(pick(random_, 40) == 0 ? 50 : 2500);
    reclaimer_.collect();
  }
  stop_readers();
  EXPECT_EQ(wrong_.load(), 0u) << "seed " << kSeed;
  EXPECT_GT(lookups_.load(), 1000u);
  EXPECT_GT(published_.load(), 10u);
  reclaimer_.drain();
}

}  // namespace
}  // namespace godwit::dataplane
