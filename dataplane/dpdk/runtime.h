// SPDX-License-Identifier: Apache-2.0
//
// Everything that needs DPDK, behind one object: EAL, memory pools, workers, ports, the packet gate, grace periods.
// No rte_ header is included here or by anything this includes, so that the daemon's wiring can use it.
//
// Order of use: create() (EAL starts, pools are made, workers exist and are offline), publish a first state,
// start() (workers run), ports come and go, stop() (ports closed, workers ended, buffers counted), destruction.
// One Runtime in the life of a process: EAL starts once.
//
// The state cell, the FDB and the counter bank are the caller's and outlive the Runtime. The bank must have been
// made for as many workers as worker_cpus() gives.
//
// Thread safety: all calls from the thread that called create() (EAL's main lcore: the control thread). `wake` and
// `log` are called from any thread; they must not block and must not call back in here.
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/ids.h"
#include "base/result.h"
#include "dataplane/state/counters.h"
#include "dataplane/packet/drop.h"
#include "dataplane/state/fdb.h"
#include "dataplane/state/forwarding_state.h"
#include "dataplane/packet_gate.h"
#include "dataplane/pipeline/parking.h"
#include "dataplane/ports.h"
#include "base/rcu.h"

namespace godwit::dataplane {

enum class RuntimeLogLevel : uint8_t { kInvalid = 0, kDebug, kInfo, kWarning, kError };

struct RuntimeOptions {
  std::string host;                     // names the process in messages and the default file prefix
  std::vector<uint16_t> worker_cpus;    // one worker each; empty: all but the first that this process may use
  uint32_t spin_us = 50;                // polling after the last packet before sleeping starts
  uint32_t max_sleep_us = 10'000;       // longest sleep when everything wakes the worker; 0 = never sleep
  uint32_t poll_us = 100;               // the same while it polls a device that does not wake it
  bool hugepages = true;                // false: no virtio-user, slower, for trying things
  uint32_t socket_mb = 256;             // memory of each NUMA node that has a worker
  std::string file_prefix;              // default "godwit-<host>"; nothing is left in the file system either way
  uint32_t mbufs = 16384;               // buffers of each NUMA node that has a worker
  bool pci = false;                     // true: PCI devices can be attached (see is_pci_devargs)
  ParkLimits park;
  std::function<void(RuntimeLogLevel, std::string_view)> log;  // one line, no newline; absent: stderr
};

struct WorkerInfo {
  WorkerId id;
  uint16_t cpu = 0;
  int numa_node = -1;
  bool running = false;
  uint32_t rx_queues = 0;       // that it polls
  uint64_t loops = 0;
  uint64_t rx_packets = 0;
  uint64_t tx_packets = 0;
  uint64_t busy_cycles = 0;     // of loops that had something to do
  uint64_t idle_cycles = 0;     // of those that had not, sleeps left out
  uint64_t sleeps = 0;
  uint64_t slept_ns = 0;
  uint64_t cycles_per_second = 0;
  uint32_t held = 0;            // packets parked now
};

struct DropTotals {
  std::array<uint64_t, kDropCount> drops{};  // all ports, all workers
  uint64_t unpoliced = 0;                    // must stay 0
  uint64_t parked = 0;                       // ever
  uint64_t unparked = 0;
  uint64_t redirected = 0;
  uint64_t injected = 0;
};

struct MemoryInfo {
  struct Pool {
    int numa_node = -1;
    uint32_t size = 0;       // buffers
    uint32_t available = 0;
    uint32_t data_bytes = 0; // of one buffer
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

class Runtime {
 public:
  // The CPUs that the workers of these options run on, in the order of their ids. Needs no EAL.
  static Result<std::vector<uint16_t>> worker_cpus(const RuntimeOptions& options);
  // Do these devargs name a device on the PCI bus ("0000:01:00.0,...", "01:00.0", "pci:...")?
  static bool is_pci_devargs(std::string_view devargs);
  // The clock of Pipeline::process and the FDB: seconds of CLOCK_MONOTONIC.
  static uint32_t now_s();

  // Fails with what to do about it: no hugepages, memory taken, CPU not there, not permitted.
  static Result<std::unique_ptr<Runtime>> create(const RuntimeOptions& options, StateCell& state, Fdb& fdb,
                                                 CounterBank& counters, std::function<void()> wake);
  ~Runtime();  // stops if that was not done
  Runtime(const Runtime&) = delete;
  Runtime& operator=(const Runtime&) = delete;

  // Workers begin to run. A state must have been published.
  Result<void> start();
  // Removes what ports are left, ends the workers, frees what is parked or in flight, and says (log) if
  // a buffer was lost. Nothing of what ports(), gate() and grace() give does anything useful afterwards, but all may be
  // called: everything has then elapsed.
  void stop();

  [[nodiscard]] Ports& ports();
  [[nodiscard]] PacketGate& gate();
  [[nodiscard]] GracePeriod& grace();

  [[nodiscard]] std::vector<WorkerInfo> workers() const;
  [[nodiscard]] DropTotals drops() const;
  [[nodiscard]] MemoryInfo memory() const;
  // Buffers found missing by stop(): 0 unless there is a defect.
  [[nodiscard]] uint64_t leaked_buffers() const;

 private:
  struct Impl;
  explicit Runtime(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace godwit::dataplane
