// SPDX-License-Identifier: Apache-2.0
//
// Pool: the memory of one classifier root. Blocks have sizes in steps of 64 bytes and are aligned
// to 64. They are carved from chunks and kept in free lists by size; blocks above 4 KiB come from
// the heap one by one. The destructor frees everything.
//
// Thread safety: the writer only.
#pragma once

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
  ~Pool();
  Pool(const Pool&) = delete;
  Pool& operator=(const Pool&) = delete;

  // Returns uninitialized memory.
  void* allocate(size_t bytes);
  // Takes back a block that was allocated with this size.
  void free(void* block, size_t bytes);

  // Returns how much memory the pool has taken from the heap.
  [[nodiscard]] size_t bytes() const { return held_; }

 private:
  static constexpr size_t kUnit = 64;
  static constexpr size_t kMaxUnits = 64;
  static constexpr std::align_val_t kAlign{64};
  static constexpr size_t kFirstChunk = 4096;
  static constexpr size_t kMaxChunk = 256 * 1024;

  void add_chunk();

  std::array<std::vector<void*>, kMaxUnits> free_;
  std::vector<void*> chunks_;
  std::unordered_map<void*, size_t> large_;
  uint8_t* next_ = nullptr;  // the unused end of the newest chunk
  size_t left_ = 0;          // bytes at next_
  size_t held_ = 0;
};

}  // namespace godwit::dataplane::classifier
