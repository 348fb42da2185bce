// SPDX-License-Identifier: Apache-2.0
//
// Buffers: for each NUMA node that has a worker a pool for frames of the common size, and, once a
// port's MTU asks for it, a smaller pool of buffers that hold the largest frame. A frame is always
// one segment: a guest cannot make the switch chain buffers until a pool is empty.
//
// Thread safety: made and grown by the control thread. small()/large() by any thread.
#pragma once

#include <rte_mempool.h>

#include <atomic>
#include <cstdint>
#include <map>
#include <memory>
#include <vector>

#include "base/result.h"
#include "dataplane/dpdk/env/runtime_options.h"
#include "dataplane/packet/packet.h"

namespace godwit::dataplane {

inline constexpr uint32_t kSmallFrameBytes = 2048;  // data room behind the headroom
inline constexpr uint32_t kLargeFrameBytes = 9344;  // kMaxFrameBytes and two tags, rounded up

class Mempools {
 public:
  // One small pool for each node (each at most once) of `buffers` buffers.
  static Result<std::unique_ptr<Mempools>> create(const std::vector<int>& nodes, uint32_t buffers);
  ~Mempools();
  Mempools(const Mempools&) = delete;
  Mempools& operator=(const Mempools&) = delete;

  // Makes the large pools if they are not there.
  Result<void> need_large();

  // Of the node, or of any where the node has none.
  [[nodiscard]] rte_mempool* small(int node) const { return of(node).small; }
  // nullptr until need_large().
  [[nodiscard]] rte_mempool* large(int node) const {
    return of(node).large.load(std::memory_order_acquire);
  }
  [[nodiscard]] rte_mempool* for_frame(int node, uint32_t bytes) const {
    return bytes <= kSmallFrameBytes   ? small(node)
           : bytes <= kLargeFrameBytes ? large(node)
                                       : nullptr;
  }

  // A buffer holding a copy of the bytes, with headroom, and a fresh Packet; nullptr: none free.
  [[nodiscard]] Packet* copy_of(int node, const uint8_t* bytes, uint32_t len) const;

  [[nodiscard]] std::vector<MemoryInfo::Pool> info() const;
  [[nodiscard]] uint64_t in_use() const;  // buffers that are not in their pools

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
