// SPDX-License-Identifier: Apache-2.0
#include "dataplane/dpdk/worker/mailboxes.h"

#include <rte_errno.h>

#include <string>

namespace godwit::dataplane {
namespace {
constexpr unsigned kWorkerFrames = 1023;   // waiting for one worker from another
constexpr unsigned kControlFrames = 4095;  // from the control thread
}  // namespace

Result<RingPtr> make_ring(const char* name, unsigned capacity, int node) {
  RingPtr ring(
      rte_ring_create(name, capacity, node, RING_F_SP_ENQ | RING_F_SC_DEQ | RING_F_EXACT_SZ));
  if (!ring)
    return fail(std::string("no memory for ring ") + name + " (" + rte_strerror(rte_errno) + ")");
  return ring;
}

Result<std::unique_ptr<Mailboxes>> Mailboxes::create(const std::vector<int>& worker_nodes) {
  const auto workers = static_cast<uint16_t>(worker_nodes.size());
  std::unique_ptr<Mailboxes> boxes(new Mailboxes(workers));
  for (uint16_t to = 0; to < workers; ++to) {
    boxes->dozes_.push_back(std::make_unique<Sleeper>());
    for (uint16_t sender = 0; sender <= workers; ++sender) {
      if (sender == to) {
        boxes->rings_.emplace_back();
        continue;
      }
      const std::string name = "mail_" + std::to_string(sender) + "_" + std::to_string(to);
      auto ring = make_ring(name.c_str(), sender == workers ? kControlFrames : kWorkerFrames,
                            worker_nodes[to]);
      if (!ring) return fail(ring.error());
      boxes->rings_.push_back(std::move(*ring));
    }
  }
  return boxes;
}

}  // namespace godwit::dataplane
