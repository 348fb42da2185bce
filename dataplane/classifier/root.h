// SPDX-License-Identifier: Apache-2.0
//
// Root: one tree of the classifier with the memory of everything below it. Lookups start at `top`.
// A Builder fills a root; the classifier's writer changes it in place and replaces it as a whole.
// README.md explains the tree and why readers may search it meanwhile.
//
// Thread safety: the writer only, except for `layout`, `hash_key`, `top` and small(), which readers
// use.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <utility>
#include <vector>

#include "dataplane/classifier/layout.h"
#include "dataplane/classifier/planner.h"
#include "dataplane/classifier/pool.h"
#include "dataplane/classifier/record.h"
#include "dataplane/classifier/ternary_set.h"
#include "dataplane/classifier/tree_nodes.h"

namespace godwit::dataplane::classifier {

class Root {
 public:
  Root(const Layout& chosen, const HashKey& key) : layout(chosen), hash_key(key) {}

  const Layout layout;
  const HashKey hash_key;
  Slot top;

  void insert(const RuleEntry& entry) { insert(make_record(entry, layout)); }
  void insert(const Record& item);
  // Returns false if the tree does not have the entry.
  bool remove(const RuleEntry& entry) { return remove(make_record(entry, layout)); }
  bool remove(const Record& item);

  // Returns whether the tree is small enough to stay in a core's cache. A batch then has no cache
  // misses to hide. Readers may call this.
  [[nodiscard]] bool small() const { return built_ < kSmallRules; }

  // Returns whether the tree should be replaced by one that is built for its present rules.
  [[nodiscard]] bool stale() const;

  struct Garbage {
    void* block;
    size_t bytes;
  };
  [[nodiscard]] size_t garbage_count() const { return garbage_.size(); }
  // Returns what was unlinked since the last call. The caller passes it to free() after a grace
  // period.
  [[nodiscard]] std::vector<Garbage> take_garbage() { return std::exchange(garbage_, {}); }
  void free(const std::vector<Garbage>& blocks);

  [[nodiscard]] size_t memory_bytes() const { return sizeof(*this) + pool_.bytes(); }

 private:
  friend class Builder;

  static constexpr size_t kSmallRules = 20000;
  static constexpr uint16_t kSalts = 16;
  static constexpr size_t kSaltedValues = 32;

  // Builds a tree for `items`, which it consumes. `depth` counts the nodes above.
  Ref build(std::vector<Record>& items, size_t depth);
  Ref make_leaf(std::vector<Record>& items);
  Ref make_ternary(std::vector<Record>& items);
  Ref make_node(const std::vector<Bits>& masks, std::vector<std::vector<Record>>& parts,
                std::vector<Record>& rest, size_t depth);
  Ref make_rest(std::vector<Record>& rest);
  void fill_table(Table& table, std::vector<Record>& items, size_t depth);

  void discard(void* block, size_t bytes) { garbage_.push_back({block, bytes}); }
  void discard_record(const Record* record);
  void discard_tree(Ref ref);

  // Returns whether a structure of `count` rules that has changed too much (`changed`) may be
  // rebuilt within this change. If it is too large, notes that the whole tree has to be replaced.
  bool due(bool changed, size_t count);
  // Replaces the tree at the slot by a new one for the same records and, if given, `extra`.
  void rebuild(Slot& slot, size_t depth, const Record* extra);

  void insert_at(Slot& slot, const Record& item, size_t depth);
  void insert_in_leaf(Slot& slot, Ref ref, const Record& item, size_t depth);
  void insert_in_node(Slot& slot, Node& node, const Record& item, size_t depth);
  void add_block(Slot& slot, TernarySet& set, const Record& item);

  bool remove_at(Slot& slot, const Record& item, size_t depth);
  bool remove_from_leaf(Slot& slot, Ref ref, const Record& item);
  bool remove_from_node(Slot& slot, Node& node, const Record& item, size_t depth);

  size_t built_ = 0;  // number of rules for which the tree was built
  // The members below change with each rule, so they are not on a cache line that lookups read.
  alignas(64) Pool pool_;
  Planner planner_;
  size_t count_ = 0;
  size_t changes_ = 0;      // since the tree was built
  bool postponed_ = false;  // a part of the tree was too large to be rebuilt
  std::vector<Garbage> garbage_;
};

// Returns the lowest priority of `items`, or UINT32_MAX if there are none.
[[nodiscard]] uint32_t best_of(std::span<const Record> items);
void sort_by_order(std::vector<Record>& items);

// Lowers `bound` to `priority` if that is less.
inline void lower(std::atomic<uint32_t>& bound, uint32_t priority) {
  if (priority < bound.load(std::memory_order_relaxed))
    bound.store(priority, std::memory_order_relaxed);
}

}  // namespace godwit::dataplane::classifier
