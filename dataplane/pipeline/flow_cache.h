// SPDX-License-Identifier: Apache-2.0
//
// The flow cache of one worker: what the rules decided about a packet, found again by an exact
// match.
//
// Key. A partition is one direction of an endpoint: what it sends (its ingress and transfer rules
// and the shared ones), or what is delivered to it (its egress rules). Of a packet's flow key those
// bytes count that the partition's rules look at (KeyMask): the set of masks follows from rules
// only, so that no traffic can make lookups slower, and a packet is told from another by everything
// that a rule may match. Where no rule looks at anything there is one entry for all packets.
//
// What is kept is the outcome of the whole walk over the rules: those that were hit, to be counted,
// and what happens then. `normal` is kept as "normal": FDB and pinned addresses are asked each
// time.
//
// Soundness. An entry bears the generation of the burst that made it. It is used only if none of
// its partitions changed since (FlowPartition::changed at the state of the burst that asks); this
// is looked at before anything that the entry points to. A rule that an entry points to was visible
// at the entry's generation. When the rule is destroyed or detached its table or endpoint says so
// with the generation that no longer shows it, it is freed at the earliest a grace period after,
// and each burst that begins then loads a state of that generation or a later one: the entry is
// refused without a look at the rule. The same holds for counters and endpoint ids that are given
// out again. A mask that has changed since does no harm. Both the entry's and the asker's cover all
// rules visible to the asker (RuleTable::looks_at), so keys that are equal as each mask leaves them
// are equal in all that those rules look at.
//
// Shape. Sets of 8 ways; a set's line has a 16-bit signature and the owner of each way; an entry's
// line has up to four key words and the decision, so that a hit touches two lines; wider keys and
// longer decisions have a third and a fourth. The hash is keyed by a seed that nobody else knows,
// so that flows cannot be chosen to fall into one set.
//
// Share. An entry gives way only to one of its own owner (the endpoint that sent the packets), or
// to one of an owner that has fewer ways in that set. So an endpoint that floods new flows fights
// with itself.
//
// Thread safety: belongs to one worker.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <memory>

#include "base/ids.h"
#include "dataplane/classifier/classifier.h"
#include "dataplane/packet/drop.h"
#include "dataplane/packet/flow_key.h"
#include "dataplane/state/forwarding_state.h"

namespace godwit::dataplane {

enum class Fate : uint8_t {
  kInvalid = 0,
  kDrop,    // reason
  kOutput,  // endpoint
  kNormal,
  kDeliver,  // egress rules: it may pass
  kProgram,  // run the rules' actions one by one, then `after`
};

// What a walk over the rules decided.
struct FlowDecision {
  static constexpr size_t kMaxRules = 6;
  static constexpr size_t kMaxCounters = 2;

  Fate fate = Fate::kInvalid;
  Fate after = Fate::kInvalid;    // kProgram: what follows if no rule sealed it
  Drop reason = Drop::k_no_rule;  // of fate or after kDrop
  bool marks = false;
  uint8_t counters = 0;  // all but kProgram: rules to count
  uint8_t rules = 0;     // kProgram
  uint32_t mark = 0;
  EndpointId endpoint;
  std::array<CounterId, kMaxCounters> counter;
  std::array<const RuleEntry*, kMaxRules> rule;  // kProgram: `rules` of them
};

// A partition as a burst sees it.
struct FlowPartition {
  uint32_t id = 0;                           // endpoint << 1 | egress
  uint64_t changed = 0;                      // generation
  uint16_t words = 0;                        // bit i: word i of the key counts
  uint8_t count = 0;                         // how many those are
  std::array<uint8_t, kFlowKeyWords> index;  // which
  std::array<uint64_t, kFlowKeyWords> mask;  // what of each

  FlowPartition() = default;
  // What `endpoint` sends (egress false) or receives.
  FlowPartition(const ForwardingState& state, EndpointId endpoint, const EndpointEntry& entry,
                bool egress);
};

class FlowCache {
 public:
  static constexpr size_t kDefaultEntries = 65536;
  static constexpr size_t kMaxEntries = size_t{1} << 24;

  // entries: rounded up to a power of two; 0: nothing is ever found. seed: secret, from a good
  // source of chance.
  FlowCache(size_t entries, uint64_t seed);
  FlowCache(const FlowCache&) = delete;
  FlowCache& operator=(const FlowCache&) = delete;

  // A packet's place: its key as the partition sees it.
  struct Probe {
    uint64_t hash = 0;
    uint32_t partition = 0;
    uint16_t words = 0;  // as FlowPartition's
    uint8_t count = 0;
    std::array<uint64_t, kFlowKeyWords> key;  // `count` of them
  };

  [[nodiscard]] bool enabled() const { return enabled_; }
  void prepare(const FlowPartition& partition, const FlowKey& key, Probe& probe) const;
  void prefetch_set(const Probe& probe) const {
    __builtin_prefetch(&sets_[probe.hash & set_mask_]);
  }
  // The line of the entry that is likely to be it.
  void prefetch_entry(const Probe& probe) const;
  // False: not known, or older than `changed`, the partition's last change.
  [[nodiscard]] bool find(const Probe& probe, uint64_t changed, FlowDecision& decision) const;
  // `generation`: of the state that the decision was made by. `owner`: whose packet it was.
  void insert(const Probe& probe, const FlowDecision& decision, uint64_t generation,
              EndpointId owner);

  [[nodiscard]] size_t capacity() const { return enabled() ? (set_mask_ + 1) * kWays : 0; }

 private:
  static constexpr size_t kWays = 8;
  static constexpr size_t kShortWords = 4;

  struct alignas(64) Set {
    std::array<uint16_t, kWays> signature;  // 0 = free
    std::array<uint32_t, kWays> owner;
    uint8_t hand;
  };
  struct alignas(64) Entry {
    uint64_t generation;
    uint32_t partition;
    uint16_t words;
    Fate fate;
    uint8_t extra;  // counters or rules; bit 7: marks
    std::array<uint64_t, kShortWords> key;
    uint32_t endpoint;  // kDrop: reason; kProgram: after, reason << 8
    uint32_t mark;
    std::array<CounterId, FlowDecision::kMaxCounters> counter;
  };
  // What an entry's line has no room for.
  struct alignas(64) Tail {
    std::array<uint64_t, kFlowKeyWords - kShortWords> key;
    std::array<const RuleEntry*, FlowDecision::kMaxRules> rule;
  };
  static_assert(sizeof(Set) == 64 && sizeof(Entry) == 64 && sizeof(Tail) == 128);

  // Zeroed memory that is not touched before it is used: what is not, costs address space only.
  template <typename T>
  class Block {
   public:
    explicit Block(size_t count = 0);
    explicit operator bool() const { return at_ != nullptr; }
    [[nodiscard]] T& operator[](size_t i) const { return at_[i]; }

   private:
    struct Release {
      void operator()(void* memory) const { std::free(memory); }
    };
    std::unique_ptr<void, Release> memory_;
    T* at_ = nullptr;
  };

  [[nodiscard]] static uint16_t signature(uint64_t hash) {
    return static_cast<uint16_t>(hash >> 48 | 1);
  }
  [[nodiscard]] static unsigned matching(const Set& set, uint16_t signature);
  [[nodiscard]] bool same_key(size_t place, const Probe& probe) const;
  [[nodiscard]] size_t choose_way(Set& set, uint32_t owner) const;

  bool enabled_ = false;
  size_t set_mask_ = 0;
  std::array<uint64_t, 4> secret_{};
  Block<Set> sets_;
  Block<Entry> entries_;
  Block<Tail> tails_;
};

}  // namespace godwit::dataplane
