// SPDX-License-Identifier: Apache-2.0
//
// A GracePeriod that passes when the test calls pass().
#pragma once

#include "base/rcu.h"

namespace godwit::testing {

class ManualGrace final : public GracePeriod {
 public:
  uint64_t start() override { return now_; }
  bool elapsed(uint64_t token) override { return passed_ > token; }
  void wait(uint64_t token) override {
    if (passed_ <= token) passed_ = now_ = token + 1;
  }
  // Ends all grace periods that have started. Later ones have not passed.
  void pass() { passed_ = ++now_; }

 private:
  uint64_t now_ = 1;
  uint64_t passed_ = 0;
};

}  // namespace godwit::testing
