// SPDX-License-Identifier: Apache-2.0
//
// Inside the classifier. Only classifier*.{h,cc} and their tests include this.
//
// The problem: hash tables by mask cost a probe for each distinct mask, and rule sets have tens to
// ten thousands of those. The answer here is a tree of few, short masks, with an exact bit matrix
// for what has no common bits:
//
//   Layout    which 16 of the key's 112 bytes the tree works on: those that the rules' masks use
//   most. Each lookup
//             first picks these bytes (Bits). A rule that also cares for other bytes is verified
//             against its whole Match when it is found; others are decided by their Record alone,
//             one cache line.
//   Record    a rule as the tree compares it: masked value, two native 16-bit ranges, order, and
//   the entry. Ref       a tagged pointer to a leaf, a node or a ternary set; null is "no rule".
//   leaf      up to kLeafMax records in Order, side by side: all their masked values are compared
//   at once, 8 at a time
//             with AVX-512, 4 with AVX2. So small a set needs no further structure, if it stays in
//             the cache.
//   Node      up to kMaxTables hash tables, each with a mask of its own, and a rest. A rule is in
//   the first table
//             whose mask it cares for wholly, or in the rest, so no rule is in two places. A lookup
//             probes every table that can still beat what it has. A slot that holds many rules
//             leads to a node again, with a mask chosen for those rules: crowded buckets split by
//             the bits that tell their rules apart.
//   Ternary   what can't be told apart by common bits (prefixes nested round one address, rules
//   that differ in ranges
//             only): a matrix of bits, a column for each rule, a row for each value of each 4 bits
//             of the key. A lookup ANDs one row per nibble: 256 rules in some 30 loads of 32 bytes,
//             whatever their masks are. So any set of rules costs at most about an eighth of a load
//             a rule and a bounded 100 odd bytes a rule, without ever expanding a rule.
//
// Masks are chosen by classifier_plan.h: bit after bit, the one that lowers the estimated cost of a
// lookup most, where a bit that not all rules care for costs a further place to look at. A range
// counts as the prefix that its ends have in common.
//
// Early exit: slots, tables, and blocks of a ternary set carry a lower bound of the priorities
// below them, so most of what can't win isn't looked at. A slot also carries 32 bits of its hash,
// which saves reading what isn't it.
//
// Batches go wave by wave: all nodes of all keys are hashed and their slots prefetched, then all
// slots read and their targets prefetched, then leaves scanned. Each loop does one thing, and 32
// keys hide each other's cache misses. What lies deep below a node's further tables, and what its
// tables leave out, comes last, since most of it can't win by then. A tree that stays in the caches
// (20,000 rules) is searched key by key, depth first: fewer instructions. A batch takes what is in
// the tree for visible, and reads the generations of the 32 winners only, side by side; where one
// isn't visible after all, its key is looked up again with all of them read.
//
// Concurrency. One writer. Readers load Refs with acquire. A leaf is replaced by a changed copy;
// slots, tables' bounds and ternary columns change in place in an order that is safe, since
//   - a hit is only believed after the Record and visible() agree: what is found in excess does no
//   harm;
//   - an entry is inserted before the store that publishes the generation it is visible from, and
//   removed only when no
//     reader uses a generation that it is visible in: what is missed during a change wasn't to be
//     seen.
// So bounds and hash tags are only ever loosened while anything is below them. What is unlinked is
// freed in batches after a grace period.
//
// Growing. When a node holds twice (small ones: a quarter more, or a quarter) of what it was built
// for, it is built anew aside and replaced by one store. When the whole does, or when a node does
// that is too large to be rebuilt within one change (kAtOnce), the Root is, with its Layout and its
// memory: classifier_builder.h does some of that at each change.
//
// Hashes are keyed: who doesn't know the HashKey can't choose rules, or packets, that collide.
#pragma once

#include <algorithm>
#include <array>
#include <atomic>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <new>

#include "dataplane/classifier/classifier.h"

namespace godwit::dataplane::classifier {

inline constexpr size_t kCompactBytes = 16;
inline constexpr size_t kCompactBits = kCompactBytes * 8;
inline constexpr size_t kNibbles = kCompactBytes * 2;
inline constexpr size_t kLeafMax = 48;
inline constexpr size_t kLeafSmall = 8;  // so few records are never split
inline constexpr size_t kMaxTables = 8;
inline constexpr size_t kMaxDepth = 24;  // of nodes in nodes; below that, ternary sets
inline constexpr size_t kAtOnce = 1024;  // rules that are built anew within one change, at most
inline constexpr uint64_t kMaxSequence = (uint64_t{1} << 56) - 1;

// Whether what was built for `built` rules is due to be built anew; the cost stays in proportion to
// the changes.
inline bool outgrown(size_t count, size_t built) {
  return count >= (built < 4096 ? built + built / 4 + kLeafSmall : 2 * built);
}
inline bool shrunken(size_t count, size_t built) { return count <= built / 4; }

// The 16 bytes of a key, or of a mask, that the tree works on, as two words.
struct Bits {
  std::array<uint64_t, 2> word{};
  bool operator==(const Bits&) const = default;
  [[nodiscard]] Bits operator&(const Bits& other) const {
    return {{word[0] & other.word[0], word[1] & other.word[1]}};
  }
  [[nodiscard]] bool test(size_t bit) const { return ((word[bit / 64] >> (bit % 64)) & 1) != 0; }
  void set(size_t bit) { word[bit / 64] |= uint64_t{1} << (bit % 64); }
  [[nodiscard]] bool contains(const Bits& mask) const {
    return (mask.word[0] & ~word[0]) == 0 && (mask.word[1] & ~word[1]) == 0;
  }
  [[nodiscard]] unsigned nibble(size_t i) const {
    return static_cast<unsigned>(word[i / 16] >> (i % 16 * 4)) & 15;
  }
  [[nodiscard]] uint16_t be16_at(size_t byte) const {
    uint8_t b[2];
    std::memcpy(b, reinterpret_cast<const uint8_t*>(word.data()) + byte, 2);
    return static_cast<uint16_t>(b[0] << 8 | b[1]);
  }
  void or_be16_at(size_t byte, uint16_t value) {
    uint8_t* b = reinterpret_cast<uint8_t*>(word.data()) + byte;
    b[0] = static_cast<uint8_t>(b[0] | value >> 8);
    b[1] = static_cast<uint8_t>(b[1] | (value & 0xff));
  }
};

// Which byte of the FlowKey each of the 16 is; ascending, so that a 16-bit field whose two bytes
// are in stays whole.
struct Layout {
  std::array<uint8_t, kCompactBytes> offset{};
  size_t used = 0;
  std::array<uint8_t, kFlowKeyBytes> place;  // the inverse; kNone: not in
  FlowKey outside;                           // all ones in bytes that aren't in

  // The same for a shuffle of 64 + 64 bytes: the key's first, and its last.
  alignas(16) std::array<uint8_t, kCompactBytes> index{};
  uint16_t present = 0;  // a bit for each of the 16 that is used

  // The same for a byte shuffle: which 16-byte lanes of the key hold any, and what of each goes
  // where.
  struct Lane {
    uint8_t at = 0;
    alignas(16) std::array<uint8_t, 16> control;
  };
  std::array<Lane, kFlowKeyBytes / 16> lanes;
  size_t lane_count = 0;

  static constexpr uint8_t kNone = 0xff;
  Layout() {
    place.fill(kNone);
    for (size_t i = 0; i < kFlowKeyWords; ++i) outside.set_word(i, ~uint64_t{0});
  }
  // Each byte once, in ascending order.
  void add(uint8_t byte) {
    if (lane_count == 0 || lanes[lane_count - 1].at != byte / 16 * 16) {
      lanes[lane_count].at = static_cast<uint8_t>(byte / 16 * 16);
      lanes[lane_count++].control.fill(0x80);
    }
    lanes[lane_count - 1].control[used] = byte % 16;
    index[used] = byte < 64 ? byte : static_cast<uint8_t>(byte + 64 - (kFlowKeyBytes - 64));
    present = static_cast<uint16_t>(present | 1u << used);
    place[byte] = static_cast<uint8_t>(used);
    outside.bytes()[byte] = 0;
    offset[used++] = byte;
  }
  [[nodiscard]] Bits compact(const FlowKey& key) const {
    alignas(8) uint8_t bytes[kCompactBytes] = {};
    const uint8_t* from = key.bytes();
    for (size_t i = 0; i < used; ++i) bytes[i] = from[offset[i]];
    Bits bits;
    std::memcpy(bits.word.data(), bytes, kCompactBytes);
    return bits;
  }
};

// All of a rule that is looked at once its masked value fits.
struct Meta {
  const RuleEntry* entry = nullptr;
  uint64_t age = 0;  // direction_rank, then sequence: Order without the priority
  uint32_t priority = 0;
  bool verify = false;  // the entry's Match says more than the record
  uint8_t ranges = 0;   // 0..2 native ranges on 16-bit fields, that the mask doesn't say all of
  std::array<uint8_t, 2> range_at{};
  std::array<uint16_t, 2> low{};
  std::array<uint16_t, 2> high{};

  // Of an entry as it was then: its place in memory may have been used again since.
  [[nodiscard]] bool same_rule(const Meta& other) const {
    return entry == other.entry && age == other.age && priority == other.priority;
  }
  [[nodiscard]] bool before(const Meta& other) const {
    return priority != other.priority ? priority < other.priority : age < other.age;
  }
  [[nodiscard]] bool ranges_hold(const Bits& key) const {
    for (size_t i = 0; i < ranges; ++i) {
      const uint16_t at = key.be16_at(range_at[i]);
      if (at < low[i] || at > high[i]) return false;
    }
    return true;
  }
};
static_assert(sizeof(Meta) == 32);

// Allocated at a multiple of 64. The mask holds what the ends of ranges have in common, too.
struct Record : Meta {
  Bits value;
  Bits mask;

  [[nodiscard]] bool masked_value_fits(const Bits& key) const {
    return (((key.word[0] & mask.word[0]) ^ value.word[0]) |
            ((key.word[1] & mask.word[1]) ^ value.word[1])) == 0;
  }
};
static_assert(sizeof(Record) == 64);

inline uint64_t age_of(const Order& order) {
  return uint64_t{order.direction_rank} << 56 | std::min(order.sequence, kMaxSequence);
}

// A native range, as the prefix that its ends have in common, and as a range if that isn't all.
inline void add_range(Record& record, uint8_t at, uint16_t low, uint16_t high) {
  const int common = std::countl_zero(static_cast<uint16_t>(low ^ high));
  const auto prefix = static_cast<uint16_t>(0xffff0000u >> common);
  const auto fresh = static_cast<uint16_t>(prefix & ~record.mask.be16_at(at));
  record.mask.or_be16_at(at, fresh);
  record.value.or_be16_at(at, low & fresh);
  if ((low & ~prefix) == 0 && (high | prefix) == 0xffff &&
      (low & prefix) == (record.value.be16_at(at) & prefix))
    return;
  record.range_at[record.ranges] = at;
  record.low[record.ranges] = low;
  record.high[record.ranges++] = high;
}

inline Record make_record(const RuleEntry& entry, const Layout& layout) {
  Record record;
  record.entry = &entry;
  record.priority = entry.order.priority;
  record.age = age_of(entry.order);
  record.mask = layout.compact(entry.match.mask);
  record.value = layout.compact(entry.match.value);
  uint64_t outside = 0;
  for (size_t i = 0; i < kFlowKeyWords; ++i)
    outside |= entry.match.mask.word(i) & layout.outside.word(i);
  record.verify = outside != 0;
  for (const KeyRange& range : entry.match.ranges) {
    const bool whole = range.size == 2 && range.offset + 1u < kFlowKeyBytes &&
                       range.mask[0] == 0xff && range.mask[1] == 0xff;
    if (!whole || record.ranges == 2 || layout.place[range.offset] == Layout::kNone ||
        layout.place[range.offset + 1u] != layout.place[range.offset] + 1) {
      record.verify = true;
      continue;
    }
    add_range(record, layout.place[range.offset],
              static_cast<uint16_t>(range.low[0] << 8 | range.low[1]),
              static_cast<uint16_t>(range.high[0] << 8 | range.high[1]));
  }
  return record;
}

enum class Kind : uint8_t { kNull = 0, kLeaf = 1, kNode = 2, kTernary = 3 };

// A pointer to something aligned to 64, its kind in the low bits. For a leaf its count in the high
// byte, and how many records it may have before it is worth while to plan again: kLeafSmall shifted
// left by what is in the other low bits.
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

// Where a Ref hangs. Written by the writer; ref is stored last, and loaded first.
struct Slot {
  std::atomic<Ref> ref{0};
  std::atomic<uint32_t> best{UINT32_MAX};  // no priority below is lower
  std::atomic<uint32_t> tag{0};            // of the one masked value below, or 0: several
};
static_assert(sizeof(Slot) == 16);

// A leaf of n records, in Order: first n words each of masks and of values, so that several are
// compared at once, and then what else they say. A vector of up to 8 words from any of the first
// stays within it if n > 1.
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
  // `n` records of this one, from `from` on, to the place `to` of another.
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

// Both halves of the product: with secrets in a and b, a keyed hash.
inline uint64_t fold(uint64_t a, uint64_t b) {
  __extension__ using Wide = unsigned __int128;
  const Wide product = static_cast<Wide>(a) * b;
  return static_cast<uint64_t>(product) ^ static_cast<uint64_t>(product >> 64);
}

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

// What the writer alone knows of a node. It changes with each rule below, so it has a line of its
// own: on one that lookups read it would take that line out of their caches each time.
struct alignas(64) Tally {
  uint32_t count = 0;  // records below
  uint32_t built = 0;  // how many there were when it was built
};

// One allocation with its tables behind it, which are constant but for what their slots hold, and
// its tally behind those.
struct Node {
  Slot rest;
  uint64_t table_count;
  uint64_t unused = 0;

  // Without its tables. `count`: records that are to be below.
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
