// SPDX-License-Identifier: Apache-2.0
#include "tests/tools/vhost_frontend/dirty_log.h"

#include <atomic>
#include <bit>
#include <cerrno>
#include <cstring>

#include <sys/mman.h>

#include "tests/tools/vhost_frontend/vhost_user_messages.h"

namespace godwit::vhost_frontend {

std::unique_ptr<DirtyLog> DirtyLog::create(uint64_t guest_end, Status* why) {
  constexpr size_t kPage = 4096;
  std::unique_ptr<DirtyLog> log(new DirtyLog);
  log->bytes_ = (guest_end / vhost_user::kLogPageSize / 8 + kPage) / kPage * kPage;
  log->fd_.reset(memfd_create("godwit-dirty-log", MFD_CLOEXEC));
  if (!log->fd_.valid() || ftruncate(log->fd_.get(), static_cast<off_t>(log->bytes_)) != 0) {
    *why = Status::error(std::string("dirty log: ") + std::strerror(errno));
    return nullptr;
  }
  void* mapped = mmap(nullptr, log->bytes_, PROT_READ | PROT_WRITE, MAP_SHARED, log->fd_.get(), 0);
  if (mapped == MAP_FAILED) {
    *why = Status::error(std::string("dirty log: ") + std::strerror(errno));
    return nullptr;
  }
  log->base_ = static_cast<uint8_t*>(mapped);
  return log;
}

DirtyLog::~DirtyLog() {
  if (base_ != nullptr) {
    munmap(base_, bytes_);
  }
}

std::vector<uint8_t> DirtyLog::read(bool clear) {
  std::vector<uint8_t> copy(bytes_);
  for (size_t i = 0; i < bytes_; ++i) {
    std::atomic_ref<uint8_t> byte(base_[i]);
    copy[i] = clear ? byte.exchange(0) : byte.load();
  }
  return copy;
}

size_t DirtyLog::dirty_pages() {
  size_t pages = 0;
  for (const uint8_t byte : read(false)) {
    pages += static_cast<size_t>(std::popcount(byte));
  }
  return pages;
}

}  // namespace godwit::vhost_frontend
