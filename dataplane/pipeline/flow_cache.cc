// SPDX-License-Identifier: Apache-2.0
#include "dataplane/pipeline/flow_cache.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <memory>

#if defined(__SSE2__)
#include <emmintrin.h>
#endif

namespace godwit::dataplane {

namespace {

// Folds a 128-bit product, as wyhash does (Wang Yi, 2019): each input bit affects the whole result.
uint64_t fold(uint64_t a, uint64_t b) {
  __extension__ using Product = unsigned __int128;
  const Product product = static_cast<Product>(a) * b;
  return static_cast<uint64_t>(product) ^ static_cast<uint64_t>(product >> 64);
}

uint64_t splitmix(uint64_t& state) {  // Steele, Lea, Flood 2014
  uint64_t x = state += 0x9e3779b97f4a7c15ull;
  x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9ull;
  x = (x ^ x >> 27) * 0x94d049bb133111ebull;
  return x ^ x >> 31;
}

constexpr uint8_t kMarks = 0x80;

}  // namespace

FlowPartition::FlowPartition(const ForwardingState& state, EndpointId endpoint,
                             const EndpointEntry& entry, bool egress)
    : id(endpoint.value << 1 | (egress ? 1u : 0u)), changed(entry.changed) {
  std::array<const RuleTable*, 3> tables{};
  if (egress) {
    tables[0] = entry.egress;
  } else {
    tables = {entry.ingress, entry.transfer, state.transfer};
  }
  FlowKey bytes;
  for (const RuleTable* table : tables) {
    if (table == nullptr) continue;
    changed = std::max(changed, table->changed());
    const KeyMask& looked_at = table->looks_at();
    words = static_cast<uint16_t>(words | looked_at.words);
    for (uint16_t left = looked_at.words; left != 0;
         left = static_cast<uint16_t>(left & (left - 1))) {
      const auto w = static_cast<size_t>(std::countr_zero(left));
      bytes.set_word(w, bytes.word(w) | looked_at.bytes.word(w));
    }
  }
  for (uint16_t left = words; left != 0; left = static_cast<uint16_t>(left & (left - 1))) {
    const auto w = static_cast<uint8_t>(std::countr_zero(left));
    index[count] = w;
    mask[count++] = bytes.word(w);
  }
}

template <typename T>
FlowCache::Block<T>::Block(size_t count) {
  if (count == 0) return;
  // A calloc() of this size takes fresh zero pages from the kernel. aligned_alloc() and memset()
  // would touch them.
  memory_.reset(std::calloc(count + 1, sizeof(T)));
  if (memory_ == nullptr) return;
  void* start = memory_.get();
  size_t room = (count + 1) * sizeof(T);
  at_ = static_cast<T*>(std::align(alignof(T), count * sizeof(T), start, room));
}

FlowCache::FlowCache(size_t entries, uint64_t seed) {
  for (uint64_t& word : secret_) word = splitmix(seed) | 1;
  if (entries == 0) return;
  const size_t sets = std::bit_ceil((std::min(entries, kMaxEntries) + kWays - 1) / kWays);
  set_mask_ = sets - 1;
  sets_ = Block<Set>(sets);
  entries_ = Block<Entry>(sets * kWays);
  tails_ = Block<Tail>(sets * kWays);
  enabled_ = sets_ && entries_ && tails_;  // out of memory leaves the cache disabled
}

void FlowCache::prepare(const FlowPartition& partition, const FlowKey& key, Probe& probe) const {
  uint64_t hash = secret_[0] ^ partition.id;
  const size_t count = partition.count;
  size_t i = 0;
  for (; i + 1 < count; i += 2) {
    const uint64_t a = probe.key[i] = key.word(partition.index[i]) & partition.mask[i];
    const uint64_t b = probe.key[i + 1] = key.word(partition.index[i + 1]) & partition.mask[i + 1];
    hash = fold(a ^ secret_[1], b ^ hash);
  }
  if (i < count) {
    const uint64_t a = probe.key[i] = key.word(partition.index[i]) & partition.mask[i];
    hash = fold(a ^ secret_[2], hash);
  }
  probe.hash = fold(hash ^ secret_[3], secret_[1] ^ partition.words);
  probe.partition = partition.id;
  probe.words = partition.words;
  probe.count = partition.count;
}

unsigned FlowCache::matching(const Set& set, uint16_t signature) {
#if defined(__SSE2__)
  const __m128i all = _mm_load_si128(reinterpret_cast<const __m128i*>(set.signature.data()));
  const __m128i same = _mm_cmpeq_epi16(all, _mm_set1_epi16(static_cast<short>(signature)));
  return static_cast<unsigned>(_mm_movemask_epi8(_mm_packs_epi16(same, _mm_setzero_si128())));
#else
  unsigned found = 0;
  for (size_t way = 0; way < kWays; ++way)
    found |= (set.signature[way] == signature ? 1u : 0u) << way;
  return found;
#endif
}

void FlowCache::prefetch_entry(const Probe& probe) const {
  const size_t set = probe.hash & set_mask_;
  const unsigned ways = matching(sets_[set], signature(probe.hash));
  if (ways != 0)
    __builtin_prefetch(&entries_[set * kWays + static_cast<size_t>(std::countr_zero(ways))]);
}

bool FlowCache::same_key(size_t place, const Probe& probe) const {
  const Entry& entry = entries_[place];
  if (entry.partition != probe.partition || entry.words != probe.words) return false;
  const size_t near = std::min<size_t>(probe.count, kShortWords);
  uint64_t differs = 0;
  for (size_t i = 0; i < near; ++i) differs |= entry.key[i] ^ probe.key[i];
  if (differs != 0) return false;
  const Tail& tail = tails_[place];
  for (size_t i = kShortWords; i < probe.count; ++i)
    differs |= tail.key[i - kShortWords] ^ probe.key[i];
  return differs == 0;
}

bool FlowCache::find(const Probe& probe, uint64_t changed, FlowDecision& decision) const {
  const size_t set = probe.hash & set_mask_;
  for (unsigned ways = matching(sets_[set], signature(probe.hash)); ways != 0; ways &= ways - 1) {
    const size_t place = set * kWays + static_cast<size_t>(std::countr_zero(ways));
    if (!same_key(place, probe)) continue;
    const Entry& entry = entries_[place];
    if (entry.generation < changed) return false;
    decision.fate = entry.fate;
    decision.marks = (entry.extra & kMarks) != 0;
    decision.mark = entry.mark;
    const auto many = static_cast<uint8_t>(entry.extra & ~kMarks);
    if (entry.fate == Fate::kProgram) {
      decision.after = static_cast<Fate>(entry.endpoint & 0xff);
      decision.reason = static_cast<Drop>(entry.endpoint >> 8);
      decision.rules = many;
      for (size_t i = 0; i < many; ++i) decision.rule[i] = tails_[place].rule[i];
    } else {
      decision.counters = many;
      decision.counter = entry.counter;
      decision.endpoint = EndpointId{entry.endpoint};
      decision.reason = static_cast<Drop>(entry.endpoint);
    }
    return true;
  }
  return false;
}

// Returns a free way, else one of the owner with the most ways in this set, else one of `owner` if
// nobody has more.
size_t FlowCache::choose_way(Set& set, uint32_t owner) const {
  size_t mine = 0;
  size_t most = 0;
  uint32_t victim = owner;
  for (size_t way = 0; way < kWays; ++way) {
    if (set.signature[way] == 0) return way;
    size_t has = 0;
    for (size_t other = 0; other < kWays; ++other)
      has += set.owner[other] == set.owner[way] ? 1 : 0;
    if (set.owner[way] == owner) mine = has;
    if (has > most) {
      most = has;
      victim = set.owner[way];
    }
  }
  if (mine >= most) victim = owner;
  size_t way = set.hand % kWays;
  while (set.owner[way] != victim) way = (way + 1) % kWays;
  set.hand = static_cast<uint8_t>((way + 1) % kWays);
  return way;
}

void FlowCache::insert(const Probe& probe, const FlowDecision& decision, uint64_t generation,
                       EndpointId owner) {
  const size_t number = probe.hash & set_mask_;
  Set& set = sets_[number];
  size_t way = kWays;
  for (unsigned ways = matching(set, signature(probe.hash)); ways != 0 && way == kWays;
       ways &= ways - 1) {
    const auto candidate = static_cast<size_t>(std::countr_zero(ways));
    if (same_key(number * kWays + candidate, probe)) way = candidate;
  }
  if (way == kWays) way = choose_way(set, owner.value);
  set.signature[way] = signature(probe.hash);
  set.owner[way] = owner.value;

  const size_t place = number * kWays + way;
  Entry& entry = entries_[place];
  entry.generation = generation;
  entry.partition = probe.partition;
  entry.words = probe.words;
  entry.fate = decision.fate;
  for (size_t i = 0; i < probe.count; ++i) {
    if (i < kShortWords) {
      entry.key[i] = probe.key[i];
    } else {
      tails_[place].key[i - kShortWords] = probe.key[i];
    }
  }
  entry.mark = decision.mark;
  if (decision.fate == Fate::kProgram) {
    entry.extra = decision.rules;
    entry.endpoint = static_cast<uint32_t>(decision.after) | static_cast<uint32_t>(decision.reason)
                                                                 << 8;
    for (size_t i = 0; i < decision.rules; ++i) tails_[place].rule[i] = decision.rule[i];
  } else {
    entry.extra = static_cast<uint8_t>(decision.counters | (decision.marks ? kMarks : 0));
    entry.endpoint = decision.fate == Fate::kDrop ? static_cast<uint32_t>(decision.reason)
                                                  : decision.endpoint.value;
    entry.counter = decision.counter;
  }
}

}  // namespace godwit::dataplane
