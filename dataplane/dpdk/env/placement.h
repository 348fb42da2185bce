// SPDX-License-Identifier: Apache-2.0
//
// The NUMA node of each CPU, and the choice of the worker that polls a new queue.
//
// Thread safety: pure functions.
#pragma once

#include <cstdint>
#include <vector>

#include "base/ids.h"

namespace godwit::dataplane {

// Returns the CPUs that this process may run on, ascending.
std::vector<uint16_t> allowed_cpus();
// Returns the CPUs that are online, ascending.
std::vector<uint16_t> online_cpus();
// Returns the NUMA node of a CPU by libnuma, or 0 on a machine without NUMA.
int node_of_cpu(uint16_t cpu);

struct WorkerLoad {
  WorkerId id;
  int node = 0;
  uint32_t queues = 0;
};
// Returns the least loaded worker of `node`, or of all nodes if no worker is on that node or the
// node is unknown (-1). The first of several with equal load wins. `loads` must not be empty.
WorkerId place_queue(const std::vector<WorkerLoad>& loads, int node);

}  // namespace godwit::dataplane
