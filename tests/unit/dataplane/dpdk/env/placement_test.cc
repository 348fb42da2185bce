// SPDX-License-Identifier: Apache-2.0
#include "dataplane/dpdk/env/placement.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <set>

namespace godwit::dataplane {
namespace {

std::vector<WorkerLoad> loads(std::initializer_list<std::pair<int, uint32_t>> node_and_queues) {
  std::vector<WorkerLoad> out;
  for (const auto& [node, queues] : node_and_queues)
    out.push_back({WorkerId{static_cast<uint16_t>(out.size())}, node, queues});
  return out;
}

TEST(PlaceQueue, NodeHasWorkers_ChoosesLeastLoadedOfThem) {
  EXPECT_EQ(place_queue(loads({{0, 0}, {1, 5}, {1, 4}}), 1), WorkerId{2});
}

TEST(PlaceQueue, NodeHasNoWorker_ChoosesLeastLoadedOfAll) {
  EXPECT_EQ(place_queue(loads({{0, 3}, {0, 1}, {1, 2}}), 7), WorkerId{1});
}

TEST(PlaceQueue, NodeUnknown_ChoosesLeastLoadedOfAll) {
  EXPECT_EQ(place_queue(loads({{0, 3}, {1, 2}}), -1), WorkerId{1});
}

TEST(PlaceQueue, EqualLoads_ChoosesFirst) {
  EXPECT_EQ(place_queue(loads({{0, 2}, {0, 2}, {0, 2}}), 0), WorkerId{0});
}

TEST(PlaceQueue, Repeated_SpreadsQueuesEvenly) {
  auto workers = loads({{0, 0}, {0, 0}, {0, 0}});
  for (int i = 0; i < 9; ++i) ++workers[place_queue(workers, 0).value].queues;
  for (const WorkerLoad& worker : workers) EXPECT_EQ(worker.queues, 3u);
}

TEST(Cpus, Allowed_AreOnlineAndAscending) {
  const auto allowed = allowed_cpus();
  const auto online = online_cpus();
  ASSERT_FALSE(allowed.empty());
  EXPECT_TRUE(std::ranges::is_sorted(allowed));
  EXPECT_TRUE(std::ranges::is_sorted(online));
  EXPECT_TRUE(std::ranges::includes(online, allowed));
  for (const uint16_t cpu : allowed) EXPECT_GE(node_of_cpu(cpu), 0);
}

}  // namespace
}  // namespace godwit::dataplane
