// SPDX-License-Identifier: Apache-2.0
//
// The last stage of a worker: frames that the pipeline sent out by a port, on their way to its
// device.
//
//   add -> size check -> the queue's owner: us, or another worker's mailbox
//       -> checksum finished, or handed over as partial -> batch -> device
//
// Hold: frames that wait here for their port, in order and bounded, after the egress table. A
// quarter of a pool's buffers is left to others, but for what was parked before (its park left it)
// and what a peer sends (half of a pool at most for each port).
// - A VM's rings stop an instant before the control thread can publish that it is frozen. What is
// sent to its port
//   in that instant is held, and goes where the endpoint's location says next: to the port when its
//   rings run again, to the peer when it is redirected, to the uplink when it moved.
// - What was parked, or comes from a peer, arrives at once, in numbers that no guest ring takes.
// Such frames are
//   patient: where the ring is full they wait, and what follows them waits behind them.
// - A VM that runs anew finds a backlog and has lost time: for the first two seconds, by when a
// move is over, what its ring does
//   not take waits. The same where rings were locked for dirty logging, as a migration begins. For
//   eight seconds more a full ring is waited for as long as it moves: its host has just taken on a
//   VM, and its vCPUs share CPUs with what that costs. After that what is held goes, and what comes
//   meanwhile does not wait, or what an overloaded guest is sent would be held for ever.
// A hold ends when it is empty, or kHoldNs after its last progress: then its frames are dropped, as
// tx_queue_full or tx_down.
//
// Every frame that enters leaves by exactly one of: the device, another worker's mailbox, the
// redirect, the pipeline's emit, a named drop counted for the port it was to leave by.
//
// Thread safety: belongs to one worker. held() and redirected() by anyone.
#pragma once

#include <atomic>
#include <cstdint>
#include <span>
#include <vector>

#include "base/ids.h"
#include "dataplane/dpdk/port/port.h"
#include "dataplane/dpdk/worker/mailboxes.h"
#include "dataplane/dpdk/worker/worker_gate.h"
#include "dataplane/pipeline/parking.h"
#include "dataplane/pipeline/pipeline.h"
#include "dataplane/state/forwarding_state.h"

namespace godwit::dataplane {

class TxStage {
 public:
  TxStage(WorkerId self, const PortDirectory& ports, Mailboxes& mail, WorkerGate& gate,
          Pipeline& pipeline, PipelineHost& host, ParkLimits limits)
      : self_(self),
        ports_(ports),
        mail_(mail),
        gate_(gate),
        pipeline_(pipeline),
        host_(host),
        limits_(limits) {}
  TxStage(const TxStage&) = delete;
  TxStage& operator=(const TxStage&) = delete;

  // At the start of each loop: what is published, and the time; then what was held and can go now,
  // goes.
  void begin(const ForwardingState& state, uint64_t now_ns);
  void add(std::span<const Output> outputs);
  // Frames added from here on are patient, or not. They are not, at first.
  void set_patient(bool patient) { patient_ = patient; }
  // From another worker, which found us to own the queue.
  void add_mail(Packet* packet, PortId to, uint32_t serial);
  // Sends all batches. At the end of each loop, before the quiescent state.
  void flush();
  // Frees what is held, at the worker's end.
  void abandon();
  // Frames for the endpoint are held: nothing newer for it may go by another way.
  [[nodiscard]] bool holds(EndpointId endpoint) const;
  void list_holds(std::vector<EndpointId>& out) const;
  [[nodiscard]] uint32_t held() const { return held_.load(std::memory_order_relaxed); }
  [[nodiscard]] uint64_t redirected() const { return redirected_.load(std::memory_order_relaxed); }
  [[nodiscard]] uint64_t sent() const { return sent_; }

 private:
  struct Hold {
    PortId port;
    uint32_t serial = 0;
    EndpointId endpoint;  // whose port it was
    std::vector<Packet*> packets = {};
    uint64_t bytes = 0;
    uint64_t until_ns = 0;  // when its frames are given up
  };
  struct Dirty {
    Port* port;
    uint16_t queue;
  };
  static constexpr uint64_t kHoldNs = 250'000'000;

  void add_one(Packet* packet, PortId to, PortId origin);
  size_t add_run(Port& port, std::span<const Output> run);
  void enqueue(Port& port, uint16_t queue, bool up, Packet* packet);
  void send_batch(Port& port, uint16_t queue);
  void flush_port(Port& port);
  bool release(Hold& hold);
  bool redirect(Hold& hold);
  bool follow(Hold& hold, bool redirect_late);
  void drop_all(Hold& hold, Drop reason);
  bool try_hold(Port& port, Packet* packet, bool may_begin, uint64_t until_ns);
  void refill(Port& port, Hold& hold);
  Hold* find_hold(const Port& port);
  void drop(Packet* packet, PortId port, Drop reason);
  void set_held();

  const WorkerId self_;
  const PortDirectory& ports_;
  Mailboxes& mail_;
  WorkerGate& gate_;
  Pipeline& pipeline_;
  PipelineHost& host_;
  const ParkLimits limits_;
  const ForwardingState* state_ = nullptr;  // of this loop
  uint64_t now_ns_ = 0;
  bool patient_ = false;
  std::vector<WorkerId> mailed_;  // workers that were sent mail since the last flush()
  std::vector<Dirty> dirty_;      // batches with something in them; empty between loops
  std::vector<Hold> holds_;
  std::atomic<uint32_t> held_{0};
  std::atomic<uint64_t> redirected_{0};
  uint64_t sent_ = 0;
};

}  // namespace godwit::dataplane
