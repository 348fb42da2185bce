// SPDX-License-Identifier: Apache-2.0
//
// The packet buffers. Each NUMA node that has a worker has a pool for frames of the common size.
// Once some port's MTU needs it, each has also a smaller pool of buffers that hold the largest
// frame. A frame is always one segment, so a guest cannot drain a pool with chained buffers.
//
// Thread safety: create() and need_large() by the control thread; the rest by any thread.
#pragma once

#include <rte_mempool.h>

#include <atomic>
#include <cstdint>
#include <memory>
#include <vector>

#include "base/result.h"
#include "dataplane/packet/packet.h"
#include "dataplane/runtime_report.h"

namespace godwit::dataplane {

inline constexpr uint32_t kSmallFrameBytes = 2048;  // data room after the headroom
inline constexpr uint32_t kLargeFrameBytes = 9344;  // kMaxFrameBytes and two VLAN tags, rounded up

class Mempools {
 public:
  // Makes a pool of `buffers` small buffers on each of the nodes, which must be distinct.
  static Result<std::unique_ptr<Mempools>> create(const std::vector<int>& nodes, uint32_t buffers);
  ~Mempools();
  Mempools(const Mempools&) = delete;
  Mempools& operator=(const Mempools&) = delete;

  // Makes the pools of large buffers if they do not exist.
  Result<void> need_large();

  // Returns the pool of the node, or of another node if that one has none.
  [[nodiscard]] rte_mempool* small(int node) const { return of(node).small; }
  // Returns nullptr before need_large().
  [[nodiscard]] rte_mempool* large(int node) const {
    return of(node).large.load(std::memory_order_acquire);
  }
  // Returns the pool for frames of a length, or nullptr if there is none.
  [[nodiscard]] rte_mempool* for_frame(int node, uint32_t bytes) const {
    return bytes <= kSmallFrameBytes   ? small(node)
           : bytes <= kLargeFrameBytes ? large(node)
                                       : nullptr;
  }

  // Copies the bytes into a new buffer with headroom. Returns nullptr if no buffer is free.
  [[nodiscard]] Packet* copy_of(int node, const uint8_t* bytes, uint32_t len) const;

  [[nodiscard]] std::vector<MemoryInfo::Pool> info() const;
  // Returns the number of buffers that are not in their pools.
  [[nodiscard]] uint64_t in_use() const;

 private:
  struct Node {
    int id = 0;
    rte_mempool* small = nullptr;
    std::atomic<rte_mempool*> large{nullptr};
  };
  Mempools() = default;
  [[nodiscard]] const Node& of(int node) const {
    for (const auto& n : nodes_) {
      if (n->id == node) return *n;
    }
    return *nodes_.front();
  }
  std::vector<std::unique_ptr<Node>> nodes_;
  uint32_t buffers_ = 0;
};

}  // namespace godwit::dataplane
