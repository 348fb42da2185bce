// SPDX-License-Identifier: Apache-2.0
//
// A port as workers see it: queues to receive from and send to, what it can take, and who writes
// which queue.
//
// Invariants:
// - A port is reached through the PortDirectory or a worker's plan only, and freed a grace period
// after both forgot it;
//   no pointer to one is kept across a worker's quiescent state.
// - A tx queue has one worker that writes it (owner), or each worker a queue of its own
// (queue_per_worker).
// - PortIds are used again, serials are not.
//
// Thread safety: receive(), send(), batch() and cell() by workers; what says so below by others.
// Counts may be read by the control thread at any time.
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
#include "dataplane/pipeline/miss_budget.h"
#include "dataplane/pipeline/pipeline.h"
#include "dataplane/ports.h"

namespace godwit::dataplane {

inline constexpr uint16_t kMaxTxQueues = 16;
inline constexpr uint32_t kEthernetBytes = 14;
inline constexpr uint32_t kVlanTagBytes = 4;

// One worker's counts for one port. Written by that worker alone.
struct alignas(64) PortCell {
  std::atomic<uint64_t> rx_packets{0};
  std::atomic<uint64_t> rx_bytes{0};
  std::atomic<uint64_t> tx_packets{0};
  std::atomic<uint64_t> tx_bytes{0};
  MissBudget misses;  // the worker's own

  static void add(std::atomic<uint64_t>& count, uint64_t n) {
    count.store(count.load(std::memory_order_relaxed) + n, std::memory_order_relaxed);
  }
};

// What a worker has gathered for one tx queue since it last sent.
struct TxBatch {
  uint16_t count = 0;
  bool stalled = false;  // took nothing the last time: do not wait for it again until it does
  std::array<rte_mbuf*, kBurst> mbufs;
};

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

  // Workers. Up to `most` (at most kBurst) frames, Packet filled in; they are the caller's. One
  // that is still in several segments has no buffer to be whole in: to be dropped.
  virtual uint16_t receive(uint16_t queue, rte_mempool* pool, rte_mbuf** out, uint16_t most) = 0;
  // Workers. Sends the first of them and lets go of those; returns how many that were.
  virtual uint16_t send(uint16_t queue, rte_mbuf** mbufs, uint16_t count) = 0;

  // Workers: what a receive queue that has been silent needs in order to be left alone.
  enum class Arm : uint8_t {
    kArmed,    // `sleeper` reports `tag` once there may be frames: receive() once more now, then it
               // can be left until then
    kDormant,  // there are no frames, and attend() is called before there will be
    kPolled,   // nothing tells of frames: it must be looked at
  };
  // `watched`: the caller's, 0 at first, one for each queue and Sleeper.
  virtual Arm arm(uint16_t queue, Sleeper& sleeper, uint32_t tag, uint32_t& watched) = 0;
  // It is looked at again.
  virtual void disarm(uint16_t queue) = 0;

  // Workers: where a flow's next packet goes.
  struct Route {
    uint16_t queue = 0;
    bool up = false;  // it can be sent now
  };
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
  // Whether all flows take one queue that can be sent now: which.
  [[nodiscard]] bool one_way(WorkerId worker, uint16_t& queue) const {
    queue = queue_per_worker_ ? worker.value : uint16_t{0};
    return queue_per_worker_ || tx_mask_.load(std::memory_order_acquire) == 1;
  }
  [[nodiscard]] bool ready(uint16_t queue) const {
    const uint32_t mask = tx_mask_.load(std::memory_order_acquire);
    return queue_per_worker_ || ((mask & kDownBit) == 0 && (mask >> queue & 1) != 0);
  }
  [[nodiscard]] WorkerId owner(uint16_t queue, WorkerId self) const {
    return queue_per_worker_ ? self : WorkerId(owners_[queue].load(std::memory_order_relaxed));
  }
  [[nodiscard]] bool queue_per_worker() const { return queue_per_worker_; }
  // It takes frames whose L4 checksum is left to it.
  [[nodiscard]] bool takes_partial_checksums() const {
    return partial_.load(std::memory_order_relaxed);
  }
  [[nodiscard]] uint16_t mtu() const { return mtu_.load(std::memory_order_relaxed); }
  // Until when frames are kept for a port that has just gone down or come up (Hold in tx_stage.h),
  // CLOCK_MONOTONIC; 0: they are not.
  [[nodiscard]] uint64_t hold_until_ns() const {
    return hold_until_ns_.load(std::memory_order_acquire);
  }
  // It comes and goes with a VM. While it settles, what its full ring does not take is kept for a
  // moment; later it is not.
  [[nodiscard]] bool settling(uint64_t now_ns) const {
    return hold_until_ns() != 0 && now_ns < hold_until_ns() + kSettleNs;
  }
  [[nodiscard]] bool settled(uint64_t now_ns) const {
    return hold_until_ns() != 0 && !settling(now_ns);
  }

  [[nodiscard]] PortCell& cell(WorkerId worker) { return cells_[worker.value]; }
  [[nodiscard]] const PortCell& cell(WorkerId worker) const { return cells_[worker.value]; }
  [[nodiscard]] TxBatch& batch(WorkerId worker, uint16_t queue) {
    return queue_per_worker_ ? batches_[worker.value]
                             : batches_[worker.value * batch_stride_ + queue];
  }
  // Workers, after frames went in or out.
  void note_traffic() {
    if (first_delivery_ns_.load(std::memory_order_relaxed) == 0) first_delivery_now();
  }

  // Control thread.
  [[nodiscard]] uint16_t rx_queues() const { return rx_queues_; }
  [[nodiscard]] uint16_t tx_queues() const { return tx_queues_; }
  [[nodiscard]] uint64_t first_delivery_ns() const {
    return first_delivery_ns_.load(std::memory_order_relaxed);
  }
  [[nodiscard]] virtual int numa_node() const = 0;  // -1 unknown
  // What info() adds to name, detail and queues.
  virtual void describe(PortInfo& info) const = 0;
  // Lets go of the device; no worker reaches the port any more.
  virtual void close() = 0;
  void set_owner(uint16_t queue, WorkerId worker) {
    owners_[queue].store(worker.value, std::memory_order_relaxed);
  }
  // Where rx queues are polled, by queue: the control thread's own record.
  std::vector<WorkerId> rx_workers;

 protected:
  static constexpr uint64_t kSettleNs = 8'000'000'000;
  static constexpr uint32_t kDownBit =
      1u << 31;  // in tx_mask_: the mask is the one from before it went down

  // Before the port is published.
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

// PortId -> Port for workers. Written by the control thread; an entry's old port is freed after a
// grace period.
class PortDirectory {
 public:
  PortDirectory() : ports_(kMaxPorts) {}
  [[nodiscard]] Port* find(PortId id) const {
    return id.value < kMaxPorts ? ports_[id.value].load(std::memory_order_acquire) : nullptr;
  }
  void set(PortId id, Port* port) { ports_[id.value].store(port, std::memory_order_release); }

 private:
  std::vector<std::atomic<Port*>> ports_;
};

}  // namespace godwit::dataplane
