// SPDX-License-Identifier: Apache-2.0
//
// The forwarding state: everything a worker needs to decide about a packet, behind one pointer.
//
// A worker loads the pointer once a burst (StateCell::load, one acquire load) and uses what it saw
// for the whole burst. The control thread never changes what is published: it builds what is new
// aside and publishes a new ForwardingState with one release store; the old one is retired. Two
// things behind the pointer do change in place, and are made for it: the classifiers (rules visible
// by generation) and the counters (one cell per worker).
//
// Shared parts (endpoint table, ports, pinned addresses) are reused by the next state when nothing
// in them changed, so a change of rules alone allocates this small header and no more.
//
// What was decided about a packet stays true until one of the partitions that were looked at
// changes. So each says when it last did, as a generation: RuleTable::changed() for its rules,
// EndpointEntry::changed for which tables an endpoint has and what a miss means. Both are written
// before the store that publishes that generation. A worker that already sees a number of the
// generation to come takes its decision for outdated, which costs a lookup and no more.
#pragma once

#include <array>
#include <atomic>
#include <bitset>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "base/ids.h"
#include "base/net.h"
#include "base/rcu.h"
#include "dataplane/classifier/classifier.h"

namespace godwit::dataplane {

enum class EndpointKind : uint8_t { kInvalid = 0, kVm, kUplink };

enum class LocationKind : uint8_t {
  kNone = 0,
  kPort,    // a port of this switch
  kUplink,  // on another host, behind an uplink
  kParked,  // held, in order, until a later location releases it. With a port: what a peer
            // redirects goes to the port, ahead of what is parked.
  kRedirect,  // handed to the control thread for the peers' session
};

// Where an endpoint is today.
struct Location {
  LocationKind kind = LocationKind::kNone;
  PortId port;        // kPort, and kParked at a destination
  EndpointId uplink;  // kUplink: the uplink's endpoint
  // kUplink, at the source of a move: what an uplink still brings for it takes the peers' session,
  // since it cannot go back out by an uplink.
  bool redirect_late = false;
  // Not 0, at the destination of a move: frames that were flooded come twice, directly and
  // redirected. The second copy is dropped. A number not used by this endpoint's earlier moves.
  uint16_t dedupe = 0;
  // kPort, at the destination of a move: what the fabric brings to it alone waits, and what comes
  // behind that. Older frames of the same senders went to the host it left, and are still on their
  // way from there.
  bool fence = false;
  bool operator==(const Location&) const = default;
};

enum class MissPolicy : uint8_t { kNormal = 0, kDrop = 1 };

// Which bytes of a flow key the rules of a table look at: 0xff where one does. Depends on rules
// only, never on packets.
struct KeyMask {
  FlowKey bytes;
  uint16_t words = 0;  // bit i: word i of `bytes` is not zero
};
static_assert(kFlowKeyWords <= 16);

// The rules of one partition (an endpoint's direction, or the shared transfer rules), one
// classifier a group. Written by the control thread in place; groups are found in a small sorted
// array that is replaced when a group appears (RCU).
class RuleTable {
 public:
  explicit RuleTable(Reclaimer& reclaimer, HashKeySource keys = random_hash_key);
  ~RuleTable();
  RuleTable(const RuleTable&) = delete;
  RuleTable& operator=(const RuleTable&) = delete;

  // Readers. The classifier of a group, or nullptr.
  [[nodiscard]] const Classifier* group(uint32_t number) const {
    if (number == 0) return root_.load(std::memory_order_acquire);
    const Groups* groups = groups_.load(std::memory_order_acquire);
    for (const auto& [id, classifier] : *groups) {
      if (id == number) return classifier;
    }
    return nullptr;
  }

  // The generation at which a rule in here last came into force or ceased to be.
  [[nodiscard]] uint64_t changed() const { return changed_.load(std::memory_order_relaxed); }
  // Covers every rule that is visible at a state that the reader holds: a rule is in the table
  // before it is published, and leaves it a grace period after.
  [[nodiscard]] const KeyMask& looks_at() const { return *mask_.load(std::memory_order_acquire); }

  // Writer.
  Result<void> insert(const RuleEntry& entry);
  // All of them or none. Much cheaper than one by one; for tables that are built aside.
  Result<void> insert_all(std::span<const RuleEntry* const> entries);
  void remove(const RuleEntry& entry);
  // Before the store that publishes `generation`.
  void note_change(uint64_t generation) { changed_.store(generation, std::memory_order_relaxed); }
  [[nodiscard]] size_t size() const { return size_; }
  [[nodiscard]] size_t memory_bytes() const;

 private:
  using Groups = std::vector<std::pair<uint32_t, const Classifier*>>;
  void link(uint32_t group, std::unique_ptr<Classifier> made);
  void count_bytes(const Match& match, bool more);

  Reclaimer& reclaimer_;
  HashKeySource keys_;
  std::map<uint32_t, std::unique_ptr<Classifier>> owned_;
  std::atomic<const Classifier*> root_{nullptr};
  std::atomic<const Groups*> groups_;
  std::atomic<const KeyMask*> mask_;
  std::atomic<uint64_t> changed_{0};
  std::array<uint32_t, kFlowKeyBytes> looked_at_{};  // by how many rules, for each byte
  size_t size_ = 0;
};

using VlanSet = std::bitset<4096>;

// One endpoint as workers see it.
struct EndpointEntry {
  EndpointKind kind = EndpointKind::kInvalid;  // kInvalid: a free place in the table
  // Its policy is in place and its port may be polled. What is sent *to* it follows its location
  // either way.
  bool active = false;
  MissPolicy miss = MissPolicy::kNormal;
  Location location;
  const RuleTable* ingress = nullptr;  // nullptr: none
  const RuleTable* egress = nullptr;
  const RuleTable* transfer = nullptr;  // transfer rules that name it as origin
  const VlanSet* vlans = nullptr;       // nullptr: all
  CounterId sent;                       // packets accepted from it
  CounterId received;                   // packets delivered to it or sent towards it
  uint64_t changed =
      0;  // the generation at which its kind, miss policy or one of its tables last became another
};

// Whose port this is: also while it is staged, and its location still leads elsewhere.
struct PortBinding {
  EndpointId endpoint;
};

// Frames for (VLAN, MAC) of a profile go to its endpoint, whatever was learned. Key: vlan << 48 |
// MAC.
using PinnedTable = std::unordered_map<uint64_t, EndpointId>;
inline constexpr uint16_t kAnyVlan =
    0xfff;  // reserved on the wire (802.1Q), here: an endpoint that hears all VLANs
[[nodiscard]] constexpr uint64_t pinned_key(uint16_t vlan, const MacAddress& mac) {
  return static_cast<uint64_t>(vlan) << 48 | mac.to_u64();
}

struct ForwardingState {
  uint64_t generation = 0;
  uint64_t places_changed =
      0;  // the generation that last made `endpoints`, `ports`, `pinned` and `flood` anew
  const std::vector<EndpointEntry>* endpoints = nullptr;  // by EndpointId
  const std::vector<PortBinding>* ports = nullptr;        // by PortId
  const PinnedTable* pinned = nullptr;
  const std::vector<EndpointId>* flood =
      nullptr;                          // active or parked here, and the uplinks: who hears a flood
  const RuleTable* transfer = nullptr;  // transfer rules that name no origin; never nullptr

  [[nodiscard]] const EndpointEntry* endpoint(EndpointId id) const {
    return id.value < endpoints->size() ? &(*endpoints)[id.value] : nullptr;
  }
  // Whose port this is; an invalid id: nobody's.
  [[nodiscard]] EndpointId owner(PortId port) const {
    return port.value < ports->size() ? (*ports)[port.value].endpoint : EndpointId{};
  }
  // May a worker poll this port? Only when it belongs to an active endpoint.
  [[nodiscard]] bool polled(PortId port) const {
    const EndpointEntry* entry = endpoint(owner(port));
    return entry != nullptr && entry->active;
  }
};

// The one pointer.
class StateCell {
 public:
  [[nodiscard]] const ForwardingState* load() const {
    return state_.load(std::memory_order_acquire);
  }
  // Control thread. Returns the state that was there, to be retired.
  const ForwardingState* publish(const ForwardingState* next) {
    const ForwardingState* old = state_.exchange(next, std::memory_order_acq_rel);
    if (published_) published_();
    return old;
  }
  // Control thread. Called after each publication: wakes workers that sleep. Empty: nothing.
  void on_publish(std::function<void()> published) { published_ = std::move(published); }

 private:
  alignas(64) std::atomic<const ForwardingState*> state_{nullptr};
  alignas(64) std::function<void()> published_;  // the control thread's
};

}  // namespace godwit::dataplane
