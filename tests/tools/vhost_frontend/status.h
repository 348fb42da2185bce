// SPDX-License-Identifier: Apache-2.0
//
// The outcome of an operation of the front-end: success, or a failure with a text for people. Also
// an owning file descriptor. Neither is thread safe.
#pragma once

#include <string>
#include <utility>

#include <unistd.h>

namespace godwit::vhost_frontend {

class [[nodiscard]] Status {
 public:
  Status() = default;
  static Status error(std::string text) {
    Status status;
    status.error_ = std::move(text);
    status.failed_ = true;
    return status;
  }

  bool ok() const { return !failed_; }
  const std::string& error() const { return error_; }

 private:
  std::string error_;
  bool failed_ = false;
};

class UniqueFd {
 public:
  UniqueFd() = default;
  explicit UniqueFd(int fd) : fd_(fd) {}
  UniqueFd(UniqueFd&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  UniqueFd& operator=(UniqueFd&& other) noexcept {
    if (this != &other) {
      reset(std::exchange(other.fd_, -1));
    }
    return *this;
  }
  UniqueFd(const UniqueFd&) = delete;
  UniqueFd& operator=(const UniqueFd&) = delete;
  ~UniqueFd() { reset(); }

  int get() const { return fd_; }
  bool valid() const { return fd_ >= 0; }
  void reset(int fd = -1) {
    if (fd_ >= 0) {
      ::close(fd_);
    }
    fd_ = fd;
  }

 private:
  int fd_ = -1;
};

}  // namespace godwit::vhost_frontend
