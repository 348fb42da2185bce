// SPDX-License-Identifier: Apache-2.0
//
// Everything that needs DPDK, behind one object: EAL, memory pools, workers, ports, the packet
// gate, grace periods. No rte_ header is included here or by anything this includes, so that the
// daemon's wiring can use it.
//
// Order of use: create() (EAL starts, pools are made, workers exist and are offline), publish a
// first state, start() (workers run), ports come and go, stop() (ports closed, workers ended,
// buffers counted), destruction. One Runtime in the life of a process: EAL starts once.
//
// The state cell, the FDB and the counter bank are the caller's and outlive the Runtime. The bank
// must have been made for as many workers as worker_cpus() gives.
//
// Thread safety: all calls from the thread that called create() (EAL's main lcore: the control
// thread). `wake` and `log` are called from any thread; they must not block and must not call back
// in here.
#pragma once

#include <array>
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
#include "dataplane/dpdk/worker/worker_info.h"
#include "dataplane/packet/drop.h"
#include "dataplane/packet_gate.h"
#include "dataplane/pipeline/parking.h"
#include "dataplane/ports.h"
#include "dataplane/state/counter_bank.h"
#include "dataplane/state/fdb.h"
#include "dataplane/state/forwarding_state.h"

namespace godwit::dataplane {

struct DropTotals {
  std::array<uint64_t, kDropCount> drops{};  // all ports, all workers
  uint64_t unpoliced = 0;                    // must stay 0
  uint64_t parked = 0;                       // ever
  uint64_t unparked = 0;
  uint64_t redirected = 0;
  uint64_t injected = 0;
};

class Runtime {
 public:
  // The CPUs that the workers of these options run on, in the order of their ids. Needs no EAL.
  static Result<std::vector<uint16_t>> worker_cpus(const RuntimeOptions& options);
  // The clock of Pipeline::process and the FDB: seconds of CLOCK_MONOTONIC.
  static uint32_t now_s();

  // Fails with what to do about it: no hugepages, memory taken, CPU not there, not permitted.
  static Result<std::unique_ptr<Runtime>> create(const RuntimeOptions& options, StateCell& state,
                                                 Fdb& fdb, CounterBank& counters,
                                                 std::function<void()> wake);
  ~Runtime();  // stops if that was not done
  Runtime(const Runtime&) = delete;
  Runtime& operator=(const Runtime&) = delete;

  // Workers begin to run. A state must have been published.
  Result<void> start();
  // Removes what ports are left, ends the workers, frees what is parked or in flight, and says
  // (log) if a buffer was lost. Nothing of what ports(), gate() and grace() give does anything
  // useful afterwards, but all may be called: everything has then elapsed.
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
