// SPDX-License-Identifier: Apache-2.0
//
// The receive queues that a worker polls. The control thread makes a new plan for each change and
// frees the old one after a grace period.
//
// Thread safety: made by the control thread, then used by one worker.
#pragma once

#include <cstdint>
#include <vector>

#include "dataplane/dpdk/port/port.h"

struct rte_mempool;

namespace godwit::dataplane {

struct WorkerPlan {
  struct RxQueue {
    Port* port = nullptr;
    uint16_t queue = 0;
    // Receives the frames of vhost ports; an ethdev port was given a pool of the same kind.
    rte_mempool* pool = nullptr;
    // Written by the worker.
    uint32_t silent = 0;   // polls without a frame since the last one
    uint32_t watched = 0;  // state of Port::arm()
    bool always = false;   // cannot be armed, so it is polled in every loop
  };
  std::vector<RxQueue> queues;
  uint64_t serial = 0;  // unique among the plans of a worker
};

}  // namespace godwit::dataplane
