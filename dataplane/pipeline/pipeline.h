// SPDX-License-Identifier: Apache-2.0
//
// The life of a packet between rx burst and tx burst, for one worker (ARCHITECTURE.md has the
// walk):
//
//   parse -> ingress and transfer tables -> actions -> endpoint -> location -> egress table ->
//   output batch
//
// A burst goes through in stages, each for all of its packets, so that the memory that the next one
// needs is on its way meanwhile: parse all; make all keys; find all in the flow cache
// (flow_cache.h); look up in the rules, in one batch, what was not there; the same for the egress
// tables that are already known to be needed; then act, packet by packet, in the order they came.
//
// Every packet that enters leaves by exactly one of: the output batch, a park, the redirect, a
// named drop. Copies (floods, several outputs) count from their making.
//
// Thread safety: a Pipeline belongs to one worker. Its counts may be read by the control thread at
// any time.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "base/ids.h"
#include "dataplane/packet/drop.h"
#include "dataplane/packet/packet.h"
#include "dataplane/packet/parse.h"
#include "dataplane/pipeline/flow_cache.h"
#include "dataplane/pipeline/group_dedupe.h"
#include "dataplane/pipeline/parking.h"
#include "dataplane/state/counter_bank.h"
#include "dataplane/state/fdb.h"
#include "dataplane/state/forwarding_state.h"

namespace godwit::dataplane {

inline constexpr size_t kBurst = 32;
inline constexpr size_t kMaxPorts = 2048;  // PortIds are below this

// A packet that goes out by a port. The receiver of the batch owns the packets.
struct Output {
  Packet* packet = nullptr;
  PortId port;
  PortId origin;  // the port it came in by; invalid for injected ones
};

// What the worker offers its pipeline. Calls are for batches, or rare.
class PipelineHost {
 public:
  virtual ~PipelineHost() = default;
  // A deep copy with headroom, for floods; nullptr: no buffer free.
  virtual Packet* clone(const Packet& packet) = 0;
  virtual void free(std::span<Packet* const> packets) = 0;
  // Takes all; drops on the way out (queue full, port gone, too big) are the receiver's to count.
  virtual void transmit(std::span<const Output> outputs) = 0;
  // It can be parked: enough buffers are left for others.
  virtual bool may_wait(const Packet&) { return true; }
  // Hands a packet for `endpoint` to the control thread; false: full, the caller keeps it.
  virtual bool redirect(EndpointId endpoint, Packet* packet) = 0;
  // Shows the control thread a RARP frame that came in by an uplink (a copy; the packet goes on).
  virtual void punt(EndpointId uplink, const Packet& packet) = 0;
};

// Per-port counts of one worker, read by control.
struct PortCounts {
  std::array<std::atomic<uint64_t>, kDropCount> drops{};
};

struct PipelineCounts {
  std::atomic<uint64_t> unpoliced{
      0};  // forwarded for a VM whose policy was not in place: must stay 0
  std::atomic<uint64_t> parked{0};
  std::atomic<uint64_t> unparked{0};
  std::atomic<uint64_t> redirected{0};
  std::atomic<uint64_t> injected{0};
  std::atomic<uint64_t> cache_hits{0};    // walks over rules that the flow cache saved
  std::atomic<uint64_t> cache_misses{0};  // walks that were done
};

struct FlowCacheOptions {
  size_t entries = FlowCache::kDefaultEntries;  // 0: no cache
  uint64_t seed = 0;
};

class Pipeline {
 public:
  Pipeline(WorkerId worker, PipelineHost& host, Fdb& fdb, CounterBank& counters,
           GroupDedupe& dedupe, ParkLimits park_limits, FlowCacheOptions cache = {});
  ~Pipeline();

  // An rx burst of one port, at most kBurst packets, all owned by the pipeline from here on. now_s:
  // for the FDB.
  void process(const ForwardingState& state, PortId in, std::span<Packet* const> packets,
               uint32_t now_s);
  // Packets for `endpoint` that a peer redirected: delivered to its port, ahead of what is parked
  // for it. Their rules before "endpoint -> location" ran on the peer.
  void inject(const ForwardingState& state, EndpointId endpoint, std::span<Packet* const> packets);
  // A frame of the switch's own making, out by an uplink's or an endpoint's location
  // (announcements).
  void emit(const ForwardingState& state, EndpointId to, std::span<Packet* const> packets);
  // Lets go what is parked for endpoints that can receive now. Call each loop when holding() is
  // true.
  void drain(const ForwardingState& state);
  [[nodiscard]] bool holding() const { return !parking_.empty(); }

  void count_drop(PortId origin, Drop reason, uint64_t packets = 1);
  [[nodiscard]] uint64_t drops(PortId port, Drop reason) const;
  [[nodiscard]] const PipelineCounts& counts() const { return counts_; }
  [[nodiscard]] const Parking& parking() const { return parking_; }
  // Cycles ever spent on rules for packets that the flow cache did not know.
  [[nodiscard]] uint64_t miss_cycles() const { return miss_cycles_; }

 private:
  static constexpr size_t kOutputBatch = 256;
  struct Walk;    // one packet on its way
  struct Record;  // what rules it hit
  struct Burst;
  // Counts of this call, added up before they go to the counter bank; by the id's low bits.
  struct Tally {
    CounterId id;
    uint64_t packets = 0;
    uint64_t bytes = 0;
  };
  enum class Step : uint8_t { kSealed, kNextRule, kJump };

  // pipeline.cc
  size_t admit(const ForwardingState& state, PortId in, EndpointId origin,
               const EndpointEntry& entry, std::span<Packet* const> packets, uint32_t now_s);
  void find_decisions(const ForwardingState& state, EndpointId origin, const EndpointEntry& entry,
                      size_t count);
  void find_first_rules(const EndpointEntry& entry, size_t count);
  void prefetch_egress(size_t count);
  void find_route(const Walk& walk, EndpointId to);
  void act(Walk& walk, const FlowDecision& decision);

  // pipeline_rules.cc
  void walk_and_act(Walk& walk, Record& record);
  Step run_program(Walk& walk, const RuleEntry& rule, uint32_t& group);
  Step run_ops(Walk& walk, const RuleEntry& rule, uint32_t& group);
  void send_by(Walk& walk, const Op& op, bool last);
  bool egress(Walk& walk, EndpointId id, const EndpointEntry& receiver, Packet* packet);
  bool egress_decided(Walk& walk, const FlowDecision& decision);
  bool egress_walk(Walk& walk, const EndpointEntry& receiver, Record& record);
  Step egress_rule(Walk& walk, const RuleEntry& rule, uint32_t& group, bool& deliver);
  const FlowPartition& egress_partition(const ForwardingState& state, EndpointId id,
                                        const EndpointEntry& receiver);
  void remember(const FlowCache::Probe& probe, const Record& record, const Walk& walk,
                EndpointId owner);

  void normal(Walk& walk);
  void flood(Walk& walk, uint16_t vlan, EndpointId source_owner);
  void send_copy(Walk& walk, EndpointId to);
  void to_endpoint(Walk& walk, EndpointId to, Packet* packet);
  void deliver(Walk& walk, EndpointId to, const EndpointEntry& entry, Packet* packet);
  void output(Packet* packet, PortId port, PortId origin) {
    outputs_[output_count_++] = {packet, port, origin};
    if (output_count_ == kOutputBatch) flush();
  }
  void drop(Packet* packet, PortId origin, Drop reason);
  // How a frame came to the destination of a move.
  enum class CopyWay : uint8_t { kLocal, kFabric, kSession };
  bool second_copy(EndpointId to, const EndpointEntry& entry, Packet& packet, CopyWay way);
  void park(Walk& walk, EndpointId to, Packet* packet);
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
  Parking parking_;
  FlowCache cache_;
  std::unique_ptr<Burst> burst_;
  uint64_t miss_cycles_ = 0;
  std::array<Tally, 8> tallies_;
  std::array<Output, kOutputBatch> outputs_;
  size_t output_count_ = 0;
  std::vector<Packet*> garbage_;
  std::unique_ptr<std::atomic<PortCounts*>[]> port_counts_;  // by PortId; the last one: no port
  PipelineCounts counts_;
};

}  // namespace godwit::dataplane
