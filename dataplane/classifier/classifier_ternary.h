// SPDX-License-Identifier: Apache-2.0
//
// A set of rules as a matrix of bits: in blocks of up to 256, a column for each rule, and for each
// 4 bits of the key that any of them cares for, 16 rows: bit c of row v says that rule c accepts
// the value v there. The AND of the rows that a key picks leaves the candidates; the Record
// decides. See classifier_internal.h for what it is used for.
//
// A column is filled in place and its valid bit is set last; an emptied column may be filled again
// at once, since a reader that mixes the two believes nothing that the Record and visible() don't
// confirm. Columns are in Order when a block is built, so the first hit is its best; one filled
// later clears `sorted`, and then all hits are looked at.
//
// Thread safety: as the classifier. Rows are read with plain vector loads where AVX2 is used, which
// on x86 don't tear within aligned words.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <span>

#include "dataplane/classifier/classifier_internal.h"
#include "dataplane/classifier/classifier_pool.h"

namespace godwit::dataplane::classifier {

inline constexpr size_t kBlockWords = 4;
inline constexpr size_t kBlockColumns = kBlockWords * 64;

struct alignas(64) TernaryBlock {
  std::atomic<uint32_t> best{UINT32_MAX};  // no priority in here is lower
  std::atomic<bool> sorted{true};
  uint8_t words = 0;  // a row's: 1, 2 or 4
  uint8_t nibble_count = 0;
  uint32_t used = 0;                              // writer only: valid columns
  uint64_t* rows = nullptr;                       // [nibble_count][16][words]
  std::atomic<const Record*>* records = nullptr;  // [words * 64]
  alignas(32) uint64_t valid[kBlockWords] = {};
  // Which nibbles, the most selective first, and where the 16 rows of each are, in bytes from the
  // first. Filled up to a multiple of kStride with the first one.
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

// One allocation with pointers to its blocks behind it; the array is replaced when a block is
// added.
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

// The columns whose rows all hold the key. out has kBlockWords words.
inline void candidates_portable(const TernaryBlock& block, const Bits& key, uint64_t* out) {
  for (size_t w = 0; w < kBlockWords; ++w) out[w] = w < block.words ? load_word(block.valid[w]) : 0;
  for (size_t i = 0; i < block.nibble_count; ++i) {
    const uint64_t* row = block.row(i, key.nibble(block.nibbles[i]));
    uint64_t any = 0;
    for (size_t w = 0; w < block.words; ++w) any |= out[w] &= load_word(row[w]);
    if (any == 0) return;
  }
}

// Writer: the rows' bits of one column. Nibbles that the block has no rows for are left to the
// Record. Most words are as they should be already, and those lines stay in the readers' caches.
inline void fill_column(TernaryBlock& block, size_t column, const Record& item) {
  const uint64_t bit = uint64_t{1} << (column % 64);
  for (size_t i = 0; i < block.nibble_count; ++i) {
    const unsigned care = item.mask.nibble(block.nibbles[i]);
    const unsigned want = item.value.nibble(block.nibbles[i]);
    for (unsigned value = 0; value < 16; ++value) {
      uint64_t& word = block.rows[(i * 16 + value) * block.words + column / 64];
      if (((word & bit) != 0) != ((value & care) == want)) store_word(word, word ^ bit);
    }
  }
}

// Writer: a block of up to 256 items, which are in Order; with room for `columns` at least.
inline TernaryBlock* make_block(std::span<const Record> items, size_t columns, Pool& pool) {
  const size_t words = columns <= 64 ? 1 : columns <= 128 ? 2 : kBlockWords;
  std::array<double, kNibbles> density{};  // the share of rows' bits that are set
  for (const Record& item : items) {
    for (size_t n = 0; n < kNibbles; ++n)
      density[n] += 1.0 / (1u << std::popcount(item.mask.nibble(n)));
  }
  std::array<uint8_t, kNibbles> nibbles{};
  size_t count = 0;
  for (size_t n = 0; n < kNibbles; ++n) {
    if (density[n] < static_cast<double>(items.size())) nibbles[count++] = static_cast<uint8_t>(n);
  }
  std::sort(nibbles.begin(), nibbles.begin() + static_cast<std::ptrdiff_t>(count),
            [&](uint8_t a, uint8_t b) { return density[a] < density[b]; });
  const size_t row_bytes = count * 16 * words * 8;
  auto* memory = static_cast<uint8_t*>(pool.allocate(TernaryBlock::bytes(words, count)));
  auto* block = new (memory) TernaryBlock;
  block->words = static_cast<uint8_t>(words);
  block->nibble_count = static_cast<uint8_t>(count);
  for (size_t i = 0; i < kNibbles; ++i) {
    block->nibbles[i] = nibbles[i < count ? i : 0];
    block->offsets[i] = static_cast<uint16_t>((i < count ? i : 0) * 16 * words * 8);
  }
  block->rows = reinterpret_cast<uint64_t*>(memory + sizeof(TernaryBlock));
  std::memset(block->rows, 0, row_bytes);
  block->records =
      reinterpret_cast<std::atomic<const Record*>*>(memory + sizeof(TernaryBlock) + row_bytes);
  for (size_t c = 0; c < words * 64; ++c)
    new (&block->records[c]) std::atomic<const Record*>(nullptr);
  for (size_t c = 0; c < items.size(); ++c) {
    fill_column(*block, c, items[c]);
    block->records[c].store(new (pool.allocate(sizeof(Record))) Record(items[c]),
                            std::memory_order_relaxed);
    block->valid[c / 64] |= uint64_t{1} << (c % 64);
  }
  block->used = static_cast<uint32_t>(items.size());
  if (!items.empty()) block->best.store(items.front().priority, std::memory_order_relaxed);
  return block;
}

// Writer: into a free column, if there is one.
inline bool insert_ternary(TernarySet& set, const Record& item, Pool& pool) {
  for (size_t b = set.block_count; b-- > 0;) {
    TernaryBlock& block = *set.blocks()[b];
    if (block.used == block.columns()) continue;
    size_t column = 0;
    while (((block.valid[column / 64] >> (column % 64)) & 1) != 0) ++column;
    if (item.priority < block.best.load(std::memory_order_relaxed)) {
      block.best.store(item.priority, std::memory_order_relaxed);
    }
    if (block.sorted.load(std::memory_order_relaxed))
      block.sorted.store(false, std::memory_order_relaxed);
    fill_column(block, column, item);
    block.records[column].store(new (pool.allocate(sizeof(Record))) Record(item),
                                std::memory_order_release);
    store_word(block.valid[column / 64], block.valid[column / 64] | uint64_t{1} << (column % 64),
               std::memory_order_release);
    ++block.used;
    ++set.count;
    return true;
  }
  return false;
}

// Writer: unlinks the item's record and returns it, for the caller to retire; nullptr: not in here.
inline const Record* remove_ternary(TernarySet& set, const Record& item) {
  for (size_t b = 0; b < set.block_count; ++b) {
    TernaryBlock& block = *set.blocks()[b];
    uint64_t hits[kBlockWords];
    candidates_portable(block, item.value, hits);  // its own column is one of them
    for (size_t w = 0; w < block.words; ++w) {
      for (uint64_t left = hits[w]; left != 0; left &= left - 1) {
        const uint64_t bit = left & -left;
        std::atomic<const Record*>& place =
            block.records[w * 64 + static_cast<size_t>(std::countr_zero(left))];
        const Record* record = place.load(std::memory_order_relaxed);
        if (!record->same_rule(item)) continue;
        store_word(block.valid[w], block.valid[w] & ~bit);
        place.store(nullptr, std::memory_order_relaxed);
        --block.used;
        --set.count;
        return record;
      }
    }
  }
  return nullptr;
}

}  // namespace godwit::dataplane::classifier
