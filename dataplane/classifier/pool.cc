// SPDX-License-Identifier: Apache-2.0
#include "dataplane/classifier/pool.h"

#include <algorithm>

namespace godwit::dataplane::classifier {

Pool::~Pool() {
  for (void* chunk : chunks_) ::operator delete(chunk, kAlign);
  for (const auto& [block, bytes] : large_) ::operator delete(block, kAlign);
}

void* Pool::allocate(size_t bytes) {
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

void Pool::free(void* block, size_t bytes) {
  const size_t units = (bytes + kUnit - 1) / kUnit;
  if (units > kMaxUnits) {
    large_.erase(block);
    held_ -= units * kUnit;
    ::operator delete(block, kAlign);
    return;
  }
  free_[units - 1].push_back(block);
}

void Pool::add_chunk() {
  while (left_ > 0) {  // the end of the last chunk goes to the free lists
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

}  // namespace godwit::dataplane::classifier
