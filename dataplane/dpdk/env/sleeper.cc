// SPDX-License-Identifier: Apache-2.0
#include "dataplane/dpdk/env/sleeper.h"

#include <poll.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <cerrno>
#include <ctime>

namespace godwit::dataplane {
namespace {

constexpr uint32_t kWakeTag = UINT32_MAX;

}  // namespace

Sleeper::Sleeper() : event_(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) { open(); }

Sleeper::~Sleeper() {
  if (epoll_ >= 0) ::close(epoll_);
  if (event_ >= 0) ::close(event_);
}

void Sleeper::open() {
  epoll_ = epoll_create1(EPOLL_CLOEXEC);
  watch(event_, kWakeTag);
}

void Sleeper::forget() {
  if (epoll_ >= 0) ::close(epoll_);
  open();
}

void Sleeper::wake() {
  std::atomic_thread_fence(std::memory_order_seq_cst);
  if (!sleeping_.load(std::memory_order_relaxed) || !sleeping_.exchange(false)) return;
  const uint64_t one = 1;
  // Fails only if the counter is full, in which case the worker is awake.
  [[maybe_unused]] const ssize_t written = write(event_, &one, sizeof one);
}

bool Sleeper::watch(int fd, uint32_t tag) {
  epoll_event event{};
  event.events = EPOLLIN | EPOLLET;
  event.data.u32 = tag;
  return fd >= 0 && (epoll_ctl(epoll_, EPOLL_CTL_ADD, fd, &event) == 0 ||
                     (errno == EEXIST && epoll_ctl(epoll_, EPOLL_CTL_MOD, fd, &event) == 0));
}

void Sleeper::begin() {
  sleeping_.store(true, std::memory_order_relaxed);
  std::atomic_thread_fence(std::memory_order_seq_cst);
}

size_t Sleeper::sleep(uint32_t us, Tags& tags) {
  std::array<epoll_event, kMostTags> events;
  const timespec limit{us / 1'000'000, static_cast<long>(us % 1'000'000) * 1000};
  // Older kernels lack epoll_pwait2(), but an epoll descriptor can itself be polled.
  pollfd any{epoll_, POLLIN, 0};
  int count = 0;
  if (us == 0 || ppoll(&any, 1, &limit, nullptr) > 0) {
    count = epoll_wait(epoll_, events.data(), static_cast<int>(events.size()), 0);
  }
  sleeping_.store(false, std::memory_order_relaxed);
  size_t found = 0;
  for (int i = 0; i < count; ++i) {
    const uint32_t tag = events[static_cast<size_t>(i)].data.u32;
    if (tag != kWakeTag) tags[found++] = tag;
  }
  return found;
}

}  // namespace godwit::dataplane
