// SPDX-License-Identifier: Apache-2.0
//
// The bitmap in which a back-end marks the guest pages that it wrote. A bit stands for 4096 bytes
// of guest address, from address 0 on. The bitmap is in memory shared with the back-end, which sets
// bits at any time, so readers get a copy. Not thread safe within this process.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "tests/tools/vhost_frontend/status.h"

namespace godwit::vhost_frontend {

class DirtyLog {
 public:
  // Creates a log of the guest addresses below `guest_end`. Returns null and sets `*why` on
  // failure.
  static std::unique_ptr<DirtyLog> create(uint64_t guest_end, Status* why);
  ~DirtyLog();
  DirtyLog(const DirtyLog&) = delete;
  DirtyLog& operator=(const DirtyLog&) = delete;

  int fd() const { return fd_.get(); }
  size_t bytes() const { return bytes_; }
  // Returns a copy of the bitmap. With `clear`, reads and clears each byte in one atomic step.
  std::vector<uint8_t> read(bool clear);
  size_t dirty_pages();

 private:
  DirtyLog() = default;

  UniqueFd fd_;
  uint8_t* base_ = nullptr;
  size_t bytes_ = 0;
};

}  // namespace godwit::vhost_frontend
