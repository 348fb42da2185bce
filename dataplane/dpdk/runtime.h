// SPDX-License-Identifier: Apache-2.0
//
// The DPDK side of the switch behind one object: EAL, memory pools, workers, ports, the packet
// gate, grace periods. This header and its includes contain no rte_ header, so that the daemon can
// use it.
//
// Order of use: create() starts EAL and makes the pools and the workers, which are offline. The
// caller publishes a first state. start() lets the workers run. Ports come and go. stop() closes
// the ports, ends the workers and counts the buffers. A process has at most one Runtime, since EAL
// starts only once.
//
// The state cell, the FDB and the counter bank belong to the caller and outlive the Runtime. The
// bank must have been made for as many workers as worker_cpus() returns CPUs.
//
// Thread safety: all calls by the thread that called create(): EAL's main lcore, the control
// thread. `wake` and `log` are called by any thread. They must not block and must not call back.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/ids.h"
#include "base/rcu.h"
#include "base/result.h"
#include "dataplane/dpdk/env/runtime_options.h"
#include "dataplane/packet/drop.h"
#include "dataplane/packet_gate.h"
#include "dataplane/pipeline/parking.h"
#include "dataplane/ports.h"
#include "dataplane/runtime_report.h"
#include "dataplane/state/counter_bank.h"
#include "dataplane/state/fdb.h"
#include "dataplane/state/forwarding_state.h"

namespace godwit::dataplane {

class Runtime {
 public:
  // Returns the CPUs of the workers, in the order of the workers' ids. Needs no EAL.
  static Result<std::vector<uint16_t>> worker_cpus(const RuntimeOptions& options);
  // Returns the time of Pipeline::process() and the FDB, in seconds of CLOCK_MONOTONIC.
  static uint32_t now_s();

  // Fails if huge pages, memory, CPUs or permissions are missing. The error says what to change.
  static Result<std::unique_ptr<Runtime>> create(const RuntimeOptions& options, StateCell& state,
                                                 Fdb& fdb, CounterBank& counters,
                                                 std::function<void()> wake);
  // Calls stop() if it has not been called.
  ~Runtime();
  Runtime(const Runtime&) = delete;
  Runtime& operator=(const Runtime&) = delete;

  // Starts the workers. A state must have been published.
  Result<void> start();
  // Removes the remaining ports, ends the workers, frees packets that are parked or in flight, and
  // logs an error if a buffer is missing. ports(), gate() and grace() may still be called
  // afterwards but have no effect: every grace period has elapsed.
  void stop();

  [[nodiscard]] Ports& ports();
  [[nodiscard]] PacketGate& gate();
  [[nodiscard]] GracePeriod& grace();

  [[nodiscard]] std::vector<WorkerInfo> workers() const;
  [[nodiscard]] DropTotals drops() const;
  [[nodiscard]] MemoryInfo memory() const;
  // Returns the number of buffers that stop() found missing. It is 0 unless there is a defect.
  [[nodiscard]] uint64_t leaked_buffers() const;

 private:
  struct Impl;
  explicit Runtime(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace godwit::dataplane
