// SPDX-License-Identifier: Apache-2.0
#include "dataplane/classifier.h"

#include <algorithm>
#include <array>
#include <cassert>
#include <string>
#include <utility>
#include <vector>

#include "dataplane/classifier_internal.h"
#include "dataplane/classifier_search.h"
#include "dataplane/classifier_tree.h"

namespace godwit::dataplane {
namespace {

using classifier::Layout;
using classifier::Root;
using classifier::Search;

constexpr size_t kMaxMemoryBytes = size_t{4} << 30;
constexpr size_t kMaxEntries = size_t{16} << 20;
constexpr size_t kGarbageBatch = 128;  // blocks to free with one grace period

// The bytes that most tell these entries apart: those whose bits are cared for most and take both values.
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
      for (size_t b = w * 8; b < w * 8 + 8; ++b) count_bits(b, match.mask.bytes()[b], match.value.bytes()[b]);
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
    for (size_t bit = 0; bit < 8; ++bit) score[b] += 16 * std::min(ones[b][bit], care[b][bit] - ones[b][bit]);
  }
  std::stable_sort(bytes.begin(), bytes.end(), [&](uint8_t a, uint8_t b) { return score[a] > score[b]; });
  std::sort(bytes.begin(), bytes.begin() + classifier::kCompactBytes);
  Layout layout;
  for (size_t i = 0; i < classifier::kCompactBytes; ++i) {
    if (score[bytes[i]] > 0) layout.add(bytes[i]);
  }
  return layout;
}

}  // namespace

struct Classifier::Impl {
  explicit Impl(Reclaimer& r) : reclaimer(r) { replace_root({}); }

  // Builds anew for `entries`, aside, and publishes that.
  void replace_root(const std::vector<const RuleEntry*>& entries) {
    const Layout layout = choose_layout(entries);
    std::vector<classifier::Item> items;
    items.reserve(entries.size());
    for (const RuleEntry* entry : entries) items.emplace_back(make_record(*entry, layout));
    auto fresh = std::make_shared<Root>(layout, items);
    current.store(fresh.get(), std::memory_order_release);
    std::shared_ptr<Root> old = std::exchange(root, std::move(fresh));
    if (old) reclaimer.defer([old = std::move(old)] {});
    note_sizes();
  }

  void after_change() {
    if (root->garbage_count() >= kGarbageBatch) {
      reclaimer.defer([owner = root, blocks = root->take_garbage()] { owner->free(blocks); });
    }
    note_sizes();
  }
  [[nodiscard]] Search start(const Root& from, const FlowKey& key, uint64_t generation) const {
    Search search;
#if defined(__x86_64__)
    search.key = shuffles ? from.layout.compact_ssse3(key) : from.layout.compact(key);
#else
    search.key = from.layout.compact(key);
#endif
    search.flow = &key;
    search.generation = generation;
    return search;
  }
  void note_sizes() {
    size.store(root->count(), std::memory_order_relaxed);
    memory.store(sizeof(*this) + root->memory_bytes(), std::memory_order_relaxed);
  }

  Reclaimer& reclaimer;
  const classifier::Candidates candidates = classifier::best_candidates();
#if defined(__x86_64__)
  const bool shuffles = __builtin_cpu_supports("ssse3") != 0;
#endif
  std::atomic<const Root*> current{nullptr};
  // Writer only, but for `size` and `memory`, which anyone may read.
  std::shared_ptr<Root> root;
  std::atomic<size_t> size{0};
  std::atomic<size_t> memory{0};
};

Classifier::Classifier(Reclaimer& reclaimer) : impl_(std::make_unique<Impl>(reclaimer)) {}
Classifier::~Classifier() = default;

Result<void> Classifier::insert(const RuleEntry& entry) {
  Impl& impl = *impl_;
  if (impl.root->count() >= kMaxEntries) {
    return fail("this table is full: it holds " + std::to_string(kMaxEntries) + " rules, the most there can be");
  }
  if (impl.root->memory_bytes() >= kMaxMemoryBytes) {
    return fail("this table's rules use all of its memory (" + std::to_string(kMaxMemoryBytes >> 20) + " MB)");
  }
  if (entry.order.sequence > classifier::kMaxSequence) return fail("the rule's sequence number is too large");
  if (classifier::outgrown(impl.root->count(), impl.root->built())) {
    std::vector<const RuleEntry*> entries;
    impl.root->collect_entries(entries);
    entries.push_back(&entry);
    impl.replace_root(entries);
    return {};
  }
  impl.root->insert(entry);
  impl.after_change();
  return {};
}

void Classifier::remove(const RuleEntry& entry) {
  Impl& impl = *impl_;
  [[maybe_unused]] const bool removed = impl.root->remove(entry);
  assert(removed);
  if (classifier::shrunken(impl.root->count(), impl.root->built())) {
    std::vector<const RuleEntry*> entries;
    impl.root->collect_entries(entries);
    impl.replace_root(entries);
    return;
  }
  impl.after_change();
}

const RuleEntry* Classifier::lookup(const FlowKey& key, uint64_t generation, const Order* after) const {
  const Root& root = *impl_->current.load(std::memory_order_acquire);
  Search search = impl_->start(root, key, generation);
  search.after = after;
  search_slot(root.top, search, impl_->candidates);
  return search.best;
}

void Classifier::lookup_batch(std::span<const FlowKey* const> keys, uint64_t generation,
                              std::span<const RuleEntry*> out) const {
  const Root& root = *impl_->current.load(std::memory_order_acquire);
  std::array<Search, classifier::kBatchMax> searches;
  const size_t count = std::min(keys.size(), searches.size());
  for (size_t i = 0; i < count; ++i) searches[i] = impl_->start(root, *keys[i], generation);
  if (root.small()) {
    for (size_t i = 0; i < count; ++i) search_slot(root.top, searches[i], impl_->candidates);
  } else {
    classifier::Waves waves({searches.data(), count}, impl_->candidates);
    waves.run(root.top);
  }
  for (size_t i = 0; i < count; ++i) out[i] = searches[i].best;
}

size_t Classifier::size() const { return impl_->size.load(std::memory_order_relaxed); }
size_t Classifier::memory_bytes() const { return impl_->memory.load(std::memory_order_relaxed); }

}  // namespace godwit::dataplane
