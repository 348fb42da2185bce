// SPDX-License-Identifier: Apache-2.0
//
// The settings of the DPDK runtime, and its report on memory. No rte_ header is included here.
//
// Thread safety: values.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "dataplane/pipeline/parking.h"

namespace godwit::dataplane {

enum class RuntimeLogLevel : uint8_t { kInvalid = 0, kDebug, kInfo, kWarning, kError };

struct RuntimeOptions {
  std::string host;  // names the process in messages and the default file prefix
  std::vector<uint16_t>
      worker_cpus;        // one worker each; empty: all but the first that this process may use
  uint32_t spin_us = 50;  // polling after the last packet before sleeping starts
  uint32_t max_sleep_us =
      10'000;                // longest sleep when everything wakes the worker; 0 = never sleep
  uint32_t poll_us = 100;    // the same while it polls a device that does not wake it
  bool hugepages = true;     // false: no virtio-user, slower, for trying things
  uint32_t socket_mb = 256;  // memory of each NUMA node that has a worker
  std::string
      file_prefix;         // default "godwit-<host>"; nothing is left in the file system either way
  uint32_t mbufs = 16384;  // buffers of each NUMA node that has a worker
  bool pci = false;        // true: PCI devices can be attached (see is_pci_devargs)
  ParkLimits park;
  std::function<void(RuntimeLogLevel, std::string_view)>
      log;  // one line, no newline; absent: stderr
};

struct MemoryInfo {
  struct Pool {
    int numa_node = -1;
    uint32_t size = 0;  // buffers
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

// Returns whether the devargs name a device on the PCI bus ("0000:01:00.0,...", "01:00.0",
// "pci:...").
[[nodiscard]] bool is_pci_devargs(std::string_view devargs);

}  // namespace godwit::dataplane
