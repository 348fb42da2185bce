// SPDX-License-Identifier: Apache-2.0
#include "dataplane/dpdk/env/placement.h"

#include <numa.h>
#include <sched.h>
#include <unistd.h>

#include <algorithm>
#include <fstream>
#include <string>

namespace godwit::dataplane {

std::vector<uint16_t> allowed_cpus() {
  std::vector<uint16_t> cpus;
  cpu_set_t set;
  CPU_ZERO(&set);
  if (sched_getaffinity(0, sizeof set, &set) != 0) return {0};
  for (uint16_t cpu = 0; cpu < CPU_SETSIZE; ++cpu) {
    if (CPU_ISSET(cpu, &set)) cpus.push_back(cpu);
  }
  return cpus;
}

std::vector<uint16_t> online_cpus() {
  std::vector<uint16_t> cpus;
  const long configured = sysconf(_SC_NPROCESSORS_CONF);
  for (uint16_t cpu = 0; cpu < configured; ++cpu) {
    // A CPU that cannot be taken offline, such as CPU 0, has no such file.
    std::ifstream file("/sys/devices/system/cpu/cpu" + std::to_string(cpu) + "/online");
    int online = 1;
    if (file && !(file >> online)) online = 1;
    if (online != 0) cpus.push_back(cpu);
  }
  return cpus;
}

int node_of_cpu(uint16_t cpu) {
  if (numa_available() < 0) return 0;
  return std::max(0, numa_node_of_cpu(cpu));
}

WorkerId place_queue(const std::vector<WorkerLoad>& loads, int node) {
  const bool there = std::any_of(loads.begin(), loads.end(),
                                 [&](const WorkerLoad& load) { return load.node == node; });
  const WorkerLoad* best = nullptr;
  for (const WorkerLoad& load : loads) {
    if (there && load.node != node) continue;
    if (best == nullptr || load.queues < best->queues) best = &load;
  }
  return best->id;
}

}  // namespace godwit::dataplane
