// SPDX-License-Identifier: Apache-2.0
#include "dataplane/dpdk/worker/mailboxes.h"

#include <string>
#include <utility>

namespace godwit::dataplane {

Result<std::unique_ptr<Mailboxes>> Mailboxes::create(const std::vector<int>& worker_nodes,
                                                     const RingMaker& maker) {
  const auto workers = static_cast<uint16_t>(worker_nodes.size());
  std::unique_ptr<Mailboxes> boxes(new Mailboxes(workers));
  for (uint16_t to = 0; to < workers; ++to) {
    boxes->sleepers_.push_back(std::make_unique<Sleeper>());
    for (uint16_t sender = 0; sender <= workers; ++sender) {
      if (sender == to) {
        boxes->rings_.emplace_back();
        continue;
      }
      const std::string name = "mail_" + std::to_string(sender) + "_" + std::to_string(to);
      auto ring =
          maker(name.c_str(), sender == workers ? kControlFrames : kWorkerFrames, worker_nodes[to]);
      if (!ring) return fail(ring.error());
      boxes->rings_.push_back(std::move(*ring));
    }
  }
  return boxes;
}

}  // namespace godwit::dataplane
