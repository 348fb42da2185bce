// SPDX-License-Identifier: Apache-2.0
//
// The bitmap in which a back-end marks the guest pages that it wrote, one bit for each 4096 bytes
// of guest address from 0 on, in memory shared with it. Not thread safe here; the back-end sets
// bits at any time, so reading is by copy.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "tests/tools/vhost_frontend/status.h"

namespace godwit::support {

class DirtyLog {
 public:
  // Covers the guest addresses below `guest_end`. Null with `*why` set when it can't be had.
  static std::unique_ptr<DirtyLog> create(uint64_t guest_end, Status* why);
  ~DirtyLog();
  DirtyLog(const DirtyLog&) = delete;
  DirtyLog& operator=(const DirtyLog&) = delete;

  int fd() const { return fd_.get(); }
  size_t bytes() const { return bytes_; }
  // The bitmap as it is; with `clear`, each byte is taken and cleared in one step.
  std::vector<uint8_t> read(bool clear);
  size_t dirty_pages();

 private:
  DirtyLog() = default;

  UniqueFd fd_;
  uint8_t* base_ = nullptr;
  size_t bytes_ = 0;
};

}  // namespace godwit::support
