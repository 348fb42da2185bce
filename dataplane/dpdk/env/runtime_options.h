// SPDX-License-Identifier: Apache-2.0
//
// The settings of the DPDK runtime. No rte_ header is included here.
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
  std::string host;  // names the process in messages and in the default file prefix
  // One worker runs on each. If empty, on all CPUs that the process may use but the first.
  std::vector<uint16_t> worker_cpus;
  uint32_t spin_us = 50;           // polling time after the last packet before a worker sleeps
  uint32_t max_sleep_us = 10'000;  // longest sleep if every queue wakes the worker; 0: never sleep
  uint32_t poll_us = 100;          // longest sleep while some device does not wake the worker
  bool hugepages = true;           // false: slower and without virtio-user, for trying things out
  uint32_t socket_mb = 256;        // memory of each NUMA node that has a worker
  std::string file_prefix;         // default "godwit-<host>"; no file is left behind in either case
  uint32_t mbufs = 16384;          // buffers of each NUMA node that has a worker
  bool pci = false;                // whether PCI devices can be attached (see is_pci_devargs)
  ParkLimits park;
  // Called with one line without its newline. If absent, lines go to stderr.
  std::function<void(RuntimeLogLevel, std::string_view)> log;
};

// Returns whether the devargs name a device on the PCI bus ("0000:01:00.0,...", "01:00.0",
// "pci:...").
[[nodiscard]] bool is_pci_devargs(std::string_view devargs);

}  // namespace godwit::dataplane
