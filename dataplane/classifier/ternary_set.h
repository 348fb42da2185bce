// SPDX-License-Identifier: Apache-2.0
//
// TernarySet: a set of rules as a matrix of bits, in blocks of up to 256 rules. A block has a
// column for each rule, and 16 rows for each nibble (4 bits) of the key that any of its rules
// matches on. Bit c of row v is set if rule c accepts the value v in that nibble. The AND of the
// rows that a key selects leaves the candidates; the Record decides. README.md explains what the
// tree uses sets for.
//
// The writer fills a column in place and sets its valid bit last. An emptied column may be filled
// again at once: a reader that sees parts of both rules accepts only what the Record and visible()
// confirm. The columns of a new block are in Order, so the first hit is the best one. A column that
// is filled later clears `sorted`, and then a lookup examines all hits.
//
// Thread safety: as the classifier's. With AVX2, rows are read with plain vector loads, which on
// x86 do not tear within aligned words.
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <span>

#include "dataplane/classifier/pool.h"
#include "dataplane/classifier/record.h"

namespace godwit::dataplane::classifier {

inline constexpr size_t kBlockWords = 4;
inline constexpr size_t kBlockColumns = kBlockWords * 64;

struct alignas(64) TernaryBlock {
  std::atomic<uint32_t> best{UINT32_MAX};  // lower bound of the priorities in the block
  std::atomic<bool> sorted{true};
  uint8_t words = 0;  // words in a row: 1, 2 or 4
  uint8_t nibble_count = 0;
  uint32_t used = 0;                              // writer only: number of valid columns
  uint64_t* rows = nullptr;                       // [nibble_count][16][words]
  std::atomic<const Record*>* records = nullptr;  // [words * 64]
  alignas(32) uint64_t valid[kBlockWords] = {};
  // The nibbles, the most selective first, and the byte offset from `rows` of the 16 rows of each.
  // Both are padded with the first nibble up to a multiple of kStride.
  alignas(32) std::array<uint8_t, kNibbles> nibbles{};
  alignas(64) std::array<uint16_t, kNibbles> offsets{};

  static constexpr size_t kStride = 8;
  [[nodiscard]] const uint64_t* row(size_t i, unsigned nibble) const {
    return rows + (i * 16 + nibble) * words;
  }
  [[nodiscard]] size_t columns() const { return size_t{words} * 64; }
  [[nodiscard]] static size_t bytes(size_t words, size_t nibbles) {
    return sizeof(TernaryBlock) + nibbles * 16 * words * 8 + words * 64 * 8;
  }
};

// A set is one allocation: this header and the pointers to its blocks. The allocation is replaced
// when a block is added.
struct TernarySet {
  uint32_t block_count = 0;
  uint32_t count = 0;  // writer only
  uint32_t built = 0;  // writer only
  uint32_t unused = 0;
  [[nodiscard]] TernaryBlock** blocks() { return reinterpret_cast<TernaryBlock**>(this + 1); }
  [[nodiscard]] TernaryBlock* const* blocks() const {
    return reinterpret_cast<TernaryBlock* const*>(this + 1);
  }
  [[nodiscard]] static size_t bytes(size_t blocks) {
    return sizeof(TernarySet) + blocks * sizeof(TernaryBlock*);
  }
};

inline uint64_t load_word(const uint64_t& word) {
  return std::atomic_ref<uint64_t>(const_cast<uint64_t&>(word)).load(std::memory_order_relaxed);
}
inline void store_word(uint64_t& word, uint64_t value,
                       std::memory_order order = std::memory_order_relaxed) {
  std::atomic_ref<uint64_t>(word).store(value, order);
}

// Builds a block of `items`, at most 256 and in Order, with room for at least `columns` columns.
[[nodiscard]] TernaryBlock* make_block(std::span<const Record> items, size_t columns, Pool& pool);

// Inserts the item into a free column. Returns false if there is none.
[[nodiscard]] bool insert_ternary(TernarySet& set, const Record& item, Pool& pool);

// Unlinks the item's record and returns it for the caller to retire. Returns nullptr if the set
// does not have the item.
[[nodiscard]] const Record* remove_ternary(TernarySet& set, const Record& item);

}  // namespace godwit::dataplane::classifier
