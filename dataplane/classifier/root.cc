// SPDX-License-Identifier: Apache-2.0
#include "dataplane/classifier/root.h"

#include <algorithm>
#include <bit>

namespace godwit::dataplane::classifier {

namespace {

// Appends the records of a tree to `items`.
void collect(Ref ref, std::vector<Record>& items) {
  switch (kind_of(ref)) {
    case Kind::kNull: return;
    case Kind::kLeaf:
      for (size_t i = 0; i < leaf_count(ref); ++i) items.push_back(Leaf(ref).record(i));
      return;
    case Kind::kNode: {
      auto* node = target<Node>(ref);
      for (size_t t = 0; t < node->table_count; ++t) {
        const Table& table = node->tables()[t];
        for (size_t s = 0; s < table.slot_count(); ++s) {
          collect(table.slots[s].ref.load(std::memory_order_relaxed), items);
        }
      }
      return collect(node->rest.ref.load(std::memory_order_relaxed), items);
    }
    case Kind::kTernary: {
      auto* set = target<TernarySet>(ref);
      for (size_t b = 0; b < set->block_count; ++b) {
        const TernaryBlock& block = *set->blocks()[b];
        for (size_t c = 0; c < block.columns(); ++c) {
          if (const Record* record = block.records[c].load(std::memory_order_relaxed))
            items.emplace_back(*record);
        }
      }
      return;
    }
  }
}

}  // namespace

void Root::insert(const Record& item) {
  insert_at(top, item, 0);
  ++count_;
  ++changes_;
}

bool Root::remove(const Record& item) {
  if (!remove_at(top, item, 0)) return false;
  --count_;
  ++changes_;
  return true;
}

void Root::free(const std::vector<Garbage>& blocks) {
  for (const Garbage& garbage : blocks) pool_.free(garbage.block, garbage.bytes);
}

bool Root::stale() const {
  return outgrown(count_, built_) || shrunken(count_, built_) ||
         (postponed_ && changes_ > built_ / 4);
}

uint32_t best_of(std::span<const Record> items) {
  uint32_t best = UINT32_MAX;
  for (const Record& item : items) best = std::min(best, item.priority);
  return best;
}

void sort_by_order(std::vector<Record>& items) {
  std::sort(items.begin(), items.end(),
            [](const Record& a, const Record& b) { return a.before(b); });
}

Ref Root::build(std::vector<Record>& items, size_t depth) {
  if (items.empty()) return 0;
  if (items.size() <= kLeafSmall) return make_leaf(items);
  std::vector<Bits> masks;
  std::vector<std::vector<Record>> parts;
  std::vector<Record> rest = std::move(items);
  while (depth < kMaxDepth && masks.size() < kMaxTables && rest.size() > kLeafSmall) {
    const Plan plan = planner_.plan(rest);
    if (plan.cost >= planner_.flat_cost(static_cast<double>(rest.size()))) break;
    masks.push_back(plan.mask);
    const auto middle = std::stable_partition(
        rest.begin(), rest.end(), [&](const Record& i) { return !i.mask.contains(plan.mask); });
    parts.emplace_back(middle, rest.end());
    rest.erase(middle, rest.end());
  }
  if (masks.empty()) return make_rest(rest);
  return make_node(masks, parts, rest, depth);
}

Ref Root::make_leaf(std::vector<Record>& items) {
  sort_by_order(items);
  void* leaf = pool_.allocate(Leaf::bytes(items.size()));
  for (size_t i = 0; i < items.size(); ++i) Leaf::put(leaf, items.size(), i, items[i]);
  return make_leaf_ref(leaf, items.size(), items.size());
}

Ref Root::make_ternary(std::vector<Record>& items) {
  sort_by_order(items);
  const size_t blocks = (items.size() + kBlockColumns - 1) / kBlockColumns;
  auto* set = new (pool_.allocate(TernarySet::bytes(blocks))) TernarySet;
  set->block_count = static_cast<uint32_t>(blocks);
  set->count = set->built = static_cast<uint32_t>(items.size());
  for (size_t b = 0; b < blocks; ++b) {
    const size_t from = b * kBlockColumns;
    const size_t size = std::min(kBlockColumns, items.size() - from);
    set->blocks()[b] = make_block({items.data() + from, size}, size, pool_);
  }
  return make_ref(set, Kind::kTernary);
}

Ref Root::make_node(const std::vector<Bits>& masks, std::vector<std::vector<Record>>& parts,
                    std::vector<Record>& rest, size_t depth) {
  size_t count = rest.size();
  for (const auto& part : parts) count += part.size();
  auto* node = new (pool_.allocate(Node::bytes(masks.size()))) Node(masks.size(), count);
  for (size_t t = 0; t < masks.size(); ++t) {
    auto* table = new (node->tables() + t) Table;
    table->mask = masks[t];
    fill_table(*table, parts[t], depth);
  }
  if (!rest.empty()) {
    node->rest.best.store(best_of(rest), std::memory_order_relaxed);
    const bool more = rest.size() > kLeafSmall && masks.size() == kMaxTables;
    node->rest.ref.store(more ? build(rest, depth + 1) : make_rest(rest),
                         std::memory_order_relaxed);
  }
  return make_ref(node, Kind::kNode);
}

Ref Root::make_rest(std::vector<Record>& rest) {
  return rest.size() <= kLeafMax ? make_leaf(rest) : make_ternary(rest);
}

void Root::fill_table(Table& table, std::vector<Record>& items, size_t depth) {
  struct Place {
    uint64_t hash;
    uint32_t item;
  };
  std::vector<Place> places(items.size());
  size_t slots = 0;
  uint16_t salt = static_cast<uint16_t>(depth * kSalts);
  // The fewest collisions so far. Small tables try salts until there are none.
  size_t fewest = SIZE_MAX;
  for (uint16_t n = 0; n <= kSalts && fewest > 0; ++n) {
    table.salt = n == kSalts ? salt : static_cast<uint16_t>(depth * kSalts + n);
    for (uint32_t i = 0; i < items.size(); ++i)
      places[i] = {table.hash(items[i].value, hash_key), i};
    std::sort(places.begin(), places.end(),
              [](const Place& a, const Place& b) { return a.hash < b.hash; });
    if (n == kSalts) break;
    size_t values = 0;
    for (size_t i = 0; i < places.size(); ++i)
      values += i == 0 || places[i].hash != places[i - 1].hash;
    slots = std::bit_ceil(std::max<size_t>(2, values + values / 2));
    table.shift = static_cast<uint16_t>(64 - std::countr_zero(slots));
    size_t used = 0;
    for (size_t i = 0; i < places.size(); ++i) {
      used += i == 0 || table.index(places[i].hash) != table.index(places[i - 1].hash);
    }
    if (values - used < fewest) {
      fewest = values - used;
      salt = table.salt;
    }
    if (values > kSaltedValues) break;
  }
  table.slots = static_cast<Slot*>(pool_.allocate(slots * sizeof(Slot)));
  for (size_t s = 0; s < slots; ++s) new (table.slots + s) Slot;
  table.best.store(best_of(items), std::memory_order_relaxed);
  for (size_t i = 0; i < places.size();) {
    const size_t index = table.index(places[i].hash);
    std::vector<Record> bucket;
    bool several = false;
    const uint64_t first = places[i].hash;
    for (; i < places.size() && table.index(places[i].hash) == index; ++i) {
      several = several || Table::tag(places[i].hash) != Table::tag(first);
      bucket.push_back(items[places[i].item]);
    }
    Slot& slot = table.slots[index];
    slot.tag.store(several ? 0 : Table::tag(first), std::memory_order_relaxed);
    slot.best.store(best_of(bucket), std::memory_order_relaxed);
    slot.ref.store(build(bucket, depth + 1), std::memory_order_relaxed);
  }
}

void Root::discard_record(const Record* record) {
  discard(const_cast<Record*>(record), sizeof(Record));
}

void Root::discard_tree(Ref ref) {
  switch (kind_of(ref)) {
    case Kind::kNull: return;
    case Kind::kLeaf: return discard(target<void>(ref), Leaf::bytes(leaf_count(ref)));
    case Kind::kNode: {
      auto* node = target<Node>(ref);
      for (size_t t = 0; t < node->table_count; ++t) {
        Table& table = node->tables()[t];
        for (size_t s = 0; s < table.slot_count(); ++s) {
          discard_tree(table.slots[s].ref.load(std::memory_order_relaxed));
        }
        discard(table.slots, table.slot_count() * sizeof(Slot));
      }
      discard_tree(node->rest.ref.load(std::memory_order_relaxed));
      return discard(node, Node::bytes(node->table_count));
    }
    case Kind::kTernary: {
      auto* set = target<TernarySet>(ref);
      for (size_t b = 0; b < set->block_count; ++b) {
        TernaryBlock* block = set->blocks()[b];
        for (size_t c = 0; c < block->columns(); ++c) {
          if (const Record* record = block->records[c].load(std::memory_order_relaxed))
            discard_record(record);
        }
        discard(block, TernaryBlock::bytes(block->words, block->nibble_count));
      }
      return discard(set, TernarySet::bytes(set->block_count));
    }
  }
}

bool Root::due(bool changed, size_t count) {
  if (!changed || count <= kAtOnce) return changed;
  postponed_ = true;
  return false;
}

void Root::rebuild(Slot& slot, size_t depth, const Record* extra) {
  const Ref old = slot.ref.load(std::memory_order_relaxed);
  std::vector<Record> items;
  collect(old, items);
  if (extra != nullptr) items.push_back(*extra);
  slot.ref.store(build(items, depth), std::memory_order_release);
  discard_tree(old);
}

void Root::insert_at(Slot& slot, const Record& item, size_t depth) {
  const Ref ref = slot.ref.load(std::memory_order_relaxed);
  if (ref == 0) {
    slot.best.store(item.priority, std::memory_order_relaxed);
  } else {
    lower(slot.best, item.priority);
  }
  switch (kind_of(ref)) {
    case Kind::kNull: {
      void* leaf = pool_.allocate(Leaf::bytes(1));
      Leaf::put(leaf, 1, 0, item);
      slot.ref.store(make_leaf_ref(leaf, 1, 1), std::memory_order_release);
      return;
    }
    case Kind::kLeaf: return insert_in_leaf(slot, ref, item, depth);
    case Kind::kNode: return insert_in_node(slot, *target<Node>(ref), item, depth);
    case Kind::kTernary: {
      auto* set = target<TernarySet>(ref);
      if (due(outgrown(set->count, set->built), set->count)) return rebuild(slot, depth, &item);
      if (insert_ternary(*set, item, pool_)) return;
      return add_block(slot, *set, item);
    }
  }
}

void Root::insert_in_leaf(Slot& slot, Ref ref, const Record& item, size_t depth) {
  const size_t count = leaf_count(ref);
  if (count >= leaf_room(ref)) return rebuild(slot, depth, &item);
  const Leaf old(ref);
  size_t i = 0;
  while (i < count && old.meta(i).before(item)) ++i;
  void* leaf = pool_.allocate(Leaf::bytes(count + 1));
  old.copy(leaf, count + 1, 0, 0, i);
  Leaf::put(leaf, count + 1, i, item);
  old.copy(leaf, count + 1, i, i + 1, count - i);
  slot.ref.store(make_leaf_ref(leaf, count + 1, leaf_room(ref)), std::memory_order_release);
  discard_tree(ref);
}

void Root::insert_in_node(Slot& slot, Node& node, const Record& item, size_t depth) {
  Tally& tally = node.tally();
  if (due(outgrown(tally.count, tally.built), tally.count)) return rebuild(slot, depth, &item);
  ++tally.count;
  for (size_t t = 0; t < node.table_count; ++t) {
    Table& table = node.tables()[t];
    if (!item.mask.contains(table.mask)) continue;
    lower(table.best, item.priority);
    const uint64_t hash = table.hash(item.value, hash_key);
    Slot& next = table.slots[table.index(hash)];
    if (next.ref.load(std::memory_order_relaxed) == 0) {
      next.tag.store(Table::tag(hash), std::memory_order_relaxed);
    } else if (next.tag.load(std::memory_order_relaxed) != Table::tag(hash)) {
      next.tag.store(0, std::memory_order_relaxed);
    }
    return insert_at(next, item, depth + 1);
  }
  insert_at(node.rest, item, depth + 1);
}

void Root::add_block(Slot& slot, TernarySet& set, const Record& item) {
  const size_t blocks = set.block_count;
  auto* grown = new (pool_.allocate(TernarySet::bytes(blocks + 1))) TernarySet;
  grown->block_count = static_cast<uint32_t>(blocks + 1);
  grown->built = set.built;
  grown->count = set.count + 1;
  std::copy_n(set.blocks(), blocks, grown->blocks());
  grown->blocks()[blocks] =
      make_block({&item, 1}, std::min<size_t>(set.built, kBlockColumns), pool_);
  slot.ref.store(make_ref(grown, Kind::kTernary), std::memory_order_release);
  discard(&set, TernarySet::bytes(blocks));
}

bool Root::remove_at(Slot& slot, const Record& item, size_t depth) {
  const Ref ref = slot.ref.load(std::memory_order_relaxed);
  switch (kind_of(ref)) {
    case Kind::kNull: return false;
    case Kind::kLeaf: return remove_from_leaf(slot, ref, item);
    case Kind::kNode: return remove_from_node(slot, *target<Node>(ref), item, depth);
    case Kind::kTernary: {
      auto* set = target<TernarySet>(ref);
      const Record* record = remove_ternary(*set, item);
      if (record == nullptr) return false;
      discard_record(record);
      if (due(shrunken(set->count, set->built), set->count)) rebuild(slot, depth, nullptr);
      return true;
    }
  }
  return false;
}

bool Root::remove_from_leaf(Slot& slot, Ref ref, const Record& item) {
  const size_t count = leaf_count(ref);
  const Leaf old(ref);
  size_t found = 0;
  while (found < count && !old.meta(found).same_rule(item)) ++found;
  if (found == count) return false;
  Ref fresh = 0;
  if (count > 1) {
    void* leaf = pool_.allocate(Leaf::bytes(count - 1));
    old.copy(leaf, count - 1, 0, 0, found);
    old.copy(leaf, count - 1, found + 1, found, count - 1 - found);
    fresh = make_leaf_ref(leaf, count - 1, leaf_room(ref));
  }
  slot.ref.store(fresh, std::memory_order_release);
  discard_tree(ref);
  return true;
}

bool Root::remove_from_node(Slot& slot, Node& node, const Record& item, size_t depth) {
  bool removed = false;
  size_t t = 0;
  while (t < node.table_count && !item.mask.contains(node.tables()[t].mask)) ++t;
  if (t < node.table_count) {
    const Table& table = node.tables()[t];
    removed =
        remove_at(table.slots[table.index(table.hash(item.value, hash_key))], item, depth + 1);
  } else {
    removed = remove_at(node.rest, item, depth + 1);
  }
  if (!removed) return false;
  Tally& tally = node.tally();
  --tally.count;
  if (due(shrunken(tally.count, tally.built), tally.count)) rebuild(slot, depth, nullptr);
  return true;
}

}  // namespace godwit::dataplane::classifier
