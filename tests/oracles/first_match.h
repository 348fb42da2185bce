// SPDX-License-Identifier: Apache-2.0
//
// A slow, obviously correct classifier that is fast enough for millions of lookups. It compares
// each rule, in Order, with up to 64 keys at once; the first match is a key's result. Its only
// structure is that order. A test compares it with LinearClassifier.
//
// Thread safety: constant after construction, except for the generations of the entries, which each
// lookup reads.
#pragma once

#include <algorithm>
#include <bit>
#include <cstdint>
#include <span>
#include <vector>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

#include "dataplane/classifier/classifier.h"

namespace godwit::testing {

class FirstMatch {
 public:
  static constexpr size_t kKeys = 64;

  explicit FirstMatch(std::vector<const dataplane::RuleEntry*> entries)
      : entries_(std::move(entries)) {
    std::sort(entries_.begin(), entries_.end(),
              [](const auto* a, const auto* b) { return a->order < b->order; });
    for (const dataplane::RuleEntry* entry : entries_) {
      const size_t first = words_.size();
      for (uint32_t w = 0; w < dataplane::kFlowKeyWords; ++w) {
        const uint64_t mask = entry->match.mask.word(w);
        if (mask != 0) words_.push_back({mask, entry->match.value.word(w), w});
      }
      std::sort(words_.begin() + static_cast<std::ptrdiff_t>(first), words_.end(),
                [](const Word& a, const Word& b) {
                  return std::popcount(a.mask) >
                         std::popcount(b.mask);  // The most selective word first.
                });
      ends_.push_back(words_.size());
    }
  }

  // Sets out[i] to the first match of *keys[i] at generations[i], or to null. Takes at most kKeys
  // keys.
  void lookup(std::span<const dataplane::FlowKey* const> keys,
              std::span<const uint64_t> generations,
              std::span<const dataplane::RuleEntry*> out) const {
    alignas(64) uint64_t columns[dataplane::kFlowKeyWords][kKeys] = {};
    for (size_t i = 0; i < keys.size(); ++i) {
      out[i] = nullptr;
      for (size_t w = 0; w < dataplane::kFlowKeyWords; ++w) columns[w][i] = keys[i]->word(w);
    }
    uint64_t open = keys.size() == kKeys ? ~uint64_t{0} : (uint64_t{1} << keys.size()) - 1;
    size_t at = 0;
    for (size_t r = 0; r < entries_.size() && open != 0; ++r) {
      uint64_t hits = open;
      for (; at < ends_[r] && hits != 0; ++at)
        hits &= equal(columns[words_[at].word], words_[at].mask, words_[at].value);
      at = ends_[r];
      for (; hits != 0; hits &= hits - 1) {
        const auto i = static_cast<size_t>(std::countr_zero(hits));
        const dataplane::RuleEntry& entry = *entries_[r];
        if (!entry.visible(generations[i])) continue;
        if (!std::all_of(
                entry.match.ranges.begin(), entry.match.ranges.end(),
                [&](const dataplane::KeyRange& range) { return range.contains(*keys[i]); })) {
          continue;
        }
        out[i] = &entry;
        open &= ~(uint64_t{1} << i);
      }
    }
  }

 private:
  struct Word {
    uint64_t mask;
    uint64_t value;
    uint32_t word;
  };

  // Returns a word whose bit i is set if (column[i] & mask) == value.
  static uint64_t equal_portable(const uint64_t* column, uint64_t mask, uint64_t value) {
    uint64_t bits = 0;
    for (size_t i = 0; i < kKeys; ++i)
      bits |= static_cast<uint64_t>((column[i] & mask) == value) << i;
    return bits;
  }
#if defined(__x86_64__)
  __attribute__((target("avx2"))) static uint64_t equal_avx2(const uint64_t* column, uint64_t mask,
                                                             uint64_t value) {
    const __m256i masks = _mm256_set1_epi64x(static_cast<long long>(mask));
    const __m256i values = _mm256_set1_epi64x(static_cast<long long>(value));
    uint64_t bits = 0;
    for (size_t i = 0; i < kKeys; i += 4) {
      const __m256i four = _mm256_load_si256(reinterpret_cast<const __m256i*>(column + i));
      const __m256i same = _mm256_cmpeq_epi64(_mm256_and_si256(four, masks), values);
      bits |= static_cast<uint64_t>(_mm256_movemask_pd(_mm256_castsi256_pd(same))) << i;
    }
    return bits;
  }
#endif
  static uint64_t equal(const uint64_t* column, uint64_t mask, uint64_t value) {
#if defined(__x86_64__)
    static const bool fast = __builtin_cpu_supports("avx2") != 0;
    if (fast) return equal_avx2(column, mask, value);
#endif
    return equal_portable(column, mask, value);
  }

  std::vector<const dataplane::RuleEntry*> entries_;  // In Order.
  std::vector<Word> words_;  // The words of the first entry, of the second, and so on.
  std::vector<size_t> ends_;
};

}  // namespace godwit::testing
