// SPDX-License-Identifier: Apache-2.0
//
// Counters that one thread writes and any thread reads.
//
// A relaxed load and store cost less than an atomic read-modify-write and are exact as long as
// there is one writer. A reader sees a recent value.
#pragma once

#include <atomic>
#include <type_traits>

namespace godwit {

// Adds `by` to the counter. Called by the counter's only writer.
template <typename T>
inline void bump(std::atomic<T>& counter, std::type_identity_t<T> by = 1) {
  counter.store(static_cast<T>(counter.load(std::memory_order_relaxed) + by),
                std::memory_order_relaxed);
}

}  // namespace godwit
