// SPDX-License-Identifier: Apache-2.0
//
// The readers' side of the classifier's tree: one key depth first, or a batch wave by wave. classifier_internal.h says
// why this may run while the writer works.
//
// Thread safety: any number at once; nothing is written but what the caller passes.
#pragma once

#include <algorithm>
#include <span>

#include "dataplane/classifier_internal.h"
#include "dataplane/classifier_ternary.h"

namespace godwit::dataplane::classifier {

inline constexpr size_t kBatchMax = 32;

// From record `first` on.
inline void search_leaf(Ref ref, Search& search, size_t first = 0) {
  const Record* records = target<const Record>(ref);
  const size_t count = leaf_count(ref);
  for (size_t i = first; i < count; ++i) {
    if (search.consider(records[i])) return;  // in Order: what follows is later
  }
}

// Told what a depth-first search looks at.
struct NoWatch {
  void tables(size_t) {}
  void records(size_t) {}
  void blocks(size_t) {}
};

template <typename Watch>
void search_tree(Ref ref, Search& search, Candidates candidates, Watch& watch);

template <typename Watch>
void search_slot(const Slot& slot, Search& search, Candidates candidates, Watch& watch) {
  const Ref ref = slot.ref.load(std::memory_order_acquire);
  if (ref == 0 || slot.best.load(std::memory_order_relaxed) > search.best_priority) return;
  search_tree(ref, search, candidates, watch);
}
inline void search_slot(const Slot& slot, Search& search, Candidates candidates) {
  NoWatch watch;
  search_slot(slot, search, candidates, watch);
}

template <typename Watch>
void search_tree(Ref ref, Search& search, Candidates candidates, Watch& watch) {
  switch (kind_of(ref)) {
    case Kind::kNull:
      return;
    case Kind::kLeaf:
      watch.records(leaf_count(ref));
      return search_leaf(ref, search);
    case Kind::kTernary:
      watch.blocks(target<const TernarySet>(ref)->block_count);
      return search_ternary(*target<const TernarySet>(ref), search, candidates);
    case Kind::kNode:
      break;
  }
  const Node& node = *target<const Node>(ref);
  watch.tables(node.table_count);
  for (size_t t = 0; t < node.table_count; ++t) {
    const Table& table = node.tables()[t];
    if (table.best.load(std::memory_order_relaxed) > search.best_priority) continue;
    const uint64_t hash = table.hash(search.key, search.hash_key);
    const Slot& slot = table.slots[table.index(hash)];
    const Ref next = slot.ref.load(std::memory_order_acquire);
    const uint32_t tag = slot.tag.load(std::memory_order_relaxed);
    if (next == 0 || (tag != 0 && tag != Table::tag(hash)) ||
        slot.best.load(std::memory_order_relaxed) > search.best_priority) {
      continue;
    }
    search_tree(next, search, candidates, watch);
  }
  search_slot(node.rest, search, candidates, watch);
}
inline void search_tree(Ref ref, Search& search, Candidates candidates) {
  NoWatch watch;
  search_tree(ref, search, candidates, watch);
}

// Up to 32 searches at once. Tasks that find no room in a wave are run depth first, on the spot.
class Waves {
 public:
  Waves(std::span<Search> searches, Candidates candidates) : searches_(searches), candidates_(candidates) {}

  void run(const Slot& top) {
    const Ref ref = top.ref.load(std::memory_order_acquire);
    for (size_t i = 0; i < searches_.size(); ++i) add(ref, 0, i);
    while (true) {
      while (node_count_ > 0 || leaf_count_ > 0) {
        run_leaves();
        run_nodes();
        run_slots();
      }
      run_ternary();
      if (later_count_ == 0) return;
      run_later();
    }
  }

 private:
  static constexpr size_t kRoom = 512;
  struct Task {
    Ref ref;
    uint32_t best;  // a bound of the priorities there; for a leaf with a hit, the record's number
    uint32_t key;
  };
  struct Probe {
    const Slot* slot;
    uint32_t tag;
    uint16_t key;
    bool first;  // of the first table of its node
  };

  void add(Ref ref, uint32_t best, size_t key) {
    const Kind kind = kind_of(ref);
    if (kind == Kind::kNull) return;
    Task* tasks = kind == Kind::kLeaf ? leaves_ : kind == Kind::kNode ? nodes_ : ternaries_;
    size_t& count = kind == Kind::kLeaf ? leaf_count_ : kind == Kind::kNode ? node_count_ : ternary_count_;
    if (count == kRoom) return search_tree(ref, searches_[key], candidates_);
    const auto* memory = target<const char>(ref);
    __builtin_prefetch(memory);
    if (kind == Kind::kLeaf ? classifier::leaf_count(ref) > 1 : true) __builtin_prefetch(memory + 64);
    tasks[count++] = {ref, best, static_cast<uint32_t>(key)};
  }

  void add_later(Ref ref, uint32_t best, uint32_t key) {
    if (later_count_ == kRoom) return search_tree(ref, searches_[key], candidates_);
    later_[later_count_++] = {ref, best, key};
  }

  // First what fits by its record, so that the entries that must confirm it are fetched side by side.
  void run_leaves() {
    size_t hit_count = 0;
    for (size_t i = 0; i < leaf_count_; ++i) {
      const Task& task = leaves_[i];
      const Search& search = searches_[task.key];
      if (task.best > search.best_priority) continue;
      const Record* records = target<const Record>(task.ref);
      const size_t count = classifier::leaf_count(task.ref);
      size_t n = 0;
      while (n < count && !search.fits(records[n])) ++n;
      if (n == count) continue;
      __builtin_prefetch(&records[n].entry->visible_from);
      leaves_[hit_count++] = {task.ref, static_cast<uint32_t>(n), task.key};
    }
    for (size_t i = 0; i < hit_count; ++i) search_leaf(leaves_[i].ref, searches_[leaves_[i].key], leaves_[i].best);
    leaf_count_ = 0;
  }

  void run_nodes() {
    for (size_t i = 0; i < node_count_; ++i) {
      const uint32_t key = nodes_[i].key;
      Search& search = searches_[key];
      if (nodes_[i].best > search.best_priority) continue;
      const Node& node = *target<const Node>(nodes_[i].ref);
      for (size_t t = 0; t < node.table_count; ++t) {
        const Table& table = node.tables()[t];
        if (table.best.load(std::memory_order_relaxed) > search.best_priority) continue;
        const uint64_t hash = table.hash(search.key, search.hash_key);
        const Slot* slot = &table.slots[table.index(hash)];
        __builtin_prefetch(slot);
        const Probe probe{slot, Table::tag(hash), static_cast<uint16_t>(key), t == 0};
        if (probe_count_ == kRoom) {
          run_probe(probe);
        } else {
          probes_[probe_count_++] = probe;
        }
      }
      const Ref rest = node.rest.ref.load(std::memory_order_acquire);
      if (rest != 0) add_later(rest, node.rest.best.load(std::memory_order_relaxed), key);
    }
    node_count_ = 0;
  }

  void run_probe(const Probe& probe) {
    const Ref ref = probe.slot->ref.load(std::memory_order_acquire);
    const uint32_t tag = probe.slot->tag.load(std::memory_order_relaxed);
    const uint32_t best = probe.slot->best.load(std::memory_order_relaxed);
    if (ref == 0 || (tag != 0 && tag != probe.tag) || best > searches_[probe.key].best_priority) return;
    if (probe.first || kind_of(ref) == Kind::kLeaf) {
      add(ref, best, probe.key);
    } else {
      add_later(ref, best, probe.key);
    }
  }

  void run_slots() {
    for (size_t i = 0; i < probe_count_; ++i) run_probe(probes_[i]);
    probe_count_ = 0;
  }

  // What lies deep below nodes' further tables, and what their tables don't hold: only once all else has been looked
  // at, since most of it can't win then.
  void run_later() {
    for (size_t i = 0; i < later_count_; ++i) {
      if (later_[i].best <= searches_[later_[i].key].best_priority) add(later_[i].ref, later_[i].best, later_[i].key);
    }
    later_count_ = 0;
  }

  void run_ternary() {
    for (size_t i = 0; i < ternary_count_; ++i) {
      Search& search = searches_[ternaries_[i].key];
      if (ternaries_[i].best > search.best_priority) continue;
      search_ternary(*target<const TernarySet>(ternaries_[i].ref), search, candidates_);
    }
    ternary_count_ = 0;
  }

  std::span<Search> searches_;
  Candidates candidates_;
  Task leaves_[kRoom];
  Task nodes_[kRoom];
  Task later_[kRoom];
  Task ternaries_[kRoom];
  Probe probes_[kRoom];
  size_t leaf_count_ = 0;
  size_t node_count_ = 0;
  size_t later_count_ = 0;
  size_t ternary_count_ = 0;
  size_t probe_count_ = 0;
};

}  // namespace godwit::dataplane::classifier
