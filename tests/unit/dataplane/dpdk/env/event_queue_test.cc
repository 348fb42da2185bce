// SPDX-License-Identifier: Apache-2.0
#include "dataplane/dpdk/env/event_queue.h"

#include <gtest/gtest.h>

namespace godwit::dataplane {
namespace {

TEST(EventQueue, Take_ReturnsEventsInOrderAndEmptiesQueue) {
  EventQueue queue{{}};
  queue.post(PortEventKind::kConnected, PortId{1});
  queue.post(PortEventKind::kRingsRunning, PortId{1});
  const auto events = queue.take();
  ASSERT_EQ(events.size(), 2u);
  EXPECT_EQ(events[0].kind, PortEventKind::kConnected);
  EXPECT_EQ(events[1].kind, PortEventKind::kRingsRunning);
  EXPECT_LE(events[0].time_ns, events[1].time_ns);
  EXPECT_TRUE(queue.take().empty());
}

TEST(EventQueue, Post_WakesOnlyWhenQueueWasEmpty) {
  int wakes = 0;
  EventQueue queue{[&] { ++wakes; }};
  queue.post(PortEventKind::kConnected, PortId{1});
  queue.post(PortEventKind::kConnected, PortId{2});
  EXPECT_EQ(wakes, 1);
  queue.take();
  queue.post(PortEventKind::kDisconnected, PortId{1});
  EXPECT_EQ(wakes, 2);
}

TEST(EventQueue, Forget_RemovesEventsOfPortOnly) {
  EventQueue queue{{}};
  queue.post(PortEventKind::kConnected, PortId{1});
  queue.post(PortEventKind::kConnected, PortId{2});
  queue.forget(PortId{1});
  const auto events = queue.take();
  ASSERT_EQ(events.size(), 1u);
  EXPECT_EQ(events[0].port, PortId{2});
}

}  // namespace
}  // namespace godwit::dataplane
