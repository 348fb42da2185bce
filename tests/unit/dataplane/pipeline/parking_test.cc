// SPDX-License-Identifier: Apache-2.0
#include "dataplane/pipeline/parking.h"

#include <gtest/gtest.h>

namespace godwit::dataplane {
namespace {

TEST(Parking, Pop_ReturnsPacketsInOrderWithOrigin) {
  Parking parking({100, 1u << 20});
  std::vector<Packet> packets(50);
  for (uint32_t i = 0; i < 50; ++i) {
    packets[i].len = 64;
    ASSERT_TRUE(parking.push(EndpointId{i % 2}, &packets[i], EndpointId{i}));
  }
  EXPECT_EQ(parking.endpoints().size(), 2u);
  for (uint32_t i = 1; i < 50; i += 2) {
    EndpointId origin;
    ASSERT_EQ(parking.front(EndpointId{1}, &origin), &packets[i]);
    EXPECT_EQ(origin, EndpointId{i});
    EXPECT_EQ(parking.pop(EndpointId{1}), &packets[i]);
  }
  EXPECT_FALSE(parking.holds(EndpointId{1}));
  EXPECT_TRUE(parking.holds(EndpointId{0}));
  EXPECT_EQ(parking.held(), 25u);
  EXPECT_EQ(parking.parked_total(), 50u);
}

TEST(Parking, Push_OverLimitOfEndpoint_Fails) {
  Packet small;
  small.len = 10;
  Parking by_count({3, 1000});
  for (int i = 0; i < 3; ++i) EXPECT_TRUE(by_count.push(EndpointId{1}, &small, {}));
  EXPECT_FALSE(by_count.push(EndpointId{1}, &small, {}));
  EXPECT_TRUE(by_count.push(EndpointId{2}, &small, {}));

  Packet big;
  big.len = 600;
  Parking by_bytes({100, 1000});
  EXPECT_TRUE(by_bytes.push(EndpointId{1}, &big, {}));
  EXPECT_FALSE(by_bytes.push(EndpointId{1}, &big, {}));
  EXPECT_TRUE(by_bytes.push(EndpointId{1}, &small, {}));
  by_bytes.pop(EndpointId{1});
  EXPECT_TRUE(by_bytes.push(EndpointId{1}, &big, {})) << "pop() gives the room back";
}

TEST(Parking, Push_PacketOverByteLimit_LeavesNoFifo) {
  Packet big;
  big.len = 600;
  Parking parking({100, 500});
  EXPECT_FALSE(parking.push(EndpointId{1}, &big, {}));
  EXPECT_TRUE(parking.empty());
  EXPECT_EQ(parking.pop(EndpointId{1}), nullptr);
}

TEST(Parking, Fifo_NeverEmpty_DoesNotGrow) {
  Parking parking({100000, 1u << 30});
  std::vector<Packet> packets(10);
  for (auto& packet : packets) packet.len = 1;
  for (size_t i = 0; i < 10; ++i) parking.push(EndpointId{1}, &packets[i], {});
  for (size_t i = 0; i < 100000; ++i) {
    ASSERT_EQ(parking.pop(EndpointId{1}), &packets[i % 10]);
    ASSERT_TRUE(parking.push(EndpointId{1}, &packets[i % 10], {}));
  }
  EXPECT_EQ(parking.held(), 10u);
}

}  // namespace
}  // namespace godwit::dataplane
