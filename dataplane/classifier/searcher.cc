// SPDX-License-Identifier: Apache-2.0
#include "dataplane/classifier/searcher.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <vector>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace godwit::dataplane::classifier {
namespace {

namespace portable {
#define GODWIT_SEARCH_LEVEL 0
#include "dataplane/classifier/searcher.inc"
#undef GODWIT_SEARCH_LEVEL
}  // namespace portable

#if defined(__x86_64__)
#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("avx2,bmi,bmi2,popcnt"))), apply_to = function)
#else
#pragma GCC push_options
#pragma GCC target("avx2,bmi,bmi2,popcnt")
#endif
namespace avx2 {
#define GODWIT_SEARCH_LEVEL 1
#include "dataplane/classifier/searcher.inc"
#undef GODWIT_SEARCH_LEVEL
}  // namespace avx2
#if defined(__clang__)
#pragma clang attribute pop
#pragma clang attribute push(                                                                      \
    __attribute__((target("avx2,bmi,bmi2,popcnt,avx512f,avx512bw,avx512vl,avx512dq,avx512vbmi"))), \
    apply_to = function)
#else
#pragma GCC pop_options
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wuninitialized"  // false positives in GCC 12's headers
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#pragma GCC push_options
#pragma GCC target("avx2,bmi,bmi2,popcnt,avx512f,avx512bw,avx512vl,avx512dq,avx512vbmi")
#endif
namespace avx512 {
#define GODWIT_SEARCH_LEVEL 2
#include "dataplane/classifier/searcher.inc"
#undef GODWIT_SEARCH_LEVEL
}  // namespace avx512
#if defined(__clang__)
#pragma clang attribute pop
#else
#pragma GCC pop_options
#pragma GCC diagnostic pop
#endif
#endif

std::vector<Searcher> find_searchers() {
  std::vector<Searcher> found;
#if defined(__x86_64__)
  const bool bmi = __builtin_cpu_supports("bmi") != 0 && __builtin_cpu_supports("bmi2") != 0 &&
                   __builtin_cpu_supports("popcnt") != 0;
  const bool has_avx2 = bmi && __builtin_cpu_supports("avx2") != 0;
  const bool has_avx512 =
      has_avx2 && __builtin_cpu_supports("avx512f") != 0 &&
      __builtin_cpu_supports("avx512bw") != 0 && __builtin_cpu_supports("avx512vl") != 0 &&
      __builtin_cpu_supports("avx512dq") != 0 && __builtin_cpu_supports("avx512vbmi") != 0;
  if (has_avx512) found.push_back(avx512::searcher("avx512"));
  if (has_avx2) found.push_back(avx2::searcher("avx2"));
#endif
  found.push_back(portable::searcher("portable"));
  return found;
}

}  // namespace

std::span<const Searcher> searchers() {
  static const std::vector<Searcher> found = find_searchers();
  return found;
}

}  // namespace godwit::dataplane::classifier
