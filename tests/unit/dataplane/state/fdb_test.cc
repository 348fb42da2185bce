// SPDX-License-Identifier: Apache-2.0
#include "dataplane/state/fdb.h"

#include <gtest/gtest.h>

#include <thread>

namespace godwit::dataplane {
namespace {

MacAddress mac_of(uint32_t n) {
  return MacAddress{{0x02, 0, static_cast<uint8_t>(n >> 24), static_cast<uint8_t>(n >> 16),
                     static_cast<uint8_t>(n >> 8), static_cast<uint8_t>(n)}};
}

TEST(Fdb, LearnsByVlanAndFollowsMovedStation) {
  Fdb fdb(1024, 300);
  fdb.learn(0, mac_of(1), EndpointId{5}, 10);
  fdb.learn(7, mac_of(1), EndpointId{6}, 10);
  EXPECT_EQ(fdb.lookup(0, mac_of(1)), EndpointId{5});
  EXPECT_EQ(fdb.lookup(7, mac_of(1)), EndpointId{6});
  EXPECT_FALSE(fdb.lookup(8, mac_of(1)).valid());
  fdb.learn(0, mac_of(1), EndpointId{9}, 11);
  EXPECT_EQ(fdb.lookup(0, mac_of(1)), EndpointId{9});
}

TEST(Fdb, DoesNotLearnGroupAddresses) {
  Fdb fdb(1024, 300);
  fdb.learn(0, MacAddress{{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}}, EndpointId{5}, 10);
  EXPECT_TRUE(fdb.list(10).empty());
}

TEST(Fdb, AgeRemovesUnseenEntriesOnly) {
  Fdb fdb(1024, 300);
  fdb.learn(0, mac_of(1), EndpointId{1}, 100);
  fdb.learn(0, mac_of(2), EndpointId{2}, 100);
  fdb.learn(0, mac_of(2), EndpointId{2}, 350);
  EXPECT_EQ(fdb.age(400), 0u);
  EXPECT_EQ(fdb.age(401), 1u);
  EXPECT_FALSE(fdb.lookup(0, mac_of(1)).valid());
  EXPECT_TRUE(fdb.lookup(0, mac_of(2)).valid());
}

TEST(Fdb, FlushRemovesOneEndpointOrAll) {
  Fdb fdb(1024, 0);
  for (uint32_t i = 0; i < 100; ++i) fdb.learn(0, mac_of(i), EndpointId{i % 2}, 1);
  EXPECT_EQ(fdb.flush(EndpointId{0}), 50u);
  EXPECT_EQ(fdb.list(1).size(), 50u);
  EXPECT_EQ(fdb.flush(EndpointId{}), 50u);
  EXPECT_TRUE(fdb.list(1).empty());
}

TEST(Fdb, FullTableReplacesOldestEntry) {
  Fdb fdb(1024, 300);
  for (uint32_t i = 0; i < 100000; ++i) fdb.learn(0, mac_of(i), EndpointId{i}, i / 1000);
  EXPECT_LE(fdb.list(100).size(), fdb.capacity());
  EXPECT_EQ(fdb.lookup(0, mac_of(99999)), EndpointId{99999});
}

TEST(Fdb, LookupNeverReturnsEndpointOfOtherStationUnderOverrun) {
  Fdb fdb(1024, 300);
  std::atomic<bool> stop{false};
  std::atomic<uint64_t> wrong{0};
  std::thread reader([&] {
    for (uint32_t i = 0; !stop.load(std::memory_order_relaxed); i = (i + 1) % 20000) {
      const EndpointId found = fdb.lookup(0, mac_of(i));
      if (found.valid() && found.value != i) ++wrong;
    }
  });
  std::thread other([&] {
    for (uint32_t round = 0; round < 20; ++round) {
      for (uint32_t i = 0; i < 20000; i += 2) fdb.learn(0, mac_of(i), EndpointId{i}, round);
    }
  });
  for (uint32_t round = 0; round < 20; ++round) {
    for (uint32_t i = 1; i < 20000; i += 2) fdb.learn(0, mac_of(i), EndpointId{i}, round);
  }
  other.join();
  stop = true;
  reader.join();
  EXPECT_EQ(wrong.load(), 0u);
}

}  // namespace
}  // namespace godwit::dataplane
