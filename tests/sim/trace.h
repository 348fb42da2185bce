// SPDX-License-Identifier: Apache-2.0
//
// The log of a simulated run. A run keeps it only if its caller wants it; otherwise each line
// costs one branch.
#pragma once

#include <cstdint>
#include <cstdio>
#include <string>
#include <utility>
#include <vector>

#include "tests/sim/schedule.h"

namespace godwit::sim {

class Trace {
 public:
  Trace(const Schedule& schedule, bool wanted) : schedule_(schedule), wanted_(wanted) {}
  [[nodiscard]] bool wanted() const { return wanted_; }
  void line(const std::string& who, const std::string& what) {
    if (!wanted_) return;
    char time[32];
    std::snprintf(time, sizeof time, "%11.3f ms  ", static_cast<double>(schedule_.now()) / 1e6);
    lines_.push_back(time + who + (who.empty() ? "" : ": ") + what);
  }
  // Composes the line only if the trace is wanted.
  template <typename Compose>
  void operator()(const Compose& compose) {
    if (wanted_) line("", compose());
  }
  [[nodiscard]] const std::vector<std::string>& lines() const { return lines_; }

 private:
  const Schedule& schedule_;
  const bool wanted_;
  std::vector<std::string> lines_;
};

}  // namespace godwit::sim
