// SPDX-License-Identifier: Apache-2.0
//
// One worker: a thread on its CPU that takes frames from its queues through its pipeline and out.
//
//   loop: load the state and the plan once
//         held frames that can go, mail, parked frames, then each rx queue -> pipeline -> tx
//         batches send the batches; report quiescent; idle: spin, then sleep (offline for RCU)
//
// A port whose packets are mostly unknown to the flow cache is polled less while others have
// packets (miss_budget.h).
//
// A queue that has been silent for long is armed and left alone: its guest is asked to kick, and
// the kick ends the worker's sleep, or is looked for every kKickLookUs while it is busy. So
// hundreds of idle ports cost nothing, neither a busy worker nor one that goes to sleep. Before it
// sleeps the worker arms what is left. A queue that cannot be armed is polled on: the worker then
// sleeps in short naps. A queue whose rings do not run, or whose policy is not in place, is
// dormant; what changes that makes the worker look at all queues once (Sleeper::attend(), another
// endpoint table).
//
// What workers share, and when a line of it is written. None is written for a packet that is
// received, switched and sent:
//   StateCell, tables, endpoints   by control when it publishes
//   Fdb                            by a worker that learns an address, or sees it for the first
//   time in a second CounterBank                    cells by their own worker, apart from each
//   other's GroupDedupe                    frames to a group, while a VM moves QsbrGrace a token a
//   worker, once a loop Mempools                       a cache a worker; what it spills or lacks
//   goes by the pool's ring, many buffers at once Mailboxes, WorkerGate                rings, a
//   burst at once: what is for another worker's queue, or for the control thread PortCell, Stats a
//   line or more for each worker
// `scripts/bench scale` shows that several workers together do as many times what one does.
//
// Invariants: what the worker found by the state, the plan or the port directory is not kept across
// loops.
//
// Thread safety: run() on the worker's lcore; the PipelineHost calls from its pipeline. set_plan(),
// request_stop() by the control thread; info(), parked() and pipeline() counts by it at any time;
// finish() by it after run() has returned.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <vector>

#include "dataplane/dpdk/env/mbuf_packet.h"
#include "dataplane/dpdk/env/mempools.h"
#include "dataplane/dpdk/env/qsbr.h"
#include "dataplane/dpdk/env/sleeper.h"
#include "dataplane/dpdk/port/port.h"
#include "dataplane/dpdk/worker/mailboxes.h"
#include "dataplane/dpdk/worker/tx_stage.h"
#include "dataplane/dpdk/worker/worker_gate.h"
#include "dataplane/dpdk/worker/worker_info.h"
#include "dataplane/pipeline/pipeline.h"

namespace godwit::dataplane {

// What a worker polls. The control thread makes a new one for each change and frees the old after a
// grace period.
struct WorkerPlan {
  struct RxQueue {
    Port* port = nullptr;
    uint16_t queue = 0;
    rte_mempool* pool =
        nullptr;  // what its frames go to; a device has one of its own, of the same kind
    // The worker's.
    uint32_t silent = 0;   // visits without a frame
    uint32_t watched = 0;  // Port::arm's
    bool always = false;   // nothing tells of its frames
  };
  std::vector<RxQueue> queues;
  uint64_t serial = 0;  // no two plans of a worker have the same
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
  WorkerGate& gate;
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
    uint32_t max_sleep_us = 10'000;
    uint32_t poll_us = 100;
    ParkLimits park;
  };
  Worker(const Config& config, const WorkerDeps& deps);
  ~Worker() override;

  void run();
  void request_stop() {
    stop_.store(true, std::memory_order_release);
    wake();
  }
  // Any thread. What it waits for may have come: a state was published.
  void wake() { sleeper_.wake(); }
  // Any thread. Rings have started or stopped.
  void attend() { sleeper_.attend(); }
  // Lets go of all that is parked, held or in the mail.
  void finish();

  // The one that was there: free it after a grace period.
  std::unique_ptr<WorkerPlan> set_plan(std::unique_ptr<WorkerPlan> plan);
  [[nodiscard]] const Config& config() const { return config_; }
  [[nodiscard]] WorkerInfo info() const;
  [[nodiscard]] const Pipeline& pipeline() const { return *pipeline_; }
  [[nodiscard]] uint64_t redirected() const {
    return tx_->redirected() + pipeline_->counts().redirected.load(std::memory_order_relaxed);
  }
  // Frames held here for the endpoint: 0 exactly when there are none; else all that are held, at
  // most.
  [[nodiscard]] uint64_t parked(EndpointId endpoint) const;

  Packet* clone(const Packet& packet) override;
  void free(std::span<Packet* const> packets) override;
  void transmit(std::span<const Output> outputs) override;
  bool may_wait(const Packet& packet) override { return leaves_buffers(packet); }
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
  // Endpoints with frames parked or held here, for parked(): a sequence lock, since the worker
  // never waits.
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
  [[nodiscard]] bool in_debt(Port& port);
  unsigned poll_queue(const ForwardingState& state, WorkerPlan::RxQueue& rx, uint32_t now_s);
  void show_waiting();
  void note_changes(const ForwardingState& state, WorkerPlan& plan);
  void activate(const WorkerPlan& plan, size_t count, const Sleeper::Tags& queues);
  bool leave_alone(const ForwardingState& state, WorkerPlan::RxQueue& rx, uint32_t index,
                   uint32_t now_s, unsigned& frames);
  [[nodiscard]] bool may_sleep() const;
  [[nodiscard]] uint32_t sleep_limit_us() const;
  void sleep();

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
  uint64_t now_cycles_ = 0;  // at the start of this loop
  // Who brought frames in the last loop, and in this one.
  struct Busy {
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
  Busy busy_before_;
  Busy busy_;
  Sleeper& sleeper_;
  std::vector<uint32_t> active_;  // queues that are polled, by their place in the plan; the others
                                  // are armed or dormant
  std::vector<bool> is_active_;   // by place in the plan
  size_t always_ = 0;             // of the active ones: those that nothing wakes us for
  uint64_t plan_serial_ = 0;      // what was seen of the plan and the state
  uint64_t generation_ = 0;
  uint64_t places_changed_ = 0;
  uint64_t looked_cycles_ = 0;  // when kicks of armed queues were last looked for
  bool settle_ =
      false;  // nothing came for long: this loop arms what it can, then the worker may sleep
  uint32_t sleep_us_ = 0;
  std::vector<rte_mbuf*> mail_;  // of this loop, by sender
  std::vector<EndpointId> waiting_now_;
  std::vector<EndpointId> waiting_shown_;
};

}  // namespace godwit::dataplane
