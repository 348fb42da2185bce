// SPDX-License-Identifier: Apache-2.0
//
// The memory layout of the classifier's tree: tagged references, slots, leaves, hash tables and
// nodes. README.md in this folder explains the tree and why readers may search it while the writer
// changes it.
//
// Thread safety: the writer stores and readers load the atomic members; README.md lists the orders.
// All other members are constant once a reader can reach them, except for Tally.
#pragma once

#include <algorithm>
#include <atomic>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <new>

#include "dataplane/classifier/bits.h"
#include "dataplane/classifier/classifier.h"
#include "dataplane/classifier/record.h"

namespace godwit::dataplane::classifier {

inline constexpr size_t kLeafMax = 48;   // records in a leaf
inline constexpr size_t kLeafSmall = 8;  // a leaf of up to so many records is never split
inline constexpr size_t kMaxTables = 8;  // tables in a node
inline constexpr size_t kMaxDepth = 24;  // of nodes in nodes; below that, ternary sets
inline constexpr size_t kAtOnce = 1024;  // rules that are rebuilt within one change, at most

// Return whether a structure that was built for `built` rules and now holds `count` is due to be
// rebuilt. The thresholds keep the cost in proportion to the number of changes.
inline bool outgrown(size_t count, size_t built) {
  return count >= (built < 4096 ? built + built / 4 + kLeafSmall : 2 * built);
}
inline bool shrunken(size_t count, size_t built) { return count <= built / 4; }

enum class Kind : uint8_t { kNull = 0, kLeaf = 1, kNode = 2, kTernary = 3 };

// A tagged pointer to a structure that is aligned to 64 bytes; zero means no rule. Bits 0 and 1
// hold the kind. For a leaf, the high byte holds the number of records, and bits 2 to 5 hold the
// leaf's room as a shift of kLeafSmall. A leaf with more records than its room is planned again.
using Ref = uint64_t;
inline Kind kind_of(Ref ref) { return static_cast<Kind>(ref & 3); }
inline size_t leaf_count(Ref ref) { return ref >> 56; }
inline size_t leaf_room(Ref ref) { return std::min(kLeafSmall << (ref >> 2 & 15), kLeafMax); }
template <typename T>
T* target(Ref ref) {
  return reinterpret_cast<T*>(ref & 0x00ff'ffff'ffff'ffc0);
}
inline Ref make_ref(const void* pointer, Kind kind) {
  return reinterpret_cast<uintptr_t>(pointer) | static_cast<uint64_t>(kind);
}
inline Ref make_leaf_ref(const void* pointer, size_t count, size_t room) {
  const auto doubled =
      static_cast<uint64_t>(std::bit_width((std::max(room, kLeafSmall) - 1) / kLeafSmall));
  return make_ref(pointer, Kind::kLeaf) | doubled << 2 | uint64_t{count} << 56;
}

// A place in the tree that holds a Ref. The writer stores `ref` last; readers load it first.
struct Slot {
  std::atomic<Ref> ref{0};
  std::atomic<uint32_t> best{UINT32_MAX};  // lower bound of the priorities below
  std::atomic<uint32_t> tag{0};  // of the only masked value below, or 0 if there are several
};
static_assert(sizeof(Slot) == 16);

// A view of a leaf: n records in Order. The memory begins with four rows of n words (mask and value
// of word 0, mask and value of word 1), so that several records are compared at once; n Metas
// follow. With n > 1, a vector load of 8 words that begins in any row stays within the leaf.
class Leaf {
 public:
  Leaf(const void* memory, size_t count)
      : memory_(static_cast<const uint64_t*>(memory)), count_(count) {}
  explicit Leaf(Ref ref) : Leaf(target<const void>(ref), leaf_count(ref)) {}

  [[nodiscard]] size_t count() const { return count_; }
  [[nodiscard]] const uint64_t* mask(size_t word) const { return memory_ + 2 * word * count_; }
  [[nodiscard]] const uint64_t* value(size_t word) const {
    return memory_ + (2 * word + 1) * count_;
  }
  [[nodiscard]] const Meta& meta(size_t i) const {
    return reinterpret_cast<const Meta*>(memory_ + 4 * count_)[i];
  }
  [[nodiscard]] bool fits(size_t i, const Bits& key) const {
    return (((key.word[0] & mask(0)[i]) ^ value(0)[i]) |
            ((key.word[1] & mask(1)[i]) ^ value(1)[i])) == 0;
  }
  [[nodiscard]] Record record(size_t i) const {
    Record record;
    static_cast<Meta&>(record) = meta(i);
    record.mask = {{mask(0)[i], mask(1)[i]}};
    record.value = {{value(0)[i], value(1)[i]}};
    return record;
  }

  [[nodiscard]] static size_t bytes(size_t count) { return count * sizeof(Record); }
  static void put(void* memory, size_t count, size_t i, const Record& record) {
    auto* words = static_cast<uint64_t*>(memory);
    words[i] = record.mask.word[0];
    words[count + i] = record.value.word[0];
    words[2 * count + i] = record.mask.word[1];
    words[3 * count + i] = record.value.word[1];
    reinterpret_cast<Meta*>(words + 4 * count)[i] = record;
  }
  // Copies `n` records from index `from` to index `to` of another leaf, which has `count` records.
  void copy(void* memory, size_t count, size_t from, size_t to, size_t n) const {
    auto* words = static_cast<uint64_t*>(memory);
    for (size_t row = 0; row < 4; ++row)
      std::copy_n(memory_ + row * count_ + from, n, words + row * count + to);
    std::copy_n(&meta(0) + from, n, reinterpret_cast<Meta*>(words + 4 * count) + to);
  }

 private:
  const uint64_t* memory_;
  size_t count_;
};

// Combines both halves of the product. With secrets in a and b this is a keyed hash.
inline uint64_t fold(uint64_t a, uint64_t b) {
  __extension__ using Wide = unsigned __int128;
  const Wide product = static_cast<Wide>(a) * b;
  return static_cast<uint64_t>(product) ^ static_cast<uint64_t>(product >> 64);
}

// A hash table of rules that have all bits of one mask.
struct Table {
  Bits mask;
  Slot* slots = nullptr;
  std::atomic<uint32_t> best{UINT32_MAX};
  uint16_t salt = 0;
  uint16_t shift = 0;  // 64 - log2 of the number of slots

  [[nodiscard]] uint64_t hash(const Bits& key, const HashKey& secret) const {
    return fold((key.word[0] & mask.word[0]) ^ (secret[0] + salt),
                (key.word[1] & mask.word[1]) ^ secret[1]);
  }
  [[nodiscard]] size_t index(uint64_t h) const { return h >> shift; }
  [[nodiscard]] static uint32_t tag(uint64_t h) { return static_cast<uint32_t>(h) | 1; }
  [[nodiscard]] size_t slot_count() const { return size_t{1} << (64 - shift); }
};
static_assert(sizeof(Table) == 32);

// The writer's counts of a node. They change with each rule below, so they have a cache line of
// their own: on a line that lookups read, each change would evict that line from the readers'
// caches.
struct alignas(64) Tally {
  uint32_t count = 0;  // records below
  uint32_t built = 0;  // records below when the node was built
};

// A node is one allocation: this header, its tables, and its tally. The tables are constant except
// for the contents of their slots.
struct Node {
  Slot rest;
  uint64_t table_count;
  uint64_t unused = 0;

  // Constructs the header and the tally; the caller constructs the tables. `count` is the number of
  // records that will be below.
  Node(size_t tables, size_t count) : table_count(tables) {
    new (&tally()) Tally{static_cast<uint32_t>(count), static_cast<uint32_t>(count)};
  }
  [[nodiscard]] Table* tables() { return reinterpret_cast<Table*>(this + 1); }
  [[nodiscard]] const Table* tables() const { return reinterpret_cast<const Table*>(this + 1); }
  [[nodiscard]] Tally& tally() {
    return *reinterpret_cast<Tally*>(reinterpret_cast<uint8_t*>(this) + tally_at(table_count));
  }
  [[nodiscard]] static size_t bytes(size_t tables) { return tally_at(tables) + sizeof(Tally); }

 private:
  [[nodiscard]] static size_t tally_at(size_t tables) {
    return (sizeof(Node) + tables * sizeof(Table) + 63) / 64 * 64;
  }
};
static_assert(sizeof(Node) == 32);

}  // namespace godwit::dataplane::classifier
