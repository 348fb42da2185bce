// SPDX-License-Identifier: Apache-2.0
#include "dataplane/pipeline/drop_counters.h"

#include <gtest/gtest.h>

namespace godwit::dataplane {
namespace {

TEST(DropCounters, Count_AddsToPortAndReason) {
  DropCounters drops;
  drops.count(PortId{3}, Drop::k_rule_drop);
  drops.count(PortId{3}, Drop::k_rule_drop, 4);
  drops.count(PortId{3}, Drop::k_no_mbuf);
  EXPECT_EQ(drops.read(PortId{3}, Drop::k_rule_drop), 5u);
  EXPECT_EQ(drops.read(PortId{3}, Drop::k_no_mbuf), 1u);
  EXPECT_EQ(drops.read(PortId{3}, Drop::k_own_echo), 0u);
  EXPECT_EQ(drops.read(PortId{4}, Drop::k_rule_drop), 0u);
}

TEST(DropCounters, InvalidPort_HasCountsOfItsOwn) {
  DropCounters drops;
  drops.count(PortId{}, Drop::k_redirect_stale);
  drops.count(PortId{kMaxPorts - 1}, Drop::k_redirect_stale, 2);
  EXPECT_EQ(drops.read(PortId{}, Drop::k_redirect_stale), 1u);
  EXPECT_EQ(drops.read(PortId{kMaxPorts - 1}, Drop::k_redirect_stale), 2u);
}

}  // namespace
}  // namespace godwit::dataplane
