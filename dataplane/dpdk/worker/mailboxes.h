// SPDX-License-Identifier: Apache-2.0
//
// Frames from one thread to another: for each pair (sender, worker) a ring with one producer and
// one consumer, so nobody ever waits for a thread that was preempted half-way. Senders are the
// workers and, last, the control thread.
//
// A worker that sleeps is woken by its Sleeper.
//
// Bounded and in order for each pair. A frame in a ring is the ring's; its MbufPriv says what it is
// for.
//
// Thread safety: send() by the sender named; receive() by the worker named.
#pragma once

#include <rte_mbuf.h>
#include <rte_ring.h>

#include <cstdint>
#include <memory>
#include <vector>

#include "base/ids.h"
#include "base/result.h"
#include "dataplane/dpdk/env/sleeper.h"

namespace godwit::dataplane {

struct RingDeleter {
  void operator()(rte_ring* ring) const { rte_ring_free(ring); }
};
using RingPtr = std::unique_ptr<rte_ring, RingDeleter>;

// A ring for one producer and one consumer that holds `capacity` entries at least.
Result<RingPtr> make_ring(const char* name, unsigned capacity, int node);

class Mailboxes {
 public:
  static constexpr unsigned kBurstFrames = 64;

  static Result<std::unique_ptr<Mailboxes>> create(const std::vector<int>& worker_nodes);

  [[nodiscard]] uint16_t workers() const { return workers_; }
  [[nodiscard]] uint16_t control_sender() const { return workers_; }
  // False: full; the frame stays the caller's.
  bool send(uint16_t sender, WorkerId to, rte_mbuf* mbuf) {
    return rte_ring_sp_enqueue(ring(sender, to), mbuf) == 0;
  }
  unsigned receive(uint16_t sender, WorkerId to, rte_mbuf** out, unsigned most) {
    return rte_ring_sc_dequeue_burst(ring(sender, to), reinterpret_cast<void**>(out), most,
                                     nullptr);
  }
  // After send(): the worker may sleep. Once for many frames.
  void wake(WorkerId to) { dozes_[to.value]->wake(); }
  [[nodiscard]] Sleeper& sleeper(WorkerId worker) { return *dozes_[worker.value]; }
  [[nodiscard]] bool waiting(uint16_t sender, WorkerId to) const {
    return rte_ring_empty(ring(sender, to)) == 0;
  }

 private:
  explicit Mailboxes(uint16_t workers) : workers_(workers) {}
  [[nodiscard]] rte_ring* ring(uint16_t sender, WorkerId to) const {
    return rings_[size_t{to.value} * (workers_ + 1u) + sender].get();
  }
  const uint16_t workers_;
  std::vector<std::unique_ptr<Sleeper>> dozes_;  // by worker
  std::vector<RingPtr> rings_;  // by worker, then sender; a worker's own is not there
};

}  // namespace godwit::dataplane
