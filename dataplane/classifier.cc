// SPDX-License-Identifier: Apache-2.0
//
// Hash tables by mask ("tuple space"): one subtable for each distinct mask, kept in a directory sorted by the best
// priority in each, so that a lookup stops at the first subtable that can't beat what it has. Ranges are checked
// after the masked compare. Entries of one bucket chain in Order, so the first visible match of a chain is its best.
//
// Readers follow atomic pointers: directory -> subtable -> buckets -> nodes. Nodes are linked and unlinked in place;
// buckets (on growth, with copies of their nodes) and the directory are replaced whole and retired.
#include "dataplane/classifier.h"

#include <algorithm>
#include <array>
#include <map>
#include <utility>
#include <vector>

namespace godwit::dataplane {
namespace {

constexpr size_t kMaxMasks = 65536;
constexpr size_t kMaxMemoryBytes = size_t{4} << 30;
constexpr size_t kFirstBuckets = 4;

using MaskWords = std::array<uint64_t, kFlowKeyWords>;

MaskWords words_of(const FlowKey& key) {
  MaskWords words;
  for (size_t i = 0; i < kFlowKeyWords; ++i) words[i] = key.word(i);
  return words;
}

struct Node {
  const RuleEntry* entry = nullptr;
  uint64_t hash = 0;
  std::atomic<Node*> next{nullptr};
};

// One chain in Order for each bucket. Owns its nodes.
struct Buckets {
  explicit Buckets(size_t count) : heads(count) {}
  ~Buckets() {
    for (auto& head : heads) {
      for (Node* node = head.load(std::memory_order_relaxed); node != nullptr;) {
        delete std::exchange(node, node->next.load(std::memory_order_relaxed));
      }
    }
  }
  Buckets(const Buckets&) = delete;
  Buckets& operator=(const Buckets&) = delete;
  std::atomic<Node*>& head(uint64_t hash) { return heads[hash & (heads.size() - 1)]; }
  const std::atomic<Node*>& head(uint64_t hash) const { return heads[hash & (heads.size() - 1)]; }

  std::vector<std::atomic<Node*>> heads;
};

void link(Buckets& buckets, Node* fresh) {
  std::atomic<Node*>* place = &buckets.head(fresh->hash);
  Node* next = place->load(std::memory_order_relaxed);
  while (next != nullptr && next->entry->order < fresh->entry->order) {
    place = &next->next;
    next = place->load(std::memory_order_relaxed);
  }
  fresh->next.store(next, std::memory_order_relaxed);
  place->store(fresh, std::memory_order_release);
}

class Subtable {
 public:
  explicit Subtable(const FlowKey& mask) : buckets_(new Buckets(kFirstBuckets)) {
    for (size_t i = 0; i < kFlowKeyWords; ++i) {
      if (mask.word(i) == 0) continue;
      masked_[used_] = mask.word(i);
      index_[used_++] = static_cast<uint8_t>(i);
    }
  }
  ~Subtable() { delete buckets_.load(std::memory_order_relaxed); }
  Subtable(const Subtable&) = delete;
  Subtable& operator=(const Subtable&) = delete;

  [[nodiscard]] uint64_t hash(const FlowKey& key) const {
    uint64_t h = 0x9e3779b97f4a7c15;
    for (size_t i = 0; i < used_; ++i) {
      h = (h ^ (key.word(index_[i]) & masked_[i])) * 0xff51afd7ed558ccd;
      h ^= h >> 32;
    }
    return h;
  }

  // The best visible match in this subtable that is after `after` and before `best`.
  [[nodiscard]] const RuleEntry* lookup(const FlowKey& key, uint64_t generation, const Order* after,
                                        const RuleEntry* best) const {
    const uint64_t h = hash(key);
    const Node* node = buckets_.load(std::memory_order_acquire)->head(h).load(std::memory_order_acquire);
    for (; node != nullptr; node = node->next.load(std::memory_order_acquire)) {
      const RuleEntry& entry = *node->entry;
      if (best != nullptr && best->order < entry.order) break;
      if (node->hash != h || (after != nullptr && entry.order <= *after)) continue;
      if (entry.visible(generation) && entry.match.matches(key)) return &entry;
    }
    return best;
  }

  void insert(const RuleEntry& entry, Reclaimer& reclaimer) {
    Buckets* buckets = buckets_.load(std::memory_order_relaxed);
    if (size_ >= buckets->heads.size()) {
      auto grown = std::make_unique<Buckets>(buckets->heads.size() * 2);
      for (auto& head : buckets->heads) {
        for (Node* node = head.load(std::memory_order_relaxed); node != nullptr;
             node = node->next.load(std::memory_order_relaxed)) {
          link(*grown, new Node{node->entry, node->hash, nullptr});
        }
      }
      std::unique_ptr<Buckets> old(std::exchange(buckets, grown.release()));
      buckets_.store(buckets, std::memory_order_release);
      reclaimer.retire(std::move(old));
    }
    link(*buckets, new Node{&entry, hash(entry.match.value), nullptr});
    ++size_;
  }

  // False if it isn't in here.
  bool remove(const RuleEntry& entry, Reclaimer& reclaimer) {
    std::atomic<Node*>* place = &buckets_.load(std::memory_order_relaxed)->head(hash(entry.match.value));
    Node* node = place->load(std::memory_order_relaxed);
    while (node != nullptr && node->entry != &entry) {
      place = &node->next;
      node = place->load(std::memory_order_relaxed);
    }
    if (node == nullptr) return false;
    place->store(node->next.load(std::memory_order_relaxed), std::memory_order_release);
    reclaimer.retire(std::unique_ptr<Node>(node));
    --size_;
    return true;
  }

  [[nodiscard]] size_t size() const { return size_; }
  [[nodiscard]] size_t memory_bytes() const {
    return sizeof(*this) + sizeof(Buckets) + size_ * sizeof(Node) +
           buckets_.load(std::memory_order_relaxed)->heads.size() * sizeof(std::atomic<Node*>);
  }

 private:
  // Constant after construction: which words the mask has bits in, and those bits.
  std::array<uint64_t, kFlowKeyWords> masked_{};
  std::array<uint8_t, kFlowKeyWords> index_{};
  size_t used_ = 0;
  // Stored by the writer, loaded by readers.
  std::atomic<Buckets*> buckets_;
  // Writer only.
  size_t size_ = 0;
};

// The subtables, by the best priority each may hold. Constant once published.
struct Directory {
  struct Item {
    uint32_t best_priority;
    const Subtable* subtable;
  };
  std::vector<Item> items;
};

}  // namespace

struct Classifier::Impl {
  struct Slot {
    std::unique_ptr<Subtable> subtable;
    uint32_t best_priority = 0;  // a lower bound: it isn't raised on removal
  };

  explicit Impl(Reclaimer& r) : reclaimer(r), directory(new Directory) {}
  ~Impl() { delete directory.load(std::memory_order_relaxed); }
  Impl(const Impl&) = delete;
  Impl& operator=(const Impl&) = delete;

  void publish_directory() {
    auto fresh = std::make_unique<Directory>();
    fresh->items.reserve(slots.size());
    for (const auto& [mask, slot] : slots) fresh->items.push_back({slot.best_priority, slot.subtable.get()});
    std::sort(fresh->items.begin(), fresh->items.end(),
              [](const auto& a, const auto& b) { return a.best_priority < b.best_priority; });
    std::unique_ptr<Directory> old(directory.load(std::memory_order_relaxed));
    directory.store(fresh.release(), std::memory_order_release);
    reclaimer.retire(std::move(old));
  }

  [[nodiscard]] const RuleEntry* lookup(const Directory& tables, const FlowKey& key, uint64_t generation,
                                        const Order* after) const {
    const RuleEntry* best = nullptr;
    for (const Directory::Item& item : tables.items) {
      if (best != nullptr && best->order.priority < item.best_priority) break;
      best = item.subtable->lookup(key, generation, after, best);
    }
    return best;
  }

  Reclaimer& reclaimer;
  std::atomic<Directory*> directory;
  // Writer only, but for `size` and `memory`, which anyone may read.
  std::map<MaskWords, Slot> slots;
  std::atomic<size_t> size{0};
  std::atomic<size_t> memory{0};
};

Classifier::Classifier(Reclaimer& reclaimer) : impl_(std::make_unique<Impl>(reclaimer)) {}
Classifier::~Classifier() = default;

Result<void> Classifier::insert(const RuleEntry& entry) {
  Impl& impl = *impl_;
  if (impl.memory.load(std::memory_order_relaxed) > kMaxMemoryBytes) {
    return fail("this table's rules use all of its memory (" + std::to_string(kMaxMemoryBytes >> 20) + " MB)");
  }
  const MaskWords mask = words_of(entry.match.mask);
  auto found = impl.slots.find(mask);
  bool publish = false;
  if (found == impl.slots.end()) {
    if (impl.slots.size() >= kMaxMasks) {
      return fail("this table's rules already use " + std::to_string(kMaxMasks) +
                  " different masks, the most there can be");
    }
    found = impl.slots.emplace(mask, Impl::Slot{std::make_unique<Subtable>(entry.match.mask), entry.order.priority}).first;
    impl.memory += found->second.subtable->memory_bytes();
    publish = true;
  } else if (entry.order.priority < found->second.best_priority) {
    found->second.best_priority = entry.order.priority;
    publish = true;
  }
  Subtable& subtable = *found->second.subtable;
  const size_t before = subtable.memory_bytes();
  subtable.insert(entry, impl.reclaimer);
  impl.memory += subtable.memory_bytes() - before;
  ++impl.size;
  if (publish) impl.publish_directory();
  return {};
}

void Classifier::remove(const RuleEntry& entry) {
  Impl& impl = *impl_;
  auto found = impl.slots.find(words_of(entry.match.mask));
  assert(found != impl.slots.end());
  if (found == impl.slots.end()) return;
  Subtable& subtable = *found->second.subtable;
  const size_t before = subtable.memory_bytes();
  [[maybe_unused]] const bool removed = subtable.remove(entry, impl.reclaimer);
  assert(removed);
  if (!removed) return;
  --impl.size;
  impl.memory -= before - subtable.memory_bytes();
  if (subtable.size() > 0) return;
  impl.memory -= subtable.memory_bytes();
  std::unique_ptr<Subtable> empty = std::move(found->second.subtable);
  impl.slots.erase(found);
  impl.publish_directory();
  impl.reclaimer.retire(std::move(empty));
}

const RuleEntry* Classifier::lookup(const FlowKey& key, uint64_t generation, const Order* after) const {
  return impl_->lookup(*impl_->directory.load(std::memory_order_acquire), key, generation, after);
}

void Classifier::lookup_batch(std::span<const FlowKey* const> keys, uint64_t generation,
                              std::span<const RuleEntry*> out) const {
  const Directory& tables = *impl_->directory.load(std::memory_order_acquire);
  for (size_t i = 0; i < keys.size(); ++i) out[i] = impl_->lookup(tables, *keys[i], generation, nullptr);
}

size_t Classifier::size() const { return impl_->size.load(std::memory_order_relaxed); }
size_t Classifier::memory_bytes() const { return impl_->memory.load(std::memory_order_relaxed); }

}  // namespace godwit::dataplane
