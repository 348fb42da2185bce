// SPDX-License-Identifier: Apache-2.0
#include "control/daemon/wakeup.h"

#include <sys/eventfd.h>
#include <unistd.h>

#include <cstdint>

namespace godwit::control {

Wakeup::Wakeup(asio::io_context& io)
    : descriptor_(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)), stream_(io) {}

Wakeup::~Wakeup() {
  stop();
  if (descriptor_ >= 0) close(descriptor_);
}

void Wakeup::wake() const {
  const uint64_t one = 1;
  (void)!write(descriptor_, &one, sizeof one);
}

void Wakeup::watch(std::function<void()> action) {
  action_ = std::move(action);
  stream_.assign(descriptor_);
  await();
}

void Wakeup::await() {
  stream_.async_wait(asio::posix::descriptor_base::wait_read, [this](asio::error_code error) {
    if (error) return;
    uint64_t count = 0;
    (void)!read(descriptor_, &count, sizeof count);
    action_();
    await();
  });
}

void Wakeup::stop() {
  if (stream_.is_open()) stream_.release();
}

}  // namespace godwit::control
