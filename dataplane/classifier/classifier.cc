// SPDX-License-Identifier: Apache-2.0
#include "dataplane/classifier/classifier.h"

#include <algorithm>
#include <array>
#include <cassert>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "dataplane/classifier/classifier_builder.h"
#include "dataplane/classifier/classifier_internal.h"
#include "dataplane/classifier/classifier_search.h"
#include "dataplane/classifier/classifier_tree.h"

namespace godwit::dataplane {
namespace {

using classifier::Builder;
using classifier::Layout;
using classifier::Root;
using classifier::Searcher;

constexpr size_t kGarbageBatch = 128;  // blocks to free with one grace period
constexpr size_t kBuildStep = 64;      // rules' work on a new tree at each change of the old one

// The bytes that most tell these entries apart: those whose bits are cared for most and take both
// values.
Layout choose_layout(const std::vector<const RuleEntry*>& entries) {
  std::array<size_t, kFlowKeyBytes> cared{};
  std::array<std::array<size_t, 8>, kFlowKeyBytes> ones{}, care{};
  const auto count_bits = [&](size_t byte, uint8_t mask, uint8_t value) {
    cared[byte] += mask != 0;
    for (size_t bit = 0; mask >> bit != 0; ++bit) {
      care[byte][bit] += (mask >> bit) & 1u;
      ones[byte][bit] += (mask & value) >> bit & 1u;
    }
  };
  const size_t stride = entries.size() / 8192 + 1;
  for (size_t i = 0; i < entries.size(); i += stride) {
    const Match& match = entries[i]->match;
    for (size_t w = 0; w < kFlowKeyWords; ++w) {
      if (match.mask.word(w) == 0) continue;
      for (size_t b = w * 8; b < w * 8 + 8; ++b)
        count_bits(b, match.mask.bytes()[b], match.value.bytes()[b]);
    }
    for (const KeyRange& range : match.ranges) {
      for (size_t b = 0; b < range.size && range.offset + b < kFlowKeyBytes; ++b) {
        count_bits(range.offset + b, range.mask[b], range.low[b]);
      }
    }
  }
  std::array<uint8_t, kFlowKeyBytes> bytes{};
  std::array<size_t, kFlowKeyBytes> score{};
  for (uint8_t b = 0; b < kFlowKeyBytes; ++b) {
    bytes[b] = b;
    score[b] = cared[b];
    for (size_t bit = 0; bit < 8; ++bit)
      score[b] += 16 * std::min(ones[b][bit], care[b][bit] - ones[b][bit]);
  }
  std::stable_sort(bytes.begin(), bytes.end(),
                   [&](uint8_t a, uint8_t b) { return score[a] > score[b]; });
  std::sort(bytes.begin(), bytes.begin() + classifier::kCompactBytes);
  Layout layout;
  for (size_t i = 0; i < classifier::kCompactBytes; ++i) {
    if (score[bytes[i]] > 0) layout.add(bytes[i]);
  }
  return layout;
}

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
  // Half of its bits set, or so, whatever they were: a product with few bits mixes little.
  // (Finalizer of SplitMix64.)
  static uint64_t scattered(uint64_t word) {
    word += 0x9e3779b97f4a7c15;
    word = (word ^ word >> 30) * 0xbf58476d1ce4e5b9;
    word = (word ^ word >> 27) * 0x94d049bb133111eb;
    return word ^ word >> 31;
  }

  // Builds anew for all entries, aside, and publishes that.
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

  // The new tree, if one is due, is built in steps of what changes happen. A small one at once.
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
  // Writer only, but for `size` and `memory`, which anyone may read; not on a line that lookups
  // read.
  alignas(64) std::shared_ptr<Root> root;
  std::vector<const RuleEntry*> entries;  // each at its `place`
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
  // What a large table looks at here is in no cache: ask for all of it at once, not for one after
  // the other.
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
