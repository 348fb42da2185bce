// SPDX-License-Identifier: Apache-2.0
#include "dataplane/pipeline/drop_counters.h"

#include <algorithm>

#include "base/single_writer.h"

namespace godwit::dataplane {

DropCounters::DropCounters() : cells_(std::make_unique<std::atomic<Cell*>[]>(kMaxPorts + 1)) {}

DropCounters::~DropCounters() {
  for (size_t i = 0; i <= kMaxPorts; ++i) delete cells_[i].load(std::memory_order_relaxed);
}

void DropCounters::count(PortId port, Drop reason, uint64_t packets) {
  std::atomic<Cell*>& place = cells_[std::min<size_t>(port.value, kMaxPorts)];
  Cell* cell = place.load(std::memory_order_relaxed);
  if (cell == nullptr) {
    cell = new Cell;
    place.store(cell, std::memory_order_release);
  }
  bump(cell->drops[static_cast<size_t>(reason)], packets);
}

uint64_t DropCounters::read(PortId port, Drop reason) const {
  const Cell* cell =
      cells_[std::min<size_t>(port.value, kMaxPorts)].load(std::memory_order_acquire);
  return cell == nullptr ? 0
                         : cell->drops[static_cast<size_t>(reason)].load(std::memory_order_relaxed);
}

}  // namespace godwit::dataplane
