// SPDX-License-Identifier: Apache-2.0
//
// A port as workers see it: queues to receive from and to send to, its limits, and the worker that
// writes each queue.
//
// Invariants:
// - A port is reached only through the PortDirectory or a worker's plan. It is freed a grace period
//   after it has left both. No pointer to a port is kept across a worker's quiescent state.
// - Either each tx queue has one worker that writes it (owner), or each worker has its own tx queue
//   (queue_per_worker).
// - PortIds are reused; serials are not.
//
// Thread safety: workers call receive(), send(), batch() and cell(). The comment of each other
// function names its threads. Any thread may read counts.
#pragma once

#include <rte_mbuf.h>

#include <array>
#include <atomic>
#include <bit>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "base/ids.h"
#include "base/result.h"
#include "dataplane/dpdk/env/sleeper.h"
#include "dataplane/dpdk/port/port_cell.h"
#include "dataplane/dpdk/port/tx_batch.h"
#include "dataplane/ports.h"

namespace godwit::dataplane {

inline constexpr uint16_t kMaxTxQueues = 16;
inline constexpr uint32_t kEthernetBytes = 14;
inline constexpr uint32_t kVlanTagBytes = 4;

class Port {
 public:
  Port(PortId id, PortKind kind, std::string name, std::string detail, uint16_t mtu,
       uint16_t workers);
  virtual ~Port() = default;
  Port(const Port&) = delete;
  Port& operator=(const Port&) = delete;

  const PortId id;
  const PortKind kind;
  const uint32_t serial;
  const std::string name;
  const std::string detail;

  // Workers. Receives up to `most` frames (at most kBurst) into `out`, each with its Packet filled
  // in. Returns their number. The caller owns the frames. It must drop a frame that still has
  // several segments, since that frame did not fit in one buffer. `pool` provides the buffers if
  // the device has no pool of its own.
  virtual uint16_t receive(uint16_t queue, rte_mempool* pool, rte_mbuf** out, uint16_t most) = 0;
  // Workers. Sends as many of the frames as the device takes, from the first on. Returns their
  // number. The port frees the frames that were sent, and the caller keeps the others.
  virtual uint16_t send(uint16_t queue, rte_mbuf** mbufs, uint16_t count) = 0;

  // The result of arming a silent receive queue.
  enum class Arm : uint8_t {
    kArmed,    // `sleeper` reports `tag` once there may be frames. The caller polls once more now.
    kDormant,  // No frames can come before Sleeper::attend() is called.
    kPolled,   // Frames are not announced: the queue has to be polled.
  };
  // Workers. Prepares for the worker to stop polling a queue. The port keeps state for this queue
  // and `sleeper` in `watched`, which the caller stores. It is 0 at first.
  virtual Arm arm(uint16_t queue, Sleeper& sleeper, uint32_t tag, uint32_t& watched) = 0;
  // Workers. Undoes arm(): the queue is polled again.
  virtual void disarm(uint16_t queue) = 0;

  // The tx queue for a packet of a flow.
  struct Route {
    uint16_t queue = 0;
    bool up = false;  // the queue can be sent to now
  };
  // Workers. Returns the queue by which `worker` sends a packet with this flow hash. While the port
  // is down, a flow keeps its queue.
  [[nodiscard]] Route route(WorkerId worker, uint32_t flow_hash) const {
    if (queue_per_worker_) return {worker.value, true};
    uint32_t mask = tx_mask_.load(std::memory_order_acquire);
    const bool up = (mask & kDownBit) == 0;
    mask &= ~kDownBit;
    if (mask <= 1) return {0, up && mask != 0};
    for (uint32_t skip = flow_hash % static_cast<uint32_t>(std::popcount(mask)); skip > 0; --skip)
      mask &= mask - 1;
    return {static_cast<uint16_t>(std::countr_zero(mask)), up};
  }
  // Workers. Returns whether all flows use one queue and it can be sent to now. Sets `queue` to it.
  [[nodiscard]] bool one_way(WorkerId worker, uint16_t& queue) const {
    queue = queue_per_worker_ ? worker.value : uint16_t{0};
    return queue_per_worker_ || tx_mask_.load(std::memory_order_acquire) == 1;
  }
  // Workers. Returns whether the queue can be sent to now.
  [[nodiscard]] bool ready(uint16_t queue) const {
    const uint32_t mask = tx_mask_.load(std::memory_order_acquire);
    return queue_per_worker_ || ((mask & kDownBit) == 0 && (mask >> queue & 1) != 0);
  }
  // Workers. Returns the worker that writes the tx queue: `self` if each worker has its own.
  [[nodiscard]] WorkerId owner(uint16_t queue, WorkerId self) const {
    return queue_per_worker_ ? self : WorkerId(owners_[queue].load(std::memory_order_relaxed));
  }
  [[nodiscard]] bool queue_per_worker() const { return queue_per_worker_; }
  // Returns whether the port takes frames with partial L4 checksums.
  [[nodiscard]] bool takes_partial_checksums() const {
    return partial_.load(std::memory_order_relaxed);
  }
  [[nodiscard]] uint16_t mtu() const { return mtu_.load(std::memory_order_relaxed); }
  // Returns until when (CLOCK_MONOTONIC) frames are held for a port that has just gone down or come
  // up (tx_stage.h). Returns 0 for a port that is not held for.
  [[nodiscard]] uint64_t hold_until_ns() const {
    return hold_until_ns_.load(std::memory_order_acquire);
  }
  // A port that comes and goes with a VM is settling for a while after it has come up. During that
  // time frames that its full ring does not take are held; later they are dropped.
  [[nodiscard]] bool settling(uint64_t now_ns) const {
    return hold_until_ns() != 0 && now_ns < hold_until_ns() + kSettleNs;
  }
  // Returns whether the port comes and goes with a VM and is not settling any more.
  [[nodiscard]] bool settled(uint64_t now_ns) const {
    return hold_until_ns() != 0 && !settling(now_ns);
  }

  // Returns the counts of one worker. Only that worker writes them.
  [[nodiscard]] PortCell& cell(WorkerId worker) { return cells_[worker.value]; }
  [[nodiscard]] const PortCell& cell(WorkerId worker) const { return cells_[worker.value]; }
  // Returns the batch in which one worker gathers frames for a queue. Only that worker uses it.
  [[nodiscard]] TxBatch& batch(WorkerId worker, uint16_t queue) {
    return queue_per_worker_ ? batches_[worker.value]
                             : batches_[worker.value * batch_stride_ + queue];
  }
  // Workers. Records the time of the first traffic. Called after frames were received or sent.
  void note_traffic() {
    if (first_delivery_ns_.load(std::memory_order_relaxed) == 0) first_delivery_now();
  }

  // Control thread.
  [[nodiscard]] uint16_t rx_queues() const { return rx_queues_; }
  [[nodiscard]] uint16_t tx_queues() const { return tx_queues_; }
  // Returns the time of the first note_traffic() (CLOCK_MONOTONIC), or zero before it.
  [[nodiscard]] uint64_t first_delivery_ns() const {
    return first_delivery_ns_.load(std::memory_order_relaxed);
  }
  [[nodiscard]] virtual int numa_node() const = 0;  // -1 if not known
  // Fills in the fields of `info` that depend on the kind of port.
  virtual void describe(PortInfo& info) const = 0;
  // Releases the device. Called once no worker can reach the port.
  virtual void close() = 0;
  // Sets the worker that writes a tx queue. Has no effect if each worker has its own.
  void set_owner(uint16_t queue, WorkerId worker) {
    owners_[queue].store(worker.value, std::memory_order_relaxed);
  }
  // The worker that polls each rx queue. Read and written by the control thread only.
  std::vector<WorkerId> rx_workers;

 protected:
  static constexpr uint64_t kSettleNs = 8'000'000'000;
  // Set in tx_mask_ while the port is down. The other bits are those from before it went down.
  static constexpr uint32_t kDownBit = 1u << 31;

  // Sets the numbers of queues and makes the batches. Called before the port is published.
  void set_queues(uint16_t rx_queues, uint16_t tx_queues, bool queue_per_worker);

  std::atomic<uint32_t> tx_mask_{kDownBit};
  std::atomic<bool> partial_{false};
  std::atomic<uint16_t> mtu_;
  std::atomic<uint64_t> hold_until_ns_{0};
  std::atomic<uint64_t> first_delivery_ns_{0};

 private:
  void first_delivery_now();

  const uint16_t workers_;
  uint16_t rx_queues_ = 0;
  uint16_t tx_queues_ = 0;
  uint16_t batch_stride_ = 1;
  bool queue_per_worker_ = false;
  std::array<std::atomic<uint16_t>, kMaxTxQueues> owners_{};
  std::vector<PortCell> cells_;
  std::vector<TxBatch> batches_;
};

}  // namespace godwit::dataplane
