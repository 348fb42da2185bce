// SPDX-License-Identifier: Apache-2.0
//
// Memory of one classifier root: blocks in steps of 64 bytes, aligned to 64, carved from chunks and
// kept in free lists by size; large ones come from the heap one by one. Everything goes back when
// the pool dies.
//
// Thread safety: the writer's alone.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <new>
#include <unordered_map>
#include <vector>

namespace godwit::dataplane::classifier {

class Pool {
 public:
  Pool() = default;
  ~Pool() {
    for (void* chunk : chunks_) ::operator delete(chunk, kAlign);
    for (const auto& [block, bytes] : large_) ::operator delete(block, kAlign);
  }
  Pool(const Pool&) = delete;
  Pool& operator=(const Pool&) = delete;

  // Uninitialised.
  void* allocate(size_t bytes) {
    const size_t units = (bytes + kUnit - 1) / kUnit;
    if (units > kMaxUnits) {
      void* block = ::operator new(units* kUnit, kAlign);
      large_.emplace(block, units * kUnit);
      held_ += units * kUnit;
      return block;
    }
    auto& list = free_[units - 1];
    if (!list.empty()) {
      void* block = list.back();
      list.pop_back();
      return block;
    }
    if (left_ < units * kUnit) add_chunk();
    void* block = next_;
    next_ += units * kUnit;
    left_ -= units * kUnit;
    return block;
  }

  void free(void* block, size_t bytes) {
    const size_t units = (bytes + kUnit - 1) / kUnit;
    if (units > kMaxUnits) {
      large_.erase(block);
      held_ -= units * kUnit;
      ::operator delete(block, kAlign);
      return;
    }
    free_[units - 1].push_back(block);
  }

  // What it has from the heap.
  [[nodiscard]] size_t bytes() const { return held_; }

 private:
  static constexpr size_t kUnit = 64;
  static constexpr size_t kMaxUnits = 64;
  static constexpr std::align_val_t kAlign{64};
  static constexpr size_t kFirstChunk = 4096;
  static constexpr size_t kMaxChunk = 256 * 1024;

  void add_chunk() {
    while (left_ > 0) {  // what is left of the last one isn't lost
      const size_t units = std::min(left_ / kUnit, kMaxUnits);
      free_[units - 1].push_back(next_);
      next_ += units * kUnit;
      left_ -= units * kUnit;
    }
    const size_t size = std::clamp(held_, kFirstChunk, kMaxChunk);
    next_ = static_cast<uint8_t*>(::operator new(size & ~(kUnit - 1), kAlign));
    left_ = size & ~(kUnit - 1);
    chunks_.push_back(next_);
    held_ += left_;
  }

  std::array<std::vector<void*>, kMaxUnits> free_;
  std::vector<void*> chunks_;
  std::unordered_map<void*, size_t> large_;
  uint8_t* next_ = nullptr;
  size_t left_ = 0;
  size_t held_ = 0;
};

}  // namespace godwit::dataplane::classifier
