// SPDX-License-Identifier: Apache-2.0
//
// The system's monotonic clocks.
//
// Thread safety: pure functions.
#pragma once

#include <cstdint>

namespace godwit::dataplane {

// Returns CLOCK_MONOTONIC in nanoseconds.
uint64_t monotonic_ns();
// Returns the same within a few milliseconds, for a fifth of the cycles.
uint64_t coarse_ns();

}  // namespace godwit::dataplane
