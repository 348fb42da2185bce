// SPDX-License-Identifier: Apache-2.0
//
// The counts of one worker for one port, on cache lines of their own.
//
// Thread safety: written by that worker only. Any thread may read the counts.
#pragma once

#include <atomic>
#include <cstdint>

#include "dataplane/pipeline/miss_budget.h"

namespace godwit::dataplane {

struct alignas(64) PortCell {
  std::atomic<uint64_t> rx_packets{0};
  std::atomic<uint64_t> rx_bytes{0};
  std::atomic<uint64_t> tx_packets{0};
  std::atomic<uint64_t> tx_bytes{0};
  MissBudget misses;  // not read by other threads
};

}  // namespace godwit::dataplane
