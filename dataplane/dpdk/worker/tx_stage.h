// SPDX-License-Identifier: Apache-2.0
//
// The last stage of a worker: takes frames that the pipeline sends by a port to its device.
//
//   add -> size check -> the worker that owns the queue: this one, or another by its mailbox
//       -> checksum completed, or passed on as partial -> batch -> device
//
// Hold: frames that wait here for their port, in order and bounded, behind the egress table. Of a
// pool's buffers a quarter is left to other frames, except that frames that were parked (their park
// has left it) and frames from a peer may take half of a pool for each port.
//
// - A VM's rings stop an instant before the control thread can publish that it is parked. Frames
//   sent to its port in that instant are held and then follow the endpoint's location: to the port
//   when its rings run again, to the peer when it is redirected, to the uplink when it has moved.
// - Frames that were parked or come from a peer arrive at once, more than any guest ring takes.
//   They are patient: they wait at a full ring, and later frames wait behind them.
// - A VM that resumes finds a backlog. For the first two seconds, by when a move is over, frames
//   that its ring does not take are held. The same applies after rings were locked for dirty
//   logging, as a migration begins. For eight seconds more a full ring is waited for as long as it
//   makes progress: its host has just taken on a VM whose vCPUs compete for CPUs with the work that
//   causes. After that, held frames leave and new ones are not held, since the hold of an
//   overloaded guest would never end.
//
// A hold ends when it is empty, or kHoldNs after its last progress. In that case its frames are
// dropped as tx_queue_full or tx_down.
//
// Invariant: every frame that enters leaves by exactly one of the device, another worker's mailbox,
// the redirect, the pipeline (a held frame whose endpoint has moved), and a named drop counted for
// the port it was to leave by.
//
// Thread safety: belongs to one worker. Any thread may read held() and redirected().
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "base/ids.h"
#include "dataplane/dpdk/port/port.h"
#include "dataplane/dpdk/port/port_directory.h"
#include "dataplane/dpdk/worker/mailboxes.h"
#include "dataplane/dpdk/worker/tx_host.h"
#include "dataplane/dpdk/worker/worker_gate.h"
#include "dataplane/pipeline/drop_counters.h"
#include "dataplane/pipeline/parking.h"
#include "dataplane/pipeline/pipeline_host.h"
#include "dataplane/state/forwarding_state.h"

namespace godwit::dataplane {

class TxStage {
 public:
  TxStage(WorkerId self, const PortDirectory& ports, Mailboxes& mail, WorkerGate& gate,
          DropCounters& drops, TxHost& host, ParkLimits limits)
      : self_(self),
        ports_(ports),
        mail_(mail),
        gate_(gate),
        drops_(drops),
        host_(host),
        limits_(limits) {}
  TxStage(const TxStage&) = delete;
  TxStage& operator=(const TxStage&) = delete;

  // Takes over the state and time of a loop, then sends held frames that can go now. Called at the
  // start of each loop.
  void begin(const ForwardingState& state, uint64_t now_ns);
  // Adds frames from the pipeline. Takes them over in any case; those that cannot be sent or held
  // are dropped.
  void add(std::span<const Output> outputs);
  // Sets whether frames added after this call are patient: they may wait at a full ring. Off by
  // default.
  void set_patient(bool patient) { patient_ = patient; }
  // Adds a frame from another worker's mailbox message. `serial` tells whether the port is still
  // the one that the sender meant, since PortIds are reused. Takes the packet over in any case.
  void add_mail(Packet* packet, PortId to, uint32_t serial);
  // Sends all batches. Called at the end of each loop, before the quiescent state.
  void flush();
  // Drops all held frames. Called at the worker's end.
  void abandon();
  // Returns whether frames for the endpoint are held. No newer frame for it may then go another
  // way.
  [[nodiscard]] bool holds(EndpointId endpoint) const;
  // Appends the endpoints for which frames are held.
  void list_holds(std::vector<EndpointId>& out) const;
  [[nodiscard]] uint32_t held() const { return held_.load(std::memory_order_relaxed); }
  [[nodiscard]] uint64_t redirected() const { return redirected_.load(std::memory_order_relaxed); }
  [[nodiscard]] uint64_t sent() const { return sent_; }

 private:
  struct Hold {
    PortId port;
    uint32_t serial = 0;
    EndpointId endpoint;  // the owner of the port when the hold began
    std::vector<Packet*> packets = {};
    uint64_t bytes = 0;
    uint64_t until_ns = 0;  // its frames are dropped at this time
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
  DropCounters& drops_;
  TxHost& host_;
  const ParkLimits limits_;
  const ForwardingState* state_ = nullptr;  // of this loop
  uint64_t now_ns_ = 0;
  bool patient_ = false;
  std::vector<WorkerId> mailed_;  // workers to wake at the next flush()
  std::vector<Dirty> dirty_;      // queues with a non-empty batch; empty between loops
  std::vector<Hold> holds_;
  std::atomic<uint32_t> held_{0};
  std::atomic<uint64_t> redirected_{0};
  uint64_t sent_ = 0;
};

}  // namespace godwit::dataplane
