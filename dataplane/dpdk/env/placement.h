// SPDX-License-Identifier: Apache-2.0
//
// Which CPU is on which NUMA node, and which worker polls a new queue.
//
// Thread safety: none needed; nothing is kept.
#pragma once

#include <cstdint>
#include <vector>

#include "base/ids.h"
#include "base/result.h"

namespace godwit::dataplane {

// CPUs that this process may run on, ascending.
std::vector<uint16_t> allowed_cpus();
// CPUs that are online.
std::vector<uint16_t> online_cpus();
// The node of a CPU by libnuma; 0 where the machine has no NUMA.
int node_of_cpu(uint16_t cpu);

struct WorkerLoad {
  WorkerId id;
  int node = 0;
  uint32_t queues = 0;
};
// The least loaded worker of `node`, or of all where the node (-1: unknown) has no worker. `loads`
// is not empty.
WorkerId place_queue(const std::vector<WorkerLoad>& loads, int node);

}  // namespace godwit::dataplane
