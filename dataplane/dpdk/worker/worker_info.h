// SPDX-License-Identifier: Apache-2.0
//
// A report on one worker: its placement and its counts. No rte_ header is included here.
//
// Thread safety: values.
#pragma once

#include <cstdint>

#include "base/ids.h"

namespace godwit::dataplane {

struct WorkerInfo {
  WorkerId id;
  uint16_t cpu = 0;
  int numa_node = -1;
  bool running = false;
  uint32_t rx_queues = 0;  // that it polls
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

}  // namespace godwit::dataplane
