// SPDX-License-Identifier: Apache-2.0
//
// Passes frames from one thread to another. Each pair of sender and worker has a ring with one
// producer and one consumer, so no thread waits for one that was preempted in the middle of an
// operation. Senders are the workers and, with the last number, the control thread.
//
// A sender wakes a sleeping worker by its Sleeper.
//
// Each ring is bounded and keeps order. A frame in a ring belongs to the ring. Its MbufPriv says
// what to do with it.
//
// Thread safety: send() by the named sender; receive() by the named worker; the rest by any thread.
#pragma once

#include <rte_mbuf.h>
#include <rte_ring.h>

#include <cstdint>
#include <memory>
#include <vector>

#include "base/ids.h"
#include "base/result.h"
#include "dataplane/dpdk/env/sleeper.h"
#include "dataplane/dpdk/worker/ring.h"

namespace godwit::dataplane {

class Mailboxes {
 public:
  static constexpr unsigned kBurstFrames = 64;
  static constexpr unsigned kWorkerFrames = 1023;   // capacity from one worker to another
  static constexpr unsigned kControlFrames = 4095;  // capacity from the control thread to a worker

  // Makes mailboxes for one worker on each NUMA node of the list. Returns an error if the
  // memory of a ring cannot be allocated.
  static Result<std::unique_ptr<Mailboxes>> create(const std::vector<int>& worker_nodes,
                                                   const RingMaker& maker = make_ring);

  [[nodiscard]] uint16_t workers() const { return workers_; }
  // Returns the control thread's number as a sender.
  [[nodiscard]] uint16_t control_sender() const { return workers_; }
  // Passes a frame to a worker. Returns false, and leaves the frame with the caller, if the ring is
  // full.
  bool send(uint16_t sender, WorkerId to, rte_mbuf* mbuf) {
    return rte_ring_sp_enqueue(ring(sender, to), mbuf) == 0;
  }
  // Takes up to `most` frames, which the caller then owns. Returns their number.
  unsigned receive(uint16_t sender, WorkerId to, rte_mbuf** out, unsigned most) {
    return rte_ring_sc_dequeue_burst(ring(sender, to), reinterpret_cast<void**>(out), most,
                                     nullptr);
  }
  // Wakes the worker. Called after send(), once for many frames.
  void wake(WorkerId to) { sleepers_[to.value]->wake(); }
  [[nodiscard]] Sleeper& sleeper(WorkerId worker) { return *sleepers_[worker.value]; }
  // Returns whether frames of the sender wait for the worker.
  [[nodiscard]] bool waiting(uint16_t sender, WorkerId to) const {
    return rte_ring_empty(ring(sender, to)) == 0;
  }

 private:
  explicit Mailboxes(uint16_t workers) : workers_(workers) {}
  [[nodiscard]] rte_ring* ring(uint16_t sender, WorkerId to) const {
    return rings_[size_t{to.value} * (workers_ + 1u) + sender].get();
  }
  const uint16_t workers_;
  std::vector<std::unique_ptr<Sleeper>> sleepers_;  // by worker
  std::vector<RingPtr> rings_;  // by worker, then sender; null from a worker to itself
};

}  // namespace godwit::dataplane
