// SPDX-License-Identifier: Apache-2.0
//
// Counters that one thread writes and any thread reads.
//
// A relaxed load and store cost less than an atomic read-modify-write. The count is exact because
// only one thread writes it. A reader may see a slightly old value.
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
