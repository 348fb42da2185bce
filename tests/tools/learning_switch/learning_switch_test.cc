// SPDX-License-Identifier: Apache-2.0
#include "tests/tools/learning_switch/learning_switch.h"

#include <gtest/gtest.h>

#include <vector>

namespace godwit::learning_switch {
namespace {

using Bytes = std::vector<uint8_t>;
constexpr int64_t kMs = 1'000'000;
constexpr uint8_t kAll = 0xff;  // broadcast
constexpr LearningSwitch::PortMask kP0 = 1, kP1 = 2, kP2 = 4;

uint64_t address(uint8_t host) { return 0x020000000000 | host; }

Bytes frame(uint8_t to, uint8_t from, int vlan = -1, uint16_t type = 0x0800) {
  Bytes out;
  for (int i = 0; i < 6; ++i) out.push_back(to == kAll ? 0xff : i == 0 ? 2 : i == 5 ? to : 0);
  for (int i = 0; i < 6; ++i) out.push_back(i == 0 ? 2 : i == 5 ? from : 0);
  if (vlan >= 0) {
    for (int byte : {0x81, 0x00, vlan >> 8, vlan & 0xff}) out.push_back(static_cast<uint8_t>(byte));
  }
  out.push_back(static_cast<uint8_t>(type >> 8));
  out.push_back(static_cast<uint8_t>(type));
  out.resize(80);
  return out;
}

TEST(LearningSwitch, LearnsAddressFromFirstFrame) {
  LearningSwitch fabric(3);
  EXPECT_EQ(fabric.forward(0, frame(2, 1), 0), kP1 | kP2);
  EXPECT_EQ(fabric.forward(1, frame(1, 2), 0), kP0);
  EXPECT_EQ(fabric.forward(0, frame(2, 1), 0), kP1);
  EXPECT_EQ(fabric.forward(1, frame(kAll, 2), 0), kP0 | kP2);
  EXPECT_EQ(fabric.forward(1, frame(2, 3), 0), 0u) << "its destination is behind the same port";
  EXPECT_EQ(fabric.counts().frames, 5u);
  EXPECT_EQ(fabric.counts().flooded + fabric.counts().known + fabric.counts().groups +
                fabric.counts().hairpin_dropped,
            5u);
}

TEST(LearningSwitch, AddressOnNewPort_MovesAtOnce) {
  LearningSwitch fabric(3);
  fabric.forward(0, frame(kAll, 1), 0);
  EXPECT_EQ(fabric.forward(2, frame(1, 3), 0), kP0);
  fabric.forward(1, frame(kAll, 1), 0);
  EXPECT_EQ(fabric.forward(2, frame(1, 3), 0), kP1);
  EXPECT_EQ(fabric.counts().moved, 1u);
}

TEST(LearningSwitch, WithLearnDelay_KeepsFormerPortUntilDelayEnds) {
  LearningSwitch fabric(3);
  fabric.forward(0, frame(kAll, 1), 0);
  fabric.set_habits({.learn_delay_ns = 100 * kMs, .vlans = {}});
  fabric.forward(1, frame(kAll, 1), 10 * kMs);
  fabric.forward(1, frame(kAll, 1), 60 * kMs);  // The delay counts from the first frame.
  EXPECT_EQ(fabric.forward(2, frame(1, 3), 109 * kMs), kP0);
  EXPECT_EQ(fabric.forward(2, frame(1, 3), 110 * kMs), kP1);
}

TEST(LearningSwitch, WithAging_FloodsToSilentAddress) {
  LearningSwitch fabric(3);
  fabric.set_habits({.age_ns = 50 * kMs, .vlans = {}});
  fabric.forward(0, frame(kAll, 1), 0);
  EXPECT_EQ(fabric.forward(2, frame(1, 3), 49 * kMs), kP0);
  EXPECT_EQ(fabric.forward(2, frame(1, 3), 50 * kMs), kP0 | kP1);
  fabric.forward(0, frame(kAll, 1), 51 * kMs);
  EXPECT_EQ(fabric.forward(2, frame(1, 3), 52 * kMs), kP0);
  fabric.forget();
  EXPECT_EQ(fabric.forward(2, frame(1, 3), 52 * kMs), kP0 | kP1);
}

TEST(LearningSwitch, WithNeverFlood_CountsUnknownDestinationAsDrop) {
  LearningSwitch fabric(3);
  fabric.set_habits({.never_flood = true, .vlans = {}});
  EXPECT_EQ(fabric.forward(2, frame(1, 3), 0), 0u);
  EXPECT_EQ(fabric.counts().unknown_dropped, 1u);
  EXPECT_EQ(fabric.forward(2, frame(kAll, 3), 0), kP0 | kP1);
}

TEST(LearningSwitch, WithDropAnnouncements_LearnsNothingFromThem) {
  Bytes arp = frame(kAll, 1, -1, 0x0806);
  arp[14 + 27] = arp[14 + 17] = 9;
  Bytes na = frame(kAll, 1, 7, 0x86dd);
  na.resize(18 + 72);
  na[18 + 6] = 58;
  na[18 + 40] = 136;
  na[18 + 44] = 0x20;
  LearningSwitch fabric(3);
  fabric.forward(0, frame(kAll, 1), 0);
  fabric.set_habits({.drop_announcements = true, .vlans = {}});
  EXPECT_EQ(fabric.forward(1, frame(kAll, 1, -1, 0x8035), 0), 0u);
  EXPECT_EQ(fabric.forward(1, frame(kAll, 1, 7, 0x8035), 0), 0u);
  EXPECT_EQ(fabric.forward(1, arp, 0), 0u);
  EXPECT_EQ(fabric.forward(1, na, 0), 0u);
  EXPECT_EQ(fabric.counts().announcement_dropped, 4u);
  EXPECT_EQ(fabric.forward(2, frame(1, 3), 0), kP0);
  arp[14 + 27] = 8;    // A request for another address.
  na[18 + 44] = 0x60;  // solicited
  EXPECT_FALSE(is_announcement(arp));
  EXPECT_FALSE(is_announcement(na));
}

TEST(LearningSwitch, LearnsAddressesPerVlan) {
  LearningSwitch fabric(3);
  SwitchHabits habits;
  habits.vlans.set(10);
  habits.vlans.set(20);
  fabric.set_habits(habits);
  fabric.forward(0, frame(kAll, 1, 10), 0);
  fabric.forward(1, frame(kAll, 1, 20), 0);
  EXPECT_EQ(fabric.forward(2, frame(1, 3, 10), 0), kP0);
  EXPECT_EQ(fabric.forward(2, frame(1, 3, 20), 0), kP1);
  EXPECT_EQ(fabric.where(20, address(1), 0), 1);
  EXPECT_EQ(fabric.forward(2, frame(1, 3, 30), 0), 0u);
  EXPECT_EQ(fabric.forward(2, frame(1, 3), 0), 0u);
  EXPECT_EQ(fabric.counts().vlan_dropped, 2u);
}

TEST(LearningSwitch, DropsFrameWithoutWholeHeader) {
  LearningSwitch fabric(2);
  EXPECT_EQ(fabric.forward(0, Bytes(13), 0), 0u);
  EXPECT_EQ(fabric.counts().runts, 1u);
  EXPECT_EQ(fabric.addresses(), 0u);
}

}  // namespace
}  // namespace godwit::learning_switch
