// SPDX-License-Identifier: Apache-2.0
//
// LogLimit: limits the rate of log lines that unauthenticated peers can cause. It writes bursts of
// up to kBurst lines and kPerSecond lines a second. The next line that is written reports how many
// were left out. The caller passes the time.
//
// Thread safety: none.
#pragma once

#include <algorithm>
#include <cstdint>
#include <functional>
#include <string>
#include <utility>

namespace godwit {

class LogLimit {
 public:
  using Log = std::function<void(const std::string& line)>;
  static constexpr uint64_t kBurst = 100;
  static constexpr uint64_t kPerSecond = 20;

  explicit LogLimit(Log log) : log_(std::move(log)) {}

  void write(const std::string& line, uint64_t now_ms) {
    credit_ = std::min(kBurst * 1000, credit_ + (now_ms - last_ms_) * kPerSecond);
    last_ms_ = now_ms;
    if (credit_ < 1000) {
      ++left_out_;
      return;
    }
    credit_ -= 1000;
    if (left_out_ > 0)
      log_("peer: " + std::to_string(left_out_) + " lines like the following were left out");
    left_out_ = 0;
    log_(line);
  }

 private:
  Log log_;
  uint64_t credit_ = kBurst * 1000;  // thousandths of a line
  uint64_t last_ms_ = 0;
  uint64_t left_out_ = 0;
};

}  // namespace godwit
