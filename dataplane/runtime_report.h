// SPDX-License-Identifier: Apache-2.0
//
// The reports of the running switch: its workers, its memory, its drops. The runtime in
// dataplane/dpdk/ fills them; commands print them without including DPDK.
//
// Thread safety: values.
#pragma once

#include <array>
#include <cstdint>
#include <vector>

#include "base/ids.h"
#include "dataplane/packet/drop.h"

namespace godwit::dataplane {

// The place of one worker and what it has done since it started.
struct WorkerInfo {
  WorkerId id;
  uint16_t cpu = 0;
  int numa_node = -1;
  bool running = false;
  uint32_t rx_queues = 0;  // polled by this worker
  uint64_t loops = 0;
  uint64_t rx_packets = 0;
  uint64_t tx_packets = 0;
  uint64_t busy_cycles = 0;  // of loops with work
  uint64_t idle_cycles = 0;  // of loops without work, not counting sleeps
  uint64_t sleeps = 0;
  uint64_t slept_ns = 0;
  uint64_t cycles_per_second = 0;
  uint32_t held = 0;  // packets parked or held now
};

struct MemoryInfo {
  struct Pool {
    int numa_node = -1;
    uint32_t size = 0;  // number of buffers
    uint32_t available = 0;
    uint32_t data_bytes = 0;  // of one buffer
  };
  struct Heap {
    int numa_node = -1;
    uint64_t total_bytes = 0;
    uint64_t free_bytes = 0;
  };
  bool hugepages = true;
  std::vector<Pool> pools;
  std::vector<Heap> heaps;
};

// Totals over all ports and all workers since the start.
struct DropTotals {
  std::array<uint64_t, kDropCount> drops{};
  uint64_t unpoliced = 0;  // stays 0 unless there is a defect
  uint64_t parked = 0;
  uint64_t unparked = 0;
  uint64_t redirected = 0;
  uint64_t injected = 0;
};

}  // namespace godwit::dataplane
