// SPDX-License-Identifier: Apache-2.0
#include "dataplane/classifier/ternary_set.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <new>

namespace godwit::dataplane::classifier {

namespace {

// Finds the columns whose rows all accept the key. `out` has kBlockWords words.
void candidates_portable(const TernaryBlock& block, const Bits& key, uint64_t* out) {
  for (size_t w = 0; w < kBlockWords; ++w) out[w] = w < block.words ? load_word(block.valid[w]) : 0;
  for (size_t i = 0; i < block.nibble_count; ++i) {
    const uint64_t* row = block.row(i, key.nibble(block.nibbles[i]));
    uint64_t any = 0;
    for (size_t w = 0; w < block.words; ++w) any |= out[w] &= load_word(row[w]);
    if (any == 0) return;
  }
}

// Sets the bits of one column. The Record decides about nibbles for which the block has no rows.
// Most words are already right and are not written, so their lines stay in the readers' caches.
void fill_column(TernaryBlock& block, size_t column, const Record& item) {
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

}  // namespace

TernaryBlock* make_block(std::span<const Record> items, size_t columns, Pool& pool) {
  const size_t words = columns <= 64 ? 1 : columns <= 128 ? 2 : kBlockWords;
  std::array<double, kNibbles> density{};  // share of the bits in the rows that are set
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

bool insert_ternary(TernarySet& set, const Record& item, Pool& pool) {
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

const Record* remove_ternary(TernarySet& set, const Record& item) {
  for (size_t b = 0; b < set.block_count; ++b) {
    TernaryBlock& block = *set.blocks()[b];
    uint64_t hits[kBlockWords];
    candidates_portable(block, item.value, hits);  // the item's own column is a hit
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
