// SPDX-License-Identifier: Apache-2.0
#include "dataplane/dpdk/worker/ring.h"

#include <rte_errno.h>

#include <string>
#include <utility>

namespace godwit::dataplane {

Result<RingPtr> make_ring(const char* name, unsigned capacity, int node) {
  RingPtr ring(
      rte_ring_create(name, capacity, node, RING_F_SP_ENQ | RING_F_SC_DEQ | RING_F_EXACT_SZ));
  if (!ring)
    return fail(std::string("no memory for ring ") + name + " (" + rte_strerror(rte_errno) + ")");
  return ring;
}

}  // namespace godwit::dataplane
