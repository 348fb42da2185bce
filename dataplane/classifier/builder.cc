// SPDX-License-Identifier: Apache-2.0
#include "dataplane/classifier/builder.h"

#include <algorithm>
#include <bit>

namespace godwit::dataplane::classifier {

bool Builder::step(Entries entries, size_t budget) {
  left_ = static_cast<ptrdiff_t>(budget);
  while (left_ > 0) {
    if (collecting_) {
      collect(entries);
    } else if (!frames_.empty()) {
      run(*frames_.back());
    } else if (caught_up_ < changes_.size()) {
      catch_up();
    } else {
      return true;
    }
  }
  return false;
}

void Builder::note_insert(const RuleEntry& entry) {
  if (!collecting_) changes_.push_back({make_record(entry, root_->layout), true});
}

void Builder::note_remove(const RuleEntry& entry, size_t place, const RuleEntry& last,
                          size_t last_place) {
  if (collecting_ && place >= collected_) return;
  changes_.push_back({make_record(entry, root_->layout), false});
  if (!collecting_) return;
  if (last_place >= collected_) {
    items_.emplace_back(make_record(last, root_->layout));
  } else {
    collected_ = last_place;  // `entry` was the last one collected
  }
}

size_t Builder::memory_bytes() const {
  return root_->memory_bytes() + (total_ + items_.capacity()) * sizeof(Record) +
         changes_.capacity() * sizeof(Change);
}

void Builder::collect(Entries entries) {
  if (items_.empty()) items_.reserve(entries.size());
  while (collected_ < entries.size() && left_ > 0) {
    items_.emplace_back(make_record(*entries[collected_++], root_->layout));
    --left_;
  }
  if (collected_ < entries.size()) return;
  collecting_ = false;
  total_ = root_->count_ = root_->built_ = items_.size();
  root_->planner_.set_total(total_);
  if (total_ == 0) return;
  root_->top.best.store(best_of(items_), std::memory_order_relaxed);
  push(root_->top, 0, std::exchange(items_, {}));
}

void Builder::push(Slot& slot, size_t depth, std::vector<Record>&& items) {
  frames_.push_back(std::make_unique<Frame>(slot, depth, std::move(items)));
}

void Builder::catch_up() {
  const Change& change = changes_[caught_up_++];
  if (change.inserted) {
    root_->insert(change.item);
  } else {
    root_->remove(change.item);
  }
  left_ -= 2;
}

void Builder::run(Frame& frame) {
  switch (frame.phase) {
    case Frame::Phase::kPlan: return plan(frame);
    case Frame::Phase::kPart: return part(frame);
    case Frame::Phase::kOpen: return open(frame);
    case Frame::Phase::kChain: return chain(frame);
    case Frame::Phase::kSlots: return fill(frame);
    case Frame::Phase::kRest: return rest(frame);
    case Frame::Phase::kBlocks: return blocks(frame);
  }
}

// Chooses one mask at a time.
void Builder::plan(Frame& frame) {
  const size_t count = frame.items.size();
  if (count <= kAtOnce) {
    left_ -= static_cast<ptrdiff_t>(4 * count);
    frame.slot.ref.store(root_->build(frame.items, frame.depth), std::memory_order_relaxed);
    return pop();
  }
  left_ -= kPlanWork;
  const size_t stride = (count + kVisited - 1) / kVisited;
  std::vector<Record> sample;  // of the rules that no table takes so far
  for (size_t i = 0; i < count; i += stride) {
    const Record& item = frame.items[i];
    if (std::none_of(frame.masks.begin(), frame.masks.end(),
                     [&](const Bits& m) { return item.mask.contains(m); })) {
      sample.push_back(item);
    }
  }
  const double left_out = static_cast<double>(sample.size() * stride);
  if (frame.depth < kMaxDepth && frame.masks.size() < kMaxTables &&
      left_out > static_cast<double>(kLeafSmall)) {
    const Plan plan = root_->planner_.plan(sample, static_cast<double>(stride));
    if (plan.cost < root_->planner_.flat_cost(left_out)) {
      frame.masks.push_back(plan.mask);
      return;
    }
  }
  if (frame.masks.empty()) return start_blocks(frame);
  frame.parts.resize(frame.masks.size() + 1);
  frame.values.resize(frame.masks.size());
  frame.seen.assign(frame.masks.size(), std::vector<uint64_t>(std::bit_ceil(4 * count) / 64));
  frame.phase = Frame::Phase::kPart;
}

void Builder::part(Frame& frame) {
  const size_t tables = frame.masks.size();
  for (; frame.at < frame.items.size() && left_ > 0; ++frame.at, --left_) {
    const Record& item = frame.items[frame.at];
    size_t t = 0;
    while (t < tables && !item.mask.contains(frame.masks[t])) ++t;
    frame.parts[t].push_back(static_cast<uint32_t>(frame.at));
    if (t == tables) continue;
    Table probe;
    probe.mask = frame.masks[t];
    std::vector<uint64_t>& seen = frame.seen[t];
    const uint64_t bit = probe.hash(item.value, root_->hash_key) % (seen.size() * 64);
    frame.values[t] += (seen[bit / 64] >> (bit % 64) & 1) == 0;
    seen[bit / 64] |= uint64_t{1} << (bit % 64);
  }
  if (frame.at < frame.items.size()) return;
  frame.seen = {};
  frame.node = new (root_->pool_.allocate(Node::bytes(tables))) Node(tables, frame.items.size());
  frame.slot.ref.store(make_ref(frame.node, Kind::kNode), std::memory_order_relaxed);
  frame.next.resize(frame.items.size());
  frame.phase = Frame::Phase::kOpen;
}

void Builder::open(Frame& frame) {
  if (frame.table == frame.masks.size()) {
    frame.at = 0;
    frame.phase = Frame::Phase::kRest;
    return;
  }
  auto* table = new (frame.node->tables() + frame.table) Table;
  const size_t values = frame.values[frame.table];
  const size_t slots = std::bit_ceil(std::max<size_t>(2, values + values / 2));
  table->mask = frame.masks[frame.table];
  table->salt = static_cast<uint16_t>(frame.depth * Root::kSalts);
  table->shift = static_cast<uint16_t>(64 - std::countr_zero(slots));
  table->slots = static_cast<Slot*>(root_->pool_.allocate(slots * sizeof(Slot)));
  for (size_t s = 0; s < slots; ++s) new (table->slots + s) Slot;
  frame.head.assign(slots, kEnd);
  left_ -= static_cast<ptrdiff_t>(slots / 64);
  frame.at = 0;
  frame.phase = Frame::Phase::kChain;
}

void Builder::chain(Frame& frame) {
  Table& table = frame.node->tables()[frame.table];
  const std::vector<uint32_t>& part = frame.parts[frame.table];
  for (; frame.at < part.size() && left_ > 0; ++frame.at, --left_) {
    const Record& item = frame.items[part[frame.at]];
    lower(table.best, item.priority);
    uint32_t& head = frame.head[table.index(table.hash(item.value, root_->hash_key))];
    frame.next[part[frame.at]] = std::exchange(head, part[frame.at]);
  }
  if (frame.at < part.size()) return;
  frame.at = 0;
  frame.phase = Frame::Phase::kSlots;
}

void Builder::fill(Frame& frame) {
  Table& table = frame.node->tables()[frame.table];
  while (frame.at < frame.head.size() && left_ > 0) {
    const size_t s = frame.at++;
    if (frame.head[s] == kEnd) continue;
    std::vector<Record> bucket;
    bool several = false;
    const uint64_t first = table.hash(frame.items[frame.head[s]].value, root_->hash_key);
    for (uint32_t i = frame.head[s]; i != kEnd; i = frame.next[i]) {
      several = several ||
                Table::tag(table.hash(frame.items[i].value, root_->hash_key)) != Table::tag(first);
      bucket.push_back(frame.items[i]);
    }
    Slot& slot = table.slots[s];
    slot.tag.store(several ? 0 : Table::tag(first), std::memory_order_relaxed);
    slot.best.store(best_of(bucket), std::memory_order_relaxed);
    if (bucket.size() > kAtOnce) return push(slot, frame.depth + 1, std::move(bucket));
    left_ -= static_cast<ptrdiff_t>(bucket.size() * (bucket.size() > kLeafSmall ? 4 : 1));
    slot.ref.store(root_->build(bucket, frame.depth + 1), std::memory_order_relaxed);
  }
  if (frame.at < frame.head.size()) return;
  ++frame.table;
  frame.phase = Frame::Phase::kOpen;
}

// Builds what no table takes: a further node if the tables were too few, and otherwise a ternary
// set, since no common bit distinguishes these rules.
void Builder::rest(Frame& frame) {
  const std::vector<uint32_t>& part = frame.parts.back();
  if (frame.at == part.size() || part.empty()) return pop();
  std::vector<Record> items;
  items.reserve(part.size());
  for (const uint32_t i : part) items.push_back(frame.items[i]);
  frame.at = part.size();
  left_ -= static_cast<ptrdiff_t>(part.size() / 8);
  Slot& slot = frame.node->rest;
  slot.best.store(best_of(items), std::memory_order_relaxed);
  const bool more = frame.masks.size() == kMaxTables;
  const size_t depth = frame.depth + 1;
  push(slot, depth, std::move(items));  // `frame` stays valid
  if (!more && frames_.back()->items.size() > kAtOnce) start_blocks(*frames_.back());
}

void Builder::start_blocks(Frame& frame) {
  sort_by_order(frame.items);
  left_ -= static_cast<ptrdiff_t>(frame.items.size() / 8);
  const size_t count = (frame.items.size() + kBlockColumns - 1) / kBlockColumns;
  frame.set = new (root_->pool_.allocate(TernarySet::bytes(count))) TernarySet;
  frame.set->count = frame.set->built = static_cast<uint32_t>(frame.items.size());
  frame.slot.ref.store(make_ref(frame.set, Kind::kTernary), std::memory_order_relaxed);
  frame.phase = Frame::Phase::kBlocks;
}

// Builds one block at a time.
void Builder::blocks(Frame& frame) {
  const size_t from = frame.set->block_count * kBlockColumns;
  const size_t size = std::min(kBlockColumns, frame.items.size() - from);
  frame.set->blocks()[frame.set->block_count++] =
      make_block({frame.items.data() + from, size}, size, root_->pool_);
  left_ -= static_cast<ptrdiff_t>(2 * size);
  if (from + size == frame.items.size()) pop();
}

}  // namespace godwit::dataplane::classifier
