// SPDX-License-Identifier: Apache-2.0
#include "migration/link/handshake_queue.h"

#include <algorithm>
#include <chrono>
#include <map>
#include <utility>

namespace godwit::migration {

void HandshakeQueue::push(Entry entry, uint64_t gap_ms) {
  entries_.push_back(std::move(entry));
  begin_next(gap_ms);
}

void HandshakeQueue::begin_next(uint64_t gap_ms) {
  if (in_gap_ || entries_.empty()) return;
  std::map<std::string, size_t> counts;
  for (const Entry& entry : entries_) ++counts[entry.address];
  const auto next = std::ranges::min_element(
      entries_, {}, [&](const Entry& entry) { return entry.ours ? 0 : counts[entry.address]; });
  const auto begin = std::move(next->begin);
  entries_.erase(next);
  in_gap_ = true;
  timer_.expires_after(std::chrono::milliseconds(gap_ms));
  timer_.async_wait(
      [this, gap_ms, watch = std::weak_ptr<int>(alive_)](const std::error_code& error) {
        if (watch.expired()) return;
        in_gap_ = false;
        if (!error) begin_next(gap_ms);
      });
  begin();
}

}  // namespace godwit::migration
