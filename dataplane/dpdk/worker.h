// SPDX-License-Identifier: Apache-2.0
//
// One worker: a thread on its CPU that takes frames from its queues through its pipeline and out.
//
//   loop: load the state and the plan once
//         held frames that can go, mail, parked frames, then each rx queue -> pipeline -> tx batches
//         send the batches; report quiescent; idle: spin, then sleep longer and longer (offline for RCU)
//
// A port whose packets are mostly unknown to the flow cache is polled less while others have packets (miss_budget.h).
//
// Queues that have been silent for long are visited in turn, a few each loop, so that hundreds of idle ports cost a busy
// one, and an idle switch, little.
//
// Invariants: what the worker found by the state, the plan or the port directory is not kept across loops.
//
// Thread safety: run() on the worker's lcore; the PipelineHost calls from its pipeline. set_plan(), request_stop() by the
// control thread; info(), parked() and pipeline() counts by it at any time; finish() by it after run() has returned.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <vector>

#include "dataplane/dpdk/gate.h"
#include "dataplane/dpdk/mailboxes.h"
#include "dataplane/dpdk/mempools.h"
#include "dataplane/dpdk/port.h"
#include "dataplane/dpdk/rcu.h"
#include "dataplane/dpdk/runtime.h"
#include "dataplane/dpdk/tx_stage.h"
#include "dataplane/pipeline.h"

namespace godwit::dataplane {

// What a worker polls. The control thread makes a new one for each change and frees the old after a grace period.
struct WorkerPlan {
  struct RxQueue {
    Port* port = nullptr;
    uint16_t queue = 0;
    rte_mempool* pool = nullptr;  // vhost: what its frames go to
    uint32_t silent = 0;          // the worker's: visits without a frame
  };
  std::vector<RxQueue> queues;
};

// Everything a worker shares; outlives it.
struct WorkerDeps {
  StateCell& state;
  Fdb& fdb;
  CounterBank& counters;
  GroupDedupe& dedupe;
  QsbrGrace& grace;
  Mempools& pools;
  Mailboxes& mail;
  Gate& gate;
  const PortDirectory& ports;
};

class Worker final : public PipelineHost {
 public:
  struct Config {
    WorkerId id;
    unsigned lcore = 0;
    uint16_t cpu = 0;
    int node = 0;
    uint32_t spin_us = 50;
    uint32_t max_sleep_us = 100;
    ParkLimits park;
  };
  Worker(const Config& config, const WorkerDeps& deps);
  ~Worker() override;

  void run();
  void request_stop() { stop_.store(true, std::memory_order_release); }
  // Lets go of all that is parked, held or in the mail.
  void finish();

  // The one that was there: free it after a grace period.
  std::unique_ptr<WorkerPlan> set_plan(std::unique_ptr<WorkerPlan> plan);
  [[nodiscard]] const Config& config() const { return config_; }
  [[nodiscard]] WorkerInfo info() const;
  [[nodiscard]] const Pipeline& pipeline() const { return *pipeline_; }
  [[nodiscard]] uint64_t redirected() const { return tx_->redirected() + pipeline_->counts().redirected.load(std::memory_order_relaxed); }
  // Frames held here for the endpoint: 0 exactly when there are none; else all that are held, at most.
  [[nodiscard]] uint64_t parked(EndpointId endpoint) const;

  Packet* clone(const Packet& packet) override;
  void free(std::span<Packet* const> packets) override;
  void transmit(std::span<const Output> outputs) override;
  bool redirect(EndpointId endpoint, Packet* packet) override;
  void punt(EndpointId uplink, const Packet& packet) override;

 private:
  static constexpr size_t kWaitingShown = 62;
  struct Stats {
    std::atomic<uint64_t> loops{0};
    std::atomic<uint64_t> rx_packets{0};
    std::atomic<uint64_t> tx_packets{0};
    std::atomic<uint64_t> busy_cycles{0};
    std::atomic<uint64_t> idle_cycles{0};
    std::atomic<uint64_t> sleeps{0};
    std::atomic<uint64_t> slept_ns{0};
  };
  // Endpoints with frames parked or held here, for parked(): a sequence lock, since the worker never waits.
  struct Waiting {
    std::atomic<uint32_t> sequence{0};
    std::atomic<uint32_t> count{0};  // above kWaitingShown: more than are listed
    std::array<std::atomic<uint32_t>, kWaitingShown> endpoints{};
  };

  bool loop_once();
  unsigned drain(const ForwardingState& state);
  void collect_mail();
  unsigned take_mail(const ForwardingState& state);
  void handle_mail(const ForwardingState& state, rte_mbuf** mbufs, unsigned count);
  unsigned poll(const ForwardingState& state, WorkerPlan& plan, uint32_t now_s);
  unsigned poll_queue(const ForwardingState& state, WorkerPlan::RxQueue& rx, uint32_t now_s);
  void show_waiting();
  void idle(uint64_t idle_since, uint64_t now);

  const Config config_;
  WorkerDeps deps_;
  std::unique_ptr<Pipeline> pipeline_;
  std::unique_ptr<TxStage> tx_;
  std::atomic<WorkerPlan*> plan_;
  std::atomic<bool> stop_{false};
  std::atomic<bool> running_{false};
  std::atomic<uint32_t> rx_queues_{0};
  Stats stats_;
  Waiting waiting_;

  // The worker's own.
  uint64_t now_cycles_ = 0;   // at the start of this loop
  // Who brought frames in the last loop, and in this one.
  struct Busy {
    PortId port;
    bool several = false;
    [[nodiscard]] bool other_than(PortId id) const { return several || (port.valid() && port != id); }
    void note(PortId id) {
      several |= other_than(id);
      port = id;
    }
  };
  Busy busy_before_;
  Busy busy_;
  size_t next_silent_ = 0;
  uint32_t sleep_us_ = 0;
  std::vector<rte_mbuf*> mail_;  // of this loop, by sender
  std::vector<EndpointId> waiting_now_;
  std::vector<EndpointId> waiting_shown_;
};

}  // namespace godwit::dataplane
