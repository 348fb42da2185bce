// SPDX-License-Identifier: Apache-2.0
//
// Lock-free rings with one producer and one consumer, by rte_ring.
//
// Thread safety: one thread enqueues and one thread dequeues.
#pragma once

#include <rte_ring.h>

#include <functional>
#include <memory>

#include "base/result.h"

namespace godwit::dataplane {

struct RingDeleter {
  void (*release)(rte_ring*) = rte_ring_free;
  void operator()(rte_ring* ring) const { release(ring); }
};
using RingPtr = std::unique_ptr<rte_ring, RingDeleter>;

// Makes a ring of a unique name that holds at least `capacity` entries, in memory of a NUMA
// node. Returns an error if there is no memory.
using RingMaker = std::function<Result<RingPtr>(const char* name, unsigned capacity, int node)>;

// The RingMaker of the switch, which takes memory from EAL.
Result<RingPtr> make_ring(const char* name, unsigned capacity, int node);

}  // namespace godwit::dataplane
