// SPDX-License-Identifier: Apache-2.0
#include "dataplane/classifier/classifier.h"

#include <algorithm>
#include <array>
#include <cassert>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "dataplane/classifier/builder.h"
#include "dataplane/classifier/layout.h"
#include "dataplane/classifier/root.h"
#include "dataplane/classifier/searcher.h"

namespace godwit::dataplane {
namespace {

using classifier::Builder;
using classifier::choose_layout;
using classifier::Root;
using classifier::Searcher;

constexpr size_t kGarbageBatch = 128;  // blocks that are freed with one grace period
constexpr size_t kBuildStep = 64;      // budget for a new tree at each change of the old one

}  // namespace

HashKey random_hash_key() {
  std::random_device device;  // getrandom() or the like
  HashKey key;
  for (uint64_t& word : key) word = uint64_t{device()} << 32 | device();
  return key;
}

struct Classifier::Impl {
  Impl(Reclaimer& r, const HashKey& k, const ClassifierLimits& l)
      : reclaimer(r), key{scattered(k[0]), scattered(k[1])}, limits(l) {
    rebuild_all();
  }
  // Returns a word with about half of its bits set, whatever `word` is: a product with a factor of
  // few bits mixes little. This is the finalizer of SplitMix64.
  static uint64_t scattered(uint64_t word) {
    word += 0x9e3779b97f4a7c15;
    word = (word ^ word >> 30) * 0xbf58476d1ce4e5b9;
    word = (word ^ word >> 27) * 0x94d049bb133111eb;
    return word ^ word >> 31;
  }

  // Builds a new tree for all entries, aside, and publishes it.
  void rebuild_all() {
    builder = std::make_unique<Builder>(choose_layout(entries), key);
    while (!builder->step(entries, SIZE_MAX / 2)) {
    }
    publish();
  }
  void publish() {
    std::shared_ptr<Root> fresh = builder->take();
    builder.reset();
    current.store(fresh.get(), std::memory_order_release);
    std::shared_ptr<Root> old = std::exchange(root, std::move(fresh));
    if (old) reclaimer.defer([old = std::move(old)] {});
  }

  [[nodiscard]] Result<void> admit(const RuleEntry& entry, size_t more) const {
    if (entries.size() + more > limits.rules) {
      return fail("this table is full: it may hold " + std::to_string(limits.rules) + " rules");
    }
    if (root->memory_bytes() + (more - 1) * sizeof(classifier::Record) >= limits.memory_bytes) {
      return fail("this table's rules use all of its memory (" +
                  std::to_string(limits.memory_bytes >> 20) + " MB)");
    }
    if (entry.order.sequence > classifier::kMaxSequence)
      return fail("the rule's sequence number is too large");
    return {};
  }
  void append(const RuleEntry& entry) {
    entry.place = static_cast<uint32_t>(entries.size());
    entries.push_back(&entry);
  }

  // Replaces the tree if that is due. A small tree is rebuilt at once, a large one in steps, one at
  // each change.
  void after_change() {
    if (builder == nullptr && root->stale()) {
      if (entries.size() <= classifier::kAtOnce) {
        rebuild_all();
      } else {
        builder = std::make_unique<Builder>(choose_layout(entries), key);
      }
    } else if (builder != nullptr && builder->step(entries, kBuildStep)) {
      publish();
    }
    if (root->garbage_count() >= kGarbageBatch) {
      reclaimer.defer([owner = root, blocks = root->take_garbage()] { owner->free(blocks); });
    }
    note_sizes();
  }
  void note_sizes() {
    size.store(entries.size(), std::memory_order_relaxed);
    memory.store(sizeof(*this) + root->memory_bytes() + entries.capacity() * sizeof(entries[0]) +
                     (builder == nullptr ? 0 : builder->memory_bytes()),
                 std::memory_order_relaxed);
  }

  Reclaimer& reclaimer;
  const HashKey key;
  const ClassifierLimits limits;
  const Searcher& searcher = classifier::searchers().front();
  std::atomic<const Root*> current{nullptr};
  // The members below belong to the writer, except that anyone may read `size` and `memory`. They
  // are not on a cache line that lookups read.
  alignas(64) std::shared_ptr<Root> root;
  std::vector<const RuleEntry*> entries;  // each entry at its `place`
  std::unique_ptr<Builder> builder;       // of the next root
  std::atomic<size_t> size{0};
  std::atomic<size_t> memory{0};
};

Classifier::Classifier(Reclaimer& reclaimer, const HashKey& key, ClassifierLimits limits)
    : impl_(std::make_unique<Impl>(reclaimer, key, limits)) {
  impl_->note_sizes();
}
Classifier::~Classifier() = default;

Result<void> Classifier::insert(const RuleEntry& entry) {
  Impl& impl = *impl_;
  if (auto admitted = impl.admit(entry, 1); !admitted) return admitted;
  impl.append(entry);
  impl.root->insert(entry);
  if (impl.builder != nullptr) impl.builder->note_insert(entry);
  impl.after_change();
  return {};
}

Result<void> Classifier::insert_all(std::span<const RuleEntry* const> entries) {
  Impl& impl = *impl_;
  for (const RuleEntry* entry : entries) {
    if (auto admitted = impl.admit(*entry, entries.size()); !admitted) return admitted;
  }
  if (entries.size() < impl.entries.size() / 4) {
    for (size_t i = 0; i < entries.size(); ++i) {
      if (auto inserted = insert(*entries[i]); !inserted) {
        while (i-- > 0) remove(*entries[i]);
        return inserted;
      }
    }
    return {};
  }
  for (const RuleEntry* entry : entries) impl.append(*entry);
  impl.rebuild_all();
  impl.note_sizes();
  return {};
}

void Classifier::remove(const RuleEntry& entry) {
  Impl& impl = *impl_;
  // In a large table none of this is in a cache: the prefetches overlap the misses.
  for (size_t at = 0; at < sizeof entry; at += 64)
    __builtin_prefetch(reinterpret_cast<const uint8_t*>(&entry) + at);
  const size_t place = entry.place;
  __builtin_prefetch(impl.entries.data() + place, 1);
  [[maybe_unused]] const bool removed = impl.root->remove(entry);
  assert(removed && place < impl.entries.size() && impl.entries[place] == &entry);
  const RuleEntry& last = *impl.entries.back();
  if (impl.builder != nullptr)
    impl.builder->note_remove(entry, place, last, impl.entries.size() - 1);
  last.place = static_cast<uint32_t>(place);
  impl.entries[place] = &last;
  impl.entries.pop_back();
  impl.after_change();
}

const RuleEntry* Classifier::lookup(const FlowKey& key, uint64_t generation,
                                    const Order* after) const {
  return impl_->searcher.lookup(*impl_->current.load(std::memory_order_acquire), key, generation,
                                after);
}

LookupWork Classifier::work(const FlowKey& key, uint64_t generation) const {
  return impl_->searcher.work(*impl_->current.load(std::memory_order_acquire), key, generation);
}

void Classifier::lookup_batch(std::span<const FlowKey* const> keys, uint64_t generation,
                              std::span<const RuleEntry*> out) const {
  impl_->searcher.lookup_batch(*impl_->current.load(std::memory_order_acquire), keys, generation,
                               out);
}

size_t Classifier::size() const { return impl_->size.load(std::memory_order_relaxed); }
size_t Classifier::memory_bytes() const { return impl_->memory.load(std::memory_order_relaxed); }

}  // namespace godwit::dataplane
