// SPDX-License-Identifier: Apache-2.0
//
// The flow cache of one worker: an exact-match table of what the rules decided about packets.
//
// Key. A partition is one direction of an endpoint: what it sends (its ingress and transfer rules
// and the shared transfer rules), or what is delivered to it (its egress rules). The key of a
// packet is its flow key reduced to the bytes that the partition's rules look at (KeyMask). The set
// of masks follows from the rules alone, so no traffic can make lookups slower. Packets that any
// rule may tell apart have different keys. If no rule looks at any byte, one entry serves all
// packets.
//
// Value. An entry holds the outcome of the whole walk over the rules: the rules that were hit, to
// be counted, and the fate. `normal` is stored as such: the FDB and the pinned addresses are looked
// up for each packet.
//
// Soundness. An entry carries the generation of the burst that made it. It is used only if none of
// its partitions has changed since, that is, if FlowPartition::changed of the reading burst's state
// is not newer. This is checked before anything that the entry points to is read. A rule that an
// entry points to was visible at the entry's generation. When the rule is destroyed or detached,
// its table or endpoint records the first generation that no longer shows it. The rule is freed a
// grace period later at the earliest, and every burst that begins by then loads a state of that
// generation or a later one, so it refuses the entry without reading the rule. The same holds for
// counters and endpoint ids that are reused. A mask that has changed meanwhile does no harm: both
// the entry's mask and the reader's cover all rules visible to the reader (RuleTable::looks_at), so
// keys that are equal under each mask are equal in every byte that those rules look at.
//
// Layout. Sets of 8 ways. A set's cache line holds a 16-bit signature and the owner of each way. An
// entry's line holds up to four key words and the decision, so a hit touches two lines. Wider keys
// and longer decisions use a third and a fourth. The hash is keyed by a secret seed, so that no
// sender can choose flows that fall into one set.
//
// Fairness. A new entry replaces only one of its own owner (the endpoint that sent the packets), or
// one of the owner with the most ways in that set. An endpoint that floods new flows therefore
// competes with itself.
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
  kDrop,    // for `reason`
  kOutput,  // to `endpoint`
  kNormal,
  kDeliver,  // egress rules: the packet passes
  kProgram,  // run the rules' actions one by one, then `after`
};

// The outcome of a walk over the rules.
struct FlowDecision {
  static constexpr size_t kMaxRules = 6;
  static constexpr size_t kMaxCounters = 2;

  Fate fate = Fate::kInvalid;
  Fate after = Fate::kInvalid;    // kProgram: the fate if no rule of the program seals the packet
  Drop reason = Drop::k_no_rule;  // if `fate` or `after` is kDrop
  bool marks = false;
  uint8_t counters = 0;  // length of `counter`; 0 with kProgram
  uint8_t rules = 0;     // length of `rule`; 0 without kProgram
  uint32_t mark = 0;
  EndpointId endpoint;
  std::array<CounterId, kMaxCounters> counter;
  std::array<const RuleEntry*, kMaxRules> rule;
};

// A partition as a burst sees it.
struct FlowPartition {
  uint32_t id = 0;                           // endpoint << 1 | egress
  uint64_t changed = 0;                      // the generation of its last change
  uint16_t words = 0;                        // bit i is set if rules look at word i of the key
  uint8_t count = 0;                         // number of those words; length of `index` and `mask`
  std::array<uint8_t, kFlowKeyWords> index;  // their positions in the key
  std::array<uint64_t, kFlowKeyWords> mask;  // the bits that rules look at

  FlowPartition() = default;
  // Makes the partition of what `endpoint` sends, or receives if `egress` is set.
  FlowPartition(const ForwardingState& state, EndpointId endpoint, const EndpointEntry& entry,
                bool egress);
};

class FlowCache {
 public:
  static constexpr size_t kDefaultEntries = 65536;
  static constexpr size_t kMaxEntries = size_t{1} << 24;

  // `entries` is rounded up to a power of two; 0 disables the cache. `seed` is a secret random
  // number.
  FlowCache(size_t entries, uint64_t seed);
  FlowCache(const FlowCache&) = delete;
  FlowCache& operator=(const FlowCache&) = delete;

  // The key of a packet in a partition, and its hash.
  struct Probe {
    uint64_t hash = 0;
    uint32_t partition = 0;
    uint16_t words = 0;  // as in FlowPartition
    uint8_t count = 0;   // length of `key`
    std::array<uint64_t, kFlowKeyWords> key;
  };

  [[nodiscard]] bool enabled() const { return enabled_; }
  void prepare(const FlowPartition& partition, const FlowKey& key, Probe& probe) const;
  void prefetch_set(const Probe& probe) const {
    __builtin_prefetch(&sets_[probe.hash & set_mask_]);
  }
  // Prefetches the entry that probably holds the key. Reads the set, so prefetch that first.
  void prefetch_entry(const Probe& probe) const;
  // Looks up the probe. Returns false if there is no entry, or one older than `changed`, the
  // partition's last change.
  [[nodiscard]] bool find(const Probe& probe, uint64_t changed, FlowDecision& decision) const;
  // Stores a decision made at `generation` for a packet that endpoint `owner` sent.
  void insert(const Probe& probe, const FlowDecision& decision, uint64_t generation,
              EndpointId owner);

  [[nodiscard]] size_t capacity() const { return enabled() ? (set_mask_ + 1) * kWays : 0; }

 private:
  static constexpr size_t kWays = 8;
  static constexpr size_t kShortWords = 4;

  struct alignas(64) Set {
    std::array<uint16_t, kWays> signature;  // 0 if the way is free
    std::array<uint32_t, kWays> owner;
    uint8_t hand;
  };
  struct alignas(64) Entry {
    uint64_t generation;
    uint32_t partition;
    uint16_t words;
    Fate fate;
    uint8_t extra;  // number of counters or rules; bit 7 is set if it marks
    std::array<uint64_t, kShortWords> key;
    uint32_t endpoint;  // kDrop: reason; kProgram: after, reason << 8
    uint32_t mark;
    std::array<CounterId, FlowDecision::kMaxCounters> counter;
  };
  // The rest of an entry that does not fit in one line.
  struct alignas(64) Tail {
    std::array<uint64_t, kFlowKeyWords - kShortWords> key;
    std::array<const RuleEntry*, FlowDecision::kMaxRules> rule;
  };
  static_assert(sizeof(Set) == 64 && sizeof(Entry) == 64 && sizeof(Tail) == 128);

  // Zeroed memory that is not touched before use. Unused pages cost address space only.
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
