// SPDX-License-Identifier: Apache-2.0
#include "dataplane/state/counter_bank.h"

#include <cassert>

namespace godwit::dataplane {

CounterBank::~CounterBank() {
  for (std::atomic<Chunk*>& slot : chunks_) delete slot.load(std::memory_order_relaxed);
}

CounterId CounterBank::allocate() {
  CounterId id;
  if (!free_.empty()) {
    id = free_.back();
    free_.pop_back();
  } else {
    if (made_ == kChunkSlots * kMaxChunks) return {};
    std::atomic<Chunk*>& slot = chunks_[made_ / kChunkSlots];
    if (slot.load(std::memory_order_relaxed) == nullptr) {
      auto chunk = std::make_unique<Chunk>();
      chunk->cells.reserve(workers_);
      for (uint16_t w = 0; w < workers_; ++w) chunk->cells.push_back(std::make_unique<Cells>());
      slot.store(chunk.release(), std::memory_order_release);
    }
    id = CounterId(static_cast<uint32_t>(made_++));
  }
  ++in_use_;
  reset(id);  // the cells still have the counts of the last owner
  return id;
}

void CounterBank::free(CounterId id) {
  if (!id.valid()) return;
  assert(id.value < made_);
  free_.push_back(id);
  --in_use_;
}

Count CounterBank::raw(CounterId id) const {
  Count sum;
  for (uint16_t w = 0; w < workers_; ++w) {
    const Cell& c = cell(WorkerId(w), id);
    sum.packets += c.packets.load(std::memory_order_relaxed);
    sum.bytes += c.bytes.load(std::memory_order_relaxed);
  }
  return sum;
}

Count CounterBank::read(CounterId id) const {
  if (id.value >= made_) return {};
  const Count& base =
      chunks_[id.value / kChunkSlots].load(std::memory_order_relaxed)->base[id.value % kChunkSlots];
  const Count now = raw(id);
  return {now.packets - base.packets, now.bytes - base.bytes};
}

void CounterBank::reset(CounterId id) {
  if (id.value >= made_) return;
  chunks_[id.value / kChunkSlots].load(std::memory_order_relaxed)->base[id.value % kChunkSlots] =
      raw(id);
}

}  // namespace godwit::dataplane
