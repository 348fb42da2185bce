// SPDX-License-Identifier: Apache-2.0
#include "dataplane/state/counter_bank.h"

#include <gtest/gtest.h>

#include <cstdint>
#include <set>
#include <thread>
#include <vector>

namespace godwit::dataplane {
namespace {

TEST(CounterBank, ReadReturnsSumOverWorkers) {
  CounterBank bank(3);
  const CounterId id = bank.allocate();
  const CounterId other = bank.allocate();
  bank.add(WorkerId{0}, id, 1, 60);
  bank.add(WorkerId{1}, id, 2, 200);
  bank.add(WorkerId{2}, id, 3, 3000);
  bank.add(WorkerId{2}, other, 5, 5);
  EXPECT_EQ(bank.read(id), (Count{6, 3260}));
  EXPECT_EQ(bank.read(other), (Count{5, 5}));
}

TEST(CounterBank, ResetClearsOneSlotOnly) {
  CounterBank bank(2);
  const CounterId id = bank.allocate();
  const CounterId other = bank.allocate();
  bank.add(WorkerId{0}, id, 7, 700);
  bank.add(WorkerId{0}, other, 1, 1);
  bank.reset(id);
  EXPECT_EQ(bank.read(id), Count{});
  bank.add(WorkerId{1}, id, 1, 64);
  EXPECT_EQ(bank.read(id), (Count{1, 64}));
  EXPECT_EQ(bank.read(other), (Count{1, 1}));
}

TEST(CounterBank, FreedSlotIsReusedAndReadsZero) {
  CounterBank bank(2);
  const CounterId id = bank.allocate();
  bank.add(WorkerId{1}, id, 9, 900);
  bank.free(id);
  EXPECT_EQ(bank.in_use(), 0u);
  const CounterId again = bank.allocate();
  EXPECT_EQ(again, id);
  EXPECT_EQ(bank.in_use(), 1u);
  EXPECT_EQ(bank.read(again), Count{});
}

TEST(CounterBank, UnknownIdReadsZeroAndMayBeFreed) {
  CounterBank bank(1);
  EXPECT_EQ(bank.read(CounterId{}), Count{});
  EXPECT_EQ(bank.read(CounterId{0}), Count{});
  bank.reset(CounterId{12345});
  bank.free(CounterId{});
  EXPECT_EQ(bank.in_use(), 0u);
}

TEST(CounterBank, SlotsOfSeveralChunksKeepTheirCounts) {
  CounterBank bank(2);
  constexpr uint32_t kSlots = 2 * CounterBank::kChunkSlots + 10;
  std::set<CounterId> ids;
  std::vector<CounterId> in_order;
  for (uint32_t i = 0; i < kSlots; ++i) {
    const CounterId id = bank.allocate();
    ASSERT_TRUE(id.valid());
    ASSERT_TRUE(ids.insert(id).second) << "a slot was allocated twice";
    in_order.push_back(id);
    bank.add(WorkerId{static_cast<uint16_t>(i % 2)}, id, i, i * 3ull);
  }
  for (uint32_t i = 0; i < kSlots; ++i) ASSERT_EQ(bank.read(in_order[i]), (Count{i, i * 3ull}));
  EXPECT_EQ(bank.in_use(), kSlots);
}

TEST(CounterBank, NoCountIsLostDuringConcurrentAllocationAndReads) {
  constexpr uint16_t kWorkers = 2;
  constexpr uint64_t kRounds = 100000;
  CounterBank bank(kWorkers);
  const CounterId id = bank.allocate();
  std::vector<std::thread> workers;
  for (uint16_t w = 0; w < kWorkers; ++w) {
    workers.emplace_back([&bank, id, w] {
      for (uint64_t i = 0; i < kRounds; ++i) bank.add(WorkerId{w}, id, 1, 10);
    });
  }
  Count last;
  // Enough slots that the bank allocates a second chunk while the workers count.
  for (uint32_t i = 0; i < CounterBank::kChunkSlots + 2; ++i) {
    (void)bank.allocate();
    const Count now = bank.read(id);
    ASSERT_GE(now.packets, last.packets) << "a count decreased";
    ASSERT_GE(now.bytes, last.bytes) << "a count decreased";
    last = now;
  }
  for (std::thread& worker : workers) worker.join();
  EXPECT_EQ(bank.read(id), (Count{kWorkers * kRounds, kWorkers * kRounds * 10}));
}

}  // namespace
}  // namespace godwit::dataplane
