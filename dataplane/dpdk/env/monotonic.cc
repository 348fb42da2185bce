// SPDX-License-Identifier: Apache-2.0
#include "dataplane/dpdk/env/monotonic.h"

#include <ctime>

namespace godwit::dataplane {
namespace {

uint64_t read_clock(clockid_t clock) {
  timespec now{};
  clock_gettime(clock, &now);
  return static_cast<uint64_t>(now.tv_sec) * 1'000'000'000u + static_cast<uint64_t>(now.tv_nsec);
}

}  // namespace

uint64_t monotonic_ns() { return read_clock(CLOCK_MONOTONIC); }
uint64_t coarse_ns() { return read_clock(CLOCK_MONOTONIC_COARSE); }

}  // namespace godwit::dataplane
