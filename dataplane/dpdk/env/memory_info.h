// SPDX-License-Identifier: Apache-2.0
//
// A report on the memory of the DPDK runtime. No rte_ header is included here.
//
// Thread safety: values.
#pragma once

#include <cstdint>
#include <vector>

namespace godwit::dataplane {

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

}  // namespace godwit::dataplane
