// SPDX-License-Identifier: Apache-2.0
#include "dataplane/dpdk/env/mempools.h"

#include <rte_errno.h>
#include <rte_mbuf.h>

#include <algorithm>
#include <cstring>
#include <string>

#include "dataplane/dpdk/env/mbuf_packet.h"

namespace godwit::dataplane {
namespace {

constexpr uint32_t kCacheBuffers = 256;  // cached by each lcore
constexpr uint32_t kLeastBuffers = 1024;

Result<rte_mempool*> make_pool(const std::string& name, uint32_t buffers, uint32_t frame_bytes,
                               int node) {
  const uint32_t cache = std::min(kCacheBuffers, buffers / 4);
  const auto room = static_cast<uint16_t>(frame_bytes + RTE_PKTMBUF_HEADROOM);
  rte_mempool* pool =
      rte_pktmbuf_pool_create(name.c_str(), buffers, cache, kMbufPrivBytes, room, node);
  if (pool == nullptr) {
    return fail("no memory for " + std::to_string(buffers) + " buffers of " + std::to_string(room) +
                " bytes on NUMA node " + std::to_string(node) + " (" + rte_strerror(rte_errno) +
                "): use fewer mbufs or a larger socket_mb");
  }
  return pool;
}

}  // namespace

Result<std::unique_ptr<Mempools>> Mempools::create(const std::vector<int>& nodes,
                                                   uint32_t buffers) {
  std::unique_ptr<Mempools> pools(new Mempools);
  pools->buffers_ = std::max(buffers, kLeastBuffers);
  for (int id : nodes) {
    auto node = std::make_unique<Node>();
    node->id = id;
    auto pool =
        make_pool("godwit_small_" + std::to_string(id), pools->buffers_, kSmallFrameBytes, id);
    if (!pool) return fail(pool.error());
    node->small = *pool;
    pools->nodes_.push_back(std::move(node));
  }
  return pools;
}

Mempools::~Mempools() {
  for (const auto& node : nodes_) {
    rte_mempool_free(node->small);
    rte_mempool_free(node->large.load(std::memory_order_relaxed));
  }
}

Result<void> Mempools::need_large() {
  for (const auto& node : nodes_) {
    if (node->large.load(std::memory_order_relaxed) != nullptr) continue;
    auto pool = make_pool("godwit_large_" + std::to_string(node->id),
                          std::max(buffers_ / 4, kLeastBuffers), kLargeFrameBytes, node->id);
    if (!pool) return fail(pool.error());
    node->large.store(*pool, std::memory_order_release);
  }
  return {};
}

Packet* Mempools::copy_of(int node, const uint8_t* bytes, uint32_t len) const {
  rte_mempool* pool = for_frame(node, len);
  if (pool == nullptr) return nullptr;
  rte_mbuf* mbuf = rte_pktmbuf_alloc(pool);
  if (mbuf == nullptr) return nullptr;
  mbuf->data_len = static_cast<uint16_t>(len);
  mbuf->pkt_len = len;
  std::memcpy(rte_pktmbuf_mtod(mbuf, void*), bytes, len);
  return to_packet(mbuf);
}

std::vector<MemoryInfo::Pool> Mempools::info() const {
  std::vector<MemoryInfo::Pool> out;
  for (const auto& node : nodes_) {
    for (rte_mempool* pool : {node->small, node->large.load(std::memory_order_relaxed)}) {
      if (pool == nullptr) continue;
      out.push_back(
          {node->id, pool->size, rte_mempool_avail_count(pool),
           static_cast<uint32_t>(rte_pktmbuf_data_room_size(pool) - RTE_PKTMBUF_HEADROOM)});
    }
  }
  return out;
}

uint64_t Mempools::in_use() const {
  uint64_t total = 0;
  for (const auto& pool : info()) total += pool.size - pool.available;
  return total;
}

}  // namespace godwit::dataplane
