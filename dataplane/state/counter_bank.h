// SPDX-License-Identifier: Apache-2.0
//
// CounterBank: packets and bytes for each rule and endpoint. A slot has one cell for each worker,
// so a worker adds without an atomic read-modify-write and shares no cache line with another
// worker.
//
// Memory comes in chunks of kChunkSlots slots. The control thread allocates a chunk before it hands
// out a slot of it; chunks never move. The cells of one worker are adjacent.
//
// Thread safety: only the cell's worker calls add(); only the control thread calls the rest. The
// caller frees a slot only after a grace period, so that no late add() reaches its next owner.
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "base/ids.h"

namespace godwit::dataplane {

struct Count {
  uint64_t packets = 0;
  uint64_t bytes = 0;
  Count& operator+=(const Count& other) {
    packets += other.packets;
    bytes += other.bytes;
    return *this;
  }
  bool operator==(const Count&) const = default;
};

class CounterBank {
 public:
  static constexpr size_t kChunkSlots = 4096;
  static constexpr size_t kMaxChunks = 4096;  // 16 M slots

  explicit CounterBank(uint16_t workers) : workers_(workers) {}
  ~CounterBank();
  CounterBank(const CounterBank&) = delete;
  CounterBank& operator=(const CounterBank&) = delete;

  // Returns a slot that reads zero, or an invalid id if all slots are taken.
  [[nodiscard]] CounterId allocate();
  // Takes a slot back. An invalid id is ignored.
  void free(CounterId id);
  // Returns the sum over all workers since the last reset, or zero for an id that was never handed
  // out.
  [[nodiscard]] Count read(CounterId id) const;
  // Makes the slot read zero. The cells belong to the workers, so this stores a base that read()
  // subtracts.
  void reset(CounterId id);
  [[nodiscard]] size_t in_use() const { return in_use_; }

  void add(WorkerId worker, CounterId id, uint64_t packets, uint64_t bytes) {
    Cell& c = cell(worker, id);
    c.packets.store(c.packets.load(std::memory_order_relaxed) + packets, std::memory_order_relaxed);
    c.bytes.store(c.bytes.load(std::memory_order_relaxed) + bytes, std::memory_order_relaxed);
  }

 private:
  struct Cell {
    std::atomic<uint64_t> packets{0};
    std::atomic<uint64_t> bytes{0};
  };
  struct alignas(64) Cells {  // of one worker
    std::array<Cell, kChunkSlots> at;
  };
  struct Chunk {
    std::vector<std::unique_ptr<Cells>> cells;  // by worker
    std::array<Count, kChunkSlots> base{};      // subtracted by read()
  };
  [[nodiscard]] Cell& cell(WorkerId worker, CounterId id) const {
    const Chunk* chunk = chunks_[id.value / kChunkSlots].load(std::memory_order_acquire);
    return chunk->cells[worker.value]->at[id.value % kChunkSlots];
  }
  [[nodiscard]] Count raw(CounterId id) const;

  const uint16_t workers_;
  std::array<std::atomic<Chunk*>, kMaxChunks> chunks_{};
  std::vector<CounterId> free_;
  size_t made_ = 0;  // slots ever made
  size_t in_use_ = 0;
};

}  // namespace godwit::dataplane
