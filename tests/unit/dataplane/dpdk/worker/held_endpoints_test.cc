// SPDX-License-Identifier: Apache-2.0
#include "dataplane/dpdk/worker/held_endpoints.h"

#include <gtest/gtest.h>

#include <thread>

namespace godwit::dataplane {
namespace {

std::vector<EndpointId> ids(uint32_t first, size_t count) {
  std::vector<EndpointId> out;
  for (uint32_t i = 0; i < count; ++i) out.emplace_back(first + i);
  return out;
}

TEST(HeldEndpoints, Contains_PublishedEndpointsOnly) {
  HeldEndpoints held;
  EXPECT_TRUE(held.empty());
  EXPECT_FALSE(held.contains(EndpointId{0}));
  held.publish(ids(3, 2));
  EXPECT_FALSE(held.empty());
  EXPECT_TRUE(held.contains(EndpointId{3}));
  EXPECT_TRUE(held.contains(EndpointId{4}));
  EXPECT_FALSE(held.contains(EndpointId{5}));
  held.publish({});
  EXPECT_TRUE(held.empty());
  EXPECT_FALSE(held.contains(EndpointId{3}));
}

TEST(HeldEndpoints, Contains_FullList_IsExact) {
  HeldEndpoints held;
  held.publish(ids(100, HeldEndpoints::kShown));
  EXPECT_TRUE(held.contains(EndpointId{100 + HeldEndpoints::kShown - 1}));
  EXPECT_FALSE(held.contains(EndpointId{100 + HeldEndpoints::kShown}));
}

TEST(HeldEndpoints, Contains_ListTooLong_IsTrueForEveryEndpoint) {
  HeldEndpoints held;
  held.publish(ids(100, HeldEndpoints::kShown + 1));
  EXPECT_TRUE(held.contains(EndpointId{100 + HeldEndpoints::kShown}));
  EXPECT_TRUE(held.contains(EndpointId{5}));
  held.publish(ids(100, 1));
  EXPECT_FALSE(held.contains(EndpointId{5}));
}

// A reader never sees a mixture of two lists: endpoint 7 is in every list, at changing places.
TEST(HeldEndpoints, Contains_WhilePublishing_SeesWholeLists) {
  HeldEndpoints held;
  held.publish(ids(7, 1));
  std::atomic<bool> stop{false};
  std::thread worker([&] {
    for (uint32_t round = 0; !stop.load(); ++round) {
      std::vector<EndpointId> list = ids(1000, round % 40);
      list.emplace_back(7u);
      held.publish(list);
    }
  });
  for (int i = 0; i < 20'000; ++i) {
    ASSERT_TRUE(held.contains(EndpointId{7}));
    ASSERT_FALSE(held.contains(EndpointId{8}));
  }
  stop.store(true);
  worker.join();
}

}  // namespace
}  // namespace godwit::dataplane
