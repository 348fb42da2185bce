// SPDX-License-Identifier: Apache-2.0
//
// The life of a packet between rx burst and tx batch, for one worker (ARCHITECTURE.md follows one):
//
//   parse -> ingress and transfer tables -> actions -> endpoint -> location -> egress table ->
//   output batch
//
// A burst passes through stages, each run for all of its packets, so that the memory that the next
// stage needs is prefetched meanwhile. The stages: parse all packets; make all keys; look up all in
// the flow cache (flow_cache.h); look up the misses in the rules, in one batch; do the same for the
// egress tables already known to be needed. Then the packets are acted on one by one, in the order
// they came in.
//
// Invariant: every packet that enters leaves by exactly one of the output batch, a park, the
// redirect, and a named drop. A copy (flood, several outputs) counts as a packet of its own.
//
// Thread safety: a Pipeline belongs to one worker. Any thread may read its counts.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "base/ids.h"
#include "dataplane/packet/drop.h"
#include "dataplane/packet/packet.h"
#include "dataplane/pipeline/drop_counters.h"
#include "dataplane/pipeline/flow_cache.h"
#include "dataplane/pipeline/group_dedupe.h"
#include "dataplane/pipeline/parking.h"
#include "dataplane/pipeline/pipeline_host.h"
#include "dataplane/pipeline/pipeline_limits.h"
#include "dataplane/state/counter_bank.h"
#include "dataplane/state/fdb.h"
#include "dataplane/state/forwarding_state.h"

namespace godwit::dataplane {

struct Burst;
struct Walk;
struct WalkRecord;

struct PipelineCounts {
  // Packets forwarded for a VM whose policy was not in place. Stays 0 unless there is a defect.
  std::atomic<uint64_t> unpoliced{0};
  std::atomic<uint64_t> parked{0};
  std::atomic<uint64_t> unparked{0};
  std::atomic<uint64_t> redirected{0};
  std::atomic<uint64_t> injected{0};
  std::atomic<uint64_t> cache_hits{0};    // rule walks that the flow cache saved
  std::atomic<uint64_t> cache_misses{0};  // rule walks
};

struct FlowCacheOptions {
  size_t entries = FlowCache::kDefaultEntries;  // 0 disables the cache
  uint64_t seed = 0;
};

class Pipeline {
 public:
  Pipeline(WorkerId worker, PipelineHost& host, Fdb& fdb, CounterBank& counters,
           GroupDedupe& dedupe, DropCounters& drops, ParkLimits park_limits,
           FlowCacheOptions cache = {});
  ~Pipeline();

  // Forwards an rx burst of one port, at most kBurst packets. Takes the packets. `now_s` is the
  // FDB's time.
  void process(const ForwardingState& state, PortId in, std::span<Packet* const> packets,
               uint32_t now_s);
  // Delivers packets for `endpoint` that a peer redirected, ahead of packets parked for it. The
  // peer has run their rules up to "endpoint -> location".
  void inject(const ForwardingState& state, EndpointId endpoint, std::span<Packet* const> packets);
  // Sends frames made by the switch (announcements) to the location of an uplink or endpoint.
  void emit(const ForwardingState& state, EndpointId to, std::span<Packet* const> packets);
  // Releases packets parked for endpoints that can receive now. Called in each loop while
  // holding().
  void drain(const ForwardingState& state);
  [[nodiscard]] bool holding() const { return !parking_.empty(); }

  [[nodiscard]] const PipelineCounts& counts() const { return counts_; }
  [[nodiscard]] const Parking& parking() const { return parking_; }
  // Returns the cycles spent so far on rule walks for packets that the flow cache did not know.
  [[nodiscard]] uint64_t miss_cycles() const { return miss_cycles_; }

 private:
  static constexpr size_t kOutputBatch = 256;
  // Counts of this call, summed up before they are added to the counter bank. By the id's low bits.
  struct Tally {
    CounterId id;
    uint64_t packets = 0;
    uint64_t bytes = 0;
  };
  // The result of running one rule: the packet's fate is decided, or the walk continues with the
  // next rule or in another group.
  enum class Step : uint8_t { kSealed, kNextRule, kJump };
  // The way by which a frame came to the destination of a move.
  enum class CopyWay : uint8_t { kLocal, kFabric, kPeer };

  // pipeline.cc
  size_t admit(const ForwardingState& state, PortId in, EndpointId origin,
               const EndpointEntry& entry, std::span<Packet* const> packets, uint32_t now_s);
  void find_decisions(const ForwardingState& state, EndpointId origin, const EndpointEntry& entry,
                      size_t count);
  void find_first_rules(const EndpointEntry& entry, size_t count);
  void prefetch_egress(size_t count);
  void find_straight_path(const Walk& walk, EndpointId to);
  void act(Walk& walk, const FlowDecision& decision);
  void normal(Walk& walk);
  void flood(Walk& walk, uint16_t vlan, EndpointId source_owner);
  void send_copy(Walk& walk, EndpointId to);
  void to_endpoint(Walk& walk, EndpointId to, Packet* packet);
  void deliver(Walk& walk, EndpointId to, const EndpointEntry& receiver, const EndpointEntry& exit,
               Packet* packet);
  bool second_copy(EndpointId to, const EndpointEntry& entry, Packet& packet, CopyWay way);
  void park(Walk& walk, EndpointId to, Packet* packet);
  void drop(Packet* packet, PortId origin, Drop reason);

  // rule_walk.cc
  void walk_and_act(Walk& walk, WalkRecord& record);
  Step run_program(Walk& walk, const RuleEntry& rule, uint32_t& group);
  Step run_ops(Walk& walk, const RuleEntry& rule, uint32_t& group);
  void send_by(Walk& walk, const Op& op, bool last);
  bool egress(Walk& walk, EndpointId id, const EndpointEntry& receiver, Packet* packet);
  bool egress_decided(Walk& walk, const FlowDecision& decision);
  bool egress_walk(Walk& walk, const EndpointEntry& receiver, WalkRecord& record);
  Step egress_rule(Walk& walk, const RuleEntry& rule, uint32_t& group, bool& deliver);
  const FlowPartition& egress_partition(const ForwardingState& state, EndpointId id,
                                        const EndpointEntry& receiver);
  void remember(const FlowCache::Probe& probe, const WalkRecord& record, const Walk& walk,
                EndpointId owner);

  void output(Packet* packet, PortId port, PortId origin) {
    outputs_[output_count_++] = {packet, port, origin};
    if (output_count_ == kOutputBatch) flush();
  }
  void count(CounterId id, uint64_t packets, uint64_t bytes) {
    Tally& tally = tallies_[id.value % tallies_.size()];
    if (tally.id != id) begin_tally(tally, id);
    tally.packets += packets;
    tally.bytes += bytes;
  }
  void begin_tally(Tally& tally, CounterId id);
  void flush();

  const WorkerId worker_;
  PipelineHost& host_;
  Fdb& fdb_;
  CounterBank& counters_;
  GroupDedupe& dedupe_;
  DropCounters& drops_;
  Parking parking_;
  FlowCache cache_;
  std::unique_ptr<Burst> burst_;
  uint64_t miss_cycles_ = 0;
  std::array<Tally, 8> tallies_;
  std::array<Output, kOutputBatch> outputs_;
  size_t output_count_ = 0;
  std::vector<Packet*> garbage_;
  PipelineCounts counts_;
};

}  // namespace godwit::dataplane
