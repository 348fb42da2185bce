// SPDX-License-Identifier: Apache-2.0
//
// One worker: a thread on its own CPU that takes frames from its queues through its pipeline and
// out.
//
//   loop: load the state and the plan once
//         send held frames that can go, take mail, release parked frames
//         poll each active rx queue -> pipeline -> tx batches
//         send the batches; report a quiescent state
//         if idle: spin, then sleep (offline for grace periods)
//
// A port whose packets are mostly unknown to the flow cache is polled less while other ports have
// packets (miss_budget.h).
//
// After kSilentVisits empty polls the worker arms a queue: it enables the guest's kicks and stops
// polling. A kick ends the worker's sleep; while the worker is busy it looks for kicks every
// kKickLookUs. Hundreds of idle ports therefore cost neither a busy worker nor one that goes to
// sleep anything. Before it sleeps the worker arms the remaining queues. A queue that cannot be
// armed is polled on, and the worker then sleeps in short naps. A queue whose rings do not run, or
// whose policy is not in place, is dormant. Changes that end this make the worker look at all
// queues once: Sleeper::attend(), or a new endpoint table.
//
// Workers share the following. No line of it is written for a packet that is received, switched and
// sent:
//
//   StateCell, tables, endpoints  written by the control thread when it publishes
//   Fdb                           written by a worker that learns an address, or sees it for the
//                                 first time in a second
//   CounterBank                   each worker writes cells of its own, on lines of their own
//   GroupDedupe                   written for frames to a group while a VM moves
//   QsbrGrace                     one token for each worker, once a loop
//   Mempools                      a cache for each worker; excess and lack go through the pool's
//                                 ring, many buffers at once
//   Mailboxes, WorkerGate         rings, a burst at once: frames for another worker's queue or for
//                                 the control thread
//   PortCell, Stats               one line or more for each worker
//
// `scripts/bench scale` shows that throughput grows with the number of workers.
//
// Invariant: pointers found by the state, the plan or the port directory are not kept across loops.
//
// Thread safety: run() and the host calls on the worker's lcore; set_plan() and request_stop() by
// the control thread; info(), parked() and counts by any thread; finish() by the control thread
// after run() has returned.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "dataplane/dpdk/env/mempools.h"
#include "dataplane/dpdk/env/qsbr.h"
#include "dataplane/dpdk/env/sleeper.h"
#include "dataplane/dpdk/port/port.h"
#include "dataplane/dpdk/port/port_directory.h"
#include "dataplane/dpdk/worker/held_endpoints.h"
#include "dataplane/dpdk/worker/mailboxes.h"
#include "dataplane/dpdk/worker/poll_set.h"
#include "dataplane/dpdk/worker/tx_host.h"
#include "dataplane/dpdk/worker/tx_stage.h"
#include "dataplane/dpdk/worker/worker_gate.h"
#include "dataplane/dpdk/worker/worker_plan.h"
#include "dataplane/pipeline/drop_counters.h"
#include "dataplane/pipeline/pipeline.h"
#include "dataplane/runtime_report.h"

namespace godwit::dataplane {

// The objects that all workers share. They outlive the workers.
struct WorkerDeps {
  StateCell& state;
  Fdb& fdb;
  CounterBank& counters;
  GroupDedupe& dedupe;
  QsbrGrace& grace;
  Mempools& pools;
  Mailboxes& mail;
  WorkerGate& gate;
  const PortDirectory& ports;
};

class Worker final : public PipelineHost, public TxHost {
 public:
  struct Config {
    WorkerId id;
    unsigned lcore = 0;
    uint16_t cpu = 0;
    int node = 0;
    uint32_t spin_us = 50;
    uint32_t max_sleep_us = 10'000;
    uint32_t poll_us = 100;
    ParkLimits park;
  };
  Worker(const Config& config, const WorkerDeps& deps);
  ~Worker() override;

  // Runs the loop until request_stop().
  void run();
  void request_stop() {
    stop_.store(true, std::memory_order_release);
    wake();
  }
  // Any thread. Wakes the worker, for example because a state was published.
  void wake() { sleeper_.wake(); }
  // Any thread. Makes the worker look at all queues, because rings have started or stopped.
  void attend() { sleeper_.attend(); }
  // Frees all frames that are parked, held or in the mail.
  void finish();

  // Replaces the plan. Returns the old one, to be freed after a grace period.
  std::unique_ptr<WorkerPlan> set_plan(std::unique_ptr<WorkerPlan> plan);
  [[nodiscard]] const Config& config() const { return config_; }
  [[nodiscard]] WorkerInfo info() const;
  [[nodiscard]] const Pipeline& pipeline() const { return *pipeline_; }
  [[nodiscard]] const DropCounters& drops() const { return drops_; }
  [[nodiscard]] uint64_t redirected() const {
    return tx_->redirected() + pipeline_->counts().redirected.load(std::memory_order_relaxed);
  }
  // Returns 0 exactly if no frame for the endpoint is parked or held here, else at most the number
  // of all frames that are.
  [[nodiscard]] uint64_t parked(EndpointId endpoint) const;

  Packet* clone(const Packet& packet) override;
  void free(std::span<Packet* const> packets) override;
  void transmit(std::span<const Output> outputs) override;
  bool may_wait(const Packet& packet) override { return leaves_buffers(packet); }
  bool redirect(EndpointId endpoint, Packet* packet) override;
  void punt(EndpointId uplink, const Packet& packet) override;
  void reroute(const ForwardingState& state, EndpointId endpoint, Packet* packet) override;

 private:
  struct Stats {
    std::atomic<bool> running{false};
    std::atomic<uint32_t> rx_queues{0};
    std::atomic<uint64_t> loops{0};
    std::atomic<uint64_t> rx_packets{0};
    std::atomic<uint64_t> tx_packets{0};
    std::atomic<uint64_t> busy_cycles{0};
    std::atomic<uint64_t> idle_cycles{0};
    std::atomic<uint64_t> sleeps{0};
    std::atomic<uint64_t> slept_ns{0};
  };
  // The ports that brought frames in one loop.
  struct BusyPorts {
    PortId port;
    bool several = false;
    [[nodiscard]] bool other_than(PortId id) const {
      return several || (port.valid() && port != id);
    }
    void note(PortId id) {
      several |= other_than(id);
      port = id;
    }
  };

  bool loop_once();
  unsigned drain(const ForwardingState& state);
  void collect_mail();
  unsigned take_mail(const ForwardingState& state);
  void handle_mail(const ForwardingState& state, rte_mbuf** mbufs, unsigned count);
  unsigned poll(const ForwardingState& state, WorkerPlan& plan, uint32_t now_s);
  [[nodiscard]] bool in_debt(Port& port);
  unsigned poll_queue(const ForwardingState& state, WorkerPlan::RxQueue& rx, uint32_t now_s);
  void publish_held();
  bool leave_alone(const ForwardingState& state, WorkerPlan::RxQueue& rx, uint32_t index,
                   uint32_t now_s, unsigned& frames);
  [[nodiscard]] bool may_sleep() const;
  [[nodiscard]] uint32_t sleep_limit_us() const;
  void sleep();

  const Config config_;
  WorkerDeps deps_;
  DropCounters drops_;
  std::unique_ptr<Pipeline> pipeline_;
  std::unique_ptr<TxStage> tx_;
  std::atomic<WorkerPlan*> plan_;
  std::atomic<bool> stop_{false};
  Stats stats_;
  HeldEndpoints held_;

  // Used by the worker only.
  Sleeper& sleeper_;
  PollSet active_;
  uint64_t now_cycles_ = 0;     // at the start of this loop
  BusyPorts busy_before_;       // in the last loop
  BusyPorts busy_;              // in this loop
  uint64_t looked_cycles_ = 0;  // the last look for kicks of armed queues
  // The worker has been idle for a while: this loop arms what it can, and the worker may sleep.
  bool settle_ = false;
  uint32_t sleep_us_ = 0;
  std::vector<rte_mbuf*> mail_;  // of this loop, by sender
  std::vector<EndpointId> held_now_;
};

}  // namespace godwit::dataplane
