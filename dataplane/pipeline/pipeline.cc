// SPDX-License-Identifier: Apache-2.0
#include "dataplane/pipeline/pipeline.h"

#include <algorithm>
#include <cassert>

#include "base/clock.h"
#include "base/single_writer.h"
#include "dataplane/packet/checksum.h"
#include "dataplane/pipeline/burst.h"
#include "dataplane/pipeline/route.h"
#include "dataplane/pipeline/walk.h"

namespace godwit::dataplane {

namespace {

constexpr uint16_t kRarpEtherType = 0x8035;

uint16_t outer_vlan(const Parsed& parsed) {
  return parsed.vlan_tags > 0 ? static_cast<uint16_t>(parsed.key.eth.vlan_tci.host() & 0xfff)
                              : uint16_t{0};
}

// Returns the endpoint whose profile has the address in the VLAN; invalid if there is none.
EndpointId pinned_owner(const ForwardingState& state, uint16_t vlan, const MacAddress& mac) {
  if (state.pinned->empty()) return EndpointId{};
  if (const auto found = state.pinned->find(pinned_key(vlan, mac)); found != state.pinned->end())
    return found->second;
  const auto found = state.pinned->find(pinned_key(kAnyVlan, mac));
  return found == state.pinned->end() ? EndpointId{} : found->second;
}

bool is_uplink(const EndpointEntry* entry) {
  return entry != nullptr && entry->kind == EndpointKind::kUplink;
}

bool is_group(const Packet& packet) { return (packet.data[0] & 1) != 0; }

MacAddress source_mac(const Packet& packet) {
  MacAddress mac;
  std::copy_n(packet.data + 6, 6, mac.bytes.begin());
  return mac;
}

bool is_rarp(const FlowKey& key) {
  const be16 rarp = to_be16(kRarpEtherType);
  return key.eth.type == rarp || key.eth.vlan_inner_type == rarp ||
         key.eth.vlan2_inner_type == rarp;
}

}  // namespace

Pipeline::Pipeline(WorkerId worker, PipelineHost& host, Fdb& fdb, CounterBank& counters,
                   GroupDedupe& dedupe, DropCounters& drops, ParkLimits park_limits,
                   FlowCacheOptions cache)
    : worker_(worker),
      host_(host),
      fdb_(fdb),
      counters_(counters),
      dedupe_(dedupe),
      drops_(drops),
      parking_(park_limits),
      cache_(cache.entries, cache.seed),
      burst_(std::make_unique<Burst>()) {
  garbage_.reserve(kOutputBatch + kBurst);
}

Pipeline::~Pipeline() {
  for (const EndpointId id : std::vector<EndpointId>(parking_.endpoints())) {
    while (Packet* packet = parking_.pop(id)) garbage_.push_back(packet);
  }
  flush();
}

void Pipeline::drop(Packet* packet, PortId origin, Drop reason) {
  drops_.count(origin, reason);
  garbage_.push_back(packet);
}

void Pipeline::begin_tally(Tally& tally, CounterId id) {
  if (tally.packets != 0) counters_.add(worker_, tally.id, tally.packets, tally.bytes);
  tally = {id, 0, 0};
}

// Passes on outputs, drops and counts. Called at the end of each public call.
void Pipeline::flush() {
  if (output_count_ != 0) host_.transmit({outputs_.data(), output_count_});
  output_count_ = 0;
  if (!garbage_.empty()) host_.free(garbage_);
  garbage_.clear();
  for (Tally& tally : tallies_) {
    if (tally.packets == 0) continue;
    counters_.add(worker_, tally.id, tally.packets, tally.bytes);
    tally.packets = tally.bytes = 0;
  }
  burst_->egress_of = burst_->straight.endpoint = EndpointId{};
}

void Pipeline::process(const ForwardingState& state, PortId in, std::span<Packet* const> packets,
                       uint32_t now_s) {
  assert(packets.size() <= kBurst);
  const EndpointId origin = state.owner(in);
  const EndpointEntry* entry = state.endpoint(origin);
  if (entry == nullptr || !entry->active) {
    for (Packet* packet : packets) drop(packet, in, Drop::k_not_active);
    flush();
    return;
  }
  Burst& burst = *burst_;
  const size_t count = admit(state, in, origin, *entry, packets, now_s);
  find_decisions(state, origin, *entry, count);
  size_t hits = 0;
  for (size_t i = 0; i < count; ++i) {
    Walk& walk = burst.walks[i];
    FlowDecision& decision = burst.decisions[burst.uniform ? 0 : i];
    const bool known = decision.fate != Fate::kInvalid ||
                       (!burst.first_known[i] && cache_.enabled() &&
                        cache_.find(burst.probes[i], burst.partition.changed, decision));
    if (known) {
      ++hits;
      if (decision.fate == Fate::kOutput && decision.endpoint != burst.straight.endpoint)
        find_straight_path(walk, decision.endpoint);
      if (decision.fate == Fate::kOutput && burst.straight.open && !decision.marks) {
        const uint32_t bytes = walk.packet->len;
        for (uint8_t c = 0; c < decision.counters; ++c) this->count(decision.counter[c], 1, bytes);
        this->count(burst.straight.received, 1, bytes);
        output(walk.packet, burst.straight.port, in);
        continue;
      }
      act(walk, decision);
      continue;
    }
    WalkRecord record;
    record.first = burst.first_rules[i];
    record.first_known = burst.first_known[i];
    walk_and_act(walk, record);
    if (cache_.enabled()) remember(burst.probes[i], record, walk, origin);
  }
  bump(counts_.cache_hits, hits);
  flush();
}

// Parses the packets and starts a walk for each one that may enter. Returns the number of walks.
size_t Pipeline::admit(const ForwardingState& state, PortId in, EndpointId origin,
                       const EndpointEntry& entry, std::span<Packet* const> packets,
                       uint32_t now_s) {
  size_t count = 0;
  uint64_t bytes = 0;
  for (Packet* packet : packets) {
    bytes += packet->len;
    Walk& walk = burst_->walks[count];
    if (const auto malformed = parse(*packet, walk.parsed)) {
      drop(packet, in, *malformed);
      continue;
    }
    packet->flow_hash = flow_hash(walk.parsed.key);
    if (entry.vlans != nullptr && !entry.vlans->test(outer_vlan(walk.parsed))) {
      drop(packet, in, Drop::k_vlan_not_allowed);
      continue;
    }
    if (entry.kind == EndpointKind::kUplink && is_rarp(walk.parsed.key))
      host_.punt(origin, *packet);
    walk.state = &state;
    walk.packet = packet;
    walk.origin = origin;
    walk.origin_entry = &entry;
    walk.in = in;
    walk.now_s = now_s;
    walk.stale = walk.failed = false;
    walk.probed = EndpointId{};
    ++count;
  }
  this->count(entry.sent, packets.size(), bytes);
  return count;
}

// Looks up the burst in the flow cache, then finds the first rule of each miss.
void Pipeline::find_decisions(const ForwardingState& state, EndpointId origin,
                              const EndpointEntry& entry, size_t count) {
  Burst& burst = *burst_;
  size_t misses = 0;
  burst.uniform = false;
  if (cache_.enabled()) {
    burst.partition = FlowPartition(state, origin, entry, false);
    if (burst.partition.count == 0 && count > 0) {
      // No rule looks at any byte, so one decision holds for all packets.
      burst.decisions[0].counters = burst.decisions[0].rules = 0;
      cache_.prepare(burst.partition, burst.walks[0].parsed.key, burst.probes[0]);
      burst.uniform = cache_.find(burst.probes[0], burst.partition.changed, burst.decisions[0]);
      if (burst.uniform) return;
    }
    for (size_t i = 0; i < count; ++i) {
      cache_.prepare(burst.partition, burst.walks[i].parsed.key, burst.probes[i]);
      cache_.prefetch_set(burst.probes[i]);
    }
    for (size_t i = 0; i < count; ++i) cache_.prefetch_entry(burst.probes[i]);
  }
  for (size_t i = 0; i < count; ++i) {
    FlowDecision& decision = burst.decisions[i];
    decision.fate = Fate::kInvalid;
    decision.counters = decision.rules = 0;
    if (!cache_.enabled() || !cache_.find(burst.probes[i], burst.partition.changed, decision))
      ++misses;
  }
  if (misses > 0) find_first_rules(entry, count);
  if (misses < count) prefetch_egress(count);
}

void Pipeline::find_first_rules(const EndpointEntry& entry, size_t count) {
  Burst& burst = *burst_;
  const uint64_t began = cycles_now();
  std::array<const FlowKey*, kBurst> keys;
  std::array<size_t, kBurst> whose;
  size_t wanted = 0;
  for (size_t i = 0; i < count; ++i) {
    burst.first_known[i] = false;
    burst.first_rules[i] = nullptr;
    if (burst.decisions[i].fate != Fate::kInvalid) continue;
    // The same flow as the packet before, whose walk will be in the cache when this one's turn
    // comes.
    if (cache_.enabled() && wanted > 0 &&
        burst.probes[whose[wanted - 1]].hash == burst.probes[i].hash)
      continue;
    burst.first_known[i] = true;
    whose[wanted] = i;
    keys[wanted++] = &burst.walks[i].parsed.key;
  }
  const ForwardingState& state = *burst.walks[0].state;
  std::array<const RuleEntry*, kBurst> found;
  for (const RuleTable* table : {entry.ingress, entry.transfer, state.transfer}) {
    const Classifier* classifier = table == nullptr ? nullptr : table->group(0);
    if (classifier == nullptr) continue;
    classifier->lookup_batch({keys.data(), wanted}, state.generation, {found.data(), wanted});
    for (size_t k = 0; k < wanted; ++k) {
      const RuleEntry*& winner = burst.first_rules[whose[k]];
      if (found[k] != nullptr && (winner == nullptr || found[k]->order < winner->order))
        winner = found[k];
    }
  }
  miss_cycles_ += cycles_now() - began;
}

// Prefetches flow cache entries for packets whose known receiver has egress rules.
void Pipeline::prefetch_egress(size_t count) {
  Burst& burst = *burst_;
  bool any = false;
  for (size_t i = 0; i < count; ++i) {
    const FlowDecision& decision = burst.decisions[i];
    Walk& walk = burst.walks[i];
    if (decision.fate != Fate::kOutput || decision.marks) continue;
    EndpointId id = decision.endpoint;
    const EndpointEntry* receiver = walk.state->endpoint(id);
    if (receiver != nullptr && receiver->location.kind == LocationKind::kUplink) {
      id = receiver->location.uplink;
      receiver = walk.state->endpoint(id);
    }
    if (receiver == nullptr || receiver->egress == nullptr) continue;
    cache_.prepare(egress_partition(*walk.state, id, *receiver), walk.parsed.key,
                   burst.egress_probes[i]);
    cache_.prefetch_set(burst.egress_probes[i]);
    walk.egress_probe = &burst.egress_probes[i];
    walk.probed = id;
    any = true;
  }
  if (!any) return;
  for (size_t i = 0; i < count; ++i) {
    if (burst.walks[i].probed.valid()) cache_.prefetch_entry(burst.egress_probes[i]);
  }
}

// Decides whether packets of this burst for `to` can leave without a further check of each packet.
void Pipeline::find_straight_path(const Walk& walk, EndpointId to) {
  Burst::StraightPath& path = burst_->straight;
  path.endpoint = to;
  path.open = false;
  // Packets of an uplink are checked one by one, and deliver() counts those of an inactive VM.
  if (walk.origin_entry->kind == EndpointKind::kUplink) return;
  if (walk.origin_entry->kind == EndpointKind::kVm && !walk.origin_entry->active) return;
  const EndpointEntry* entry = walk.state->endpoint(to);
  PacketFacts facts;
  facts.origin = walk.origin;
  facts.parked_ahead = parking_.holds(to);
  const Route route = route_packet(Arrival::kFresh, to, entry, *walk.state, facts);
  if (route.verdict != Verdict::kSend || route.pairs) return;
  if (route.exit->vlans != nullptr || route.exit->egress != nullptr) return;
  path.port = route.port;
  path.received = entry->received;
  path.open = true;
}

void Pipeline::act(Walk& walk, const FlowDecision& decision) {
  for (uint8_t i = 0; i < decision.counters; ++i) count(decision.counter[i], 1, walk.packet->len);
  if (decision.marks) {
    walk.packet->mark = decision.mark;
    walk.parsed.key.mark = to_be32(decision.mark);
  }
  Fate fate = decision.fate;
  if (fate == Fate::kProgram) {
    for (uint8_t i = 0; i < decision.rules; ++i) {
      uint32_t group = 0;
      count(decision.rule[i]->counter, 1, walk.packet->len);
      if (run_program(walk, *decision.rule[i], group) == Step::kSealed) return;
    }
    fate = decision.after;
  }
  switch (fate) {
    case Fate::kOutput: return to_endpoint(walk, decision.endpoint, walk.packet);
    case Fate::kNormal: return normal(walk);
    default: return drop(walk.packet, walk.in, decision.reason);
  }
}

void Pipeline::normal(Walk& walk) {
  const FlowKey& key = walk.parsed.key;
  const uint16_t vlan = outer_vlan(walk.parsed);
  if (key.eth.src.is_group()) return drop(walk.packet, walk.in, Drop::k_spoofed_group_source);
  const EndpointId source_owner = pinned_owner(*walk.state, vlan, key.eth.src);
  if (!source_owner.valid()) fdb_.learn(vlan, key.eth.src, walk.origin, walk.now_s);
  if (key.eth.dst.is_group()) return flood(walk, vlan, source_owner);

  EndpointId to = pinned_owner(*walk.state, vlan, key.eth.dst);
  if (!to.valid()) to = fdb_.lookup(vlan, key.eth.dst);
  if (!to.valid() || walk.state->endpoint(to) == nullptr) return flood(walk, vlan, source_owner);
  if (to == source_owner) return drop(walk.packet, walk.in, Drop::k_own_echo);
  to_endpoint(walk, to, walk.packet);
}

void Pipeline::flood(Walk& walk, uint16_t vlan, EndpointId source_owner) {
  const bool from_uplink = walk.origin_entry->kind == EndpointKind::kUplink;
  if (!from_uplink) walk.packet->flags |= Packet::kFlooded;
  EndpointId waiting;  // the last receiver gets the frame itself, the others get copies
  for (const EndpointId id : *walk.state->flood) {
    if (id == walk.origin || id == source_owner) continue;
    const EndpointEntry& entry = *walk.state->endpoint(id);
    if (from_uplink && leads_out(entry)) continue;
    if (entry.vlans != nullptr && !entry.vlans->test(vlan)) continue;
    if (waiting.valid()) send_copy(walk, waiting);
    waiting = id;
  }
  if (!waiting.valid()) return drop(walk.packet, walk.in, Drop::k_no_receiver);
  to_endpoint(walk, waiting, walk.packet);
}

void Pipeline::send_copy(Walk& walk, EndpointId to) {
  Packet* copy = host_.clone(*walk.packet);
  if (copy == nullptr) return drops_.count(walk.in, Drop::k_no_mbuf);
  to_endpoint(walk, to, copy);
}

void Pipeline::to_endpoint(Walk& walk, EndpointId to, Packet* packet) {
  const EndpointEntry* entry = walk.state->endpoint(to);
  PacketFacts facts;
  facts.origin = walk.origin;
  facts.from_uplink = is_uplink(walk.origin_entry);
  facts.own_source = facts.from_uplink &&
                     pinned_owner(*walk.state, outer_vlan(walk.parsed), source_mac(*packet)) == to;
  facts.group = is_group(*packet);
  facts.parked_ahead = parking_.holds(to);
  const Route route = route_packet(Arrival::kFresh, to, entry, *walk.state, facts);
  if (route.verdict == Verdict::kSend && !route.pairs)
    return deliver(walk, to, *entry, *route.exit, packet);
  if (route.verdict == Verdict::kWait) return park(walk, to, packet);
  if (route.pairs &&
      second_copy(to, *entry, *packet, facts.from_uplink ? CopyWay::kFabric : CopyWay::kLocal))
    return drop(packet, walk.in, Drop::k_redirect_duplicate);
  if (route.verdict == Verdict::kDrop) return drop(packet, walk.in, route.reason);
  deliver(walk, to, *entry, *route.exit, packet);
}

// Returns whether the other copy of the frame has been here. Frames to a group reach both hosts of
// a move: directly, and redirected by the source. So do unicast frames that the fabric floods
// because it has forgotten the address. Both copies must look the same, so a checksum that the
// guest left to its NIC is completed first, as it is on the way over an uplink.
bool Pipeline::second_copy(EndpointId to, const EndpointEntry& entry, Packet& packet, CopyWay way) {
  const bool partial = (packet.flags & Packet::kPartialChecksum) != 0;
  // A unicast frame from a guest of this host or of the source never was in the fabric.
  if (!is_group(packet) && (way == CopyWay::kLocal || partial)) return false;
  if (partial && packet.head_len == packet.len) (void)finish_partial_checksum(packet);
  const uint64_t salt = static_cast<uint64_t>(to.value) << 16 | entry.location.dedupe;
  return dedupe_.second_copy(packet.head(), packet.len, salt, way == CopyWay::kPeer);
}

void Pipeline::park(Walk& walk, EndpointId to, Packet* packet) {
  if (host_.may_wait(*packet) && parking_.push(to, packet, walk.origin)) {
    bump(counts_.parked);
  } else {
    drop(packet, walk.in, Drop::k_park_overflow);
  }
}

// Sends the packet to a receiver that can take it now: through the egress table of the receiver, or
// of the uplink in front of it, to the port.
void Pipeline::deliver(Walk& walk, EndpointId to, const EndpointEntry& receiver,
                       const EndpointEntry& exit, Packet* packet) {
  if (exit.vlans != nullptr && !exit.vlans->test(outer_vlan(walk.parsed)))
    return drop(packet, walk.in, Drop::k_vlan_not_allowed);
  if (exit.egress != nullptr) {
    const EndpointId owner = &exit == &receiver ? to : receiver.location.uplink;
    if (!egress(walk, owner, exit, packet)) return;
  }
  if (walk.origin_entry != nullptr && walk.origin_entry->kind == EndpointKind::kVm &&
      !walk.origin_entry->active) {
    bump(counts_.unpoliced);
  }
  count(receiver.received, 1, packet->len);
  output(packet, exit.location.port, walk.in);
}

void Pipeline::inject(const ForwardingState& state, EndpointId endpoint,
                      std::span<Packet* const> packets) {
  const EndpointEntry* entry = state.endpoint(endpoint);
  const Route route = route_packet(Arrival::kInjected, endpoint, entry, state, PacketFacts{});
  for (Packet* packet : packets) {
    if (route.verdict == Verdict::kDrop) {
      drop(packet, PortId{}, route.reason);
      continue;
    }
    packet->flags |= Packet::kRedirected;
    Walk walk;
    walk.state = &state;
    walk.packet = packet;
    if (const auto malformed = parse(*packet, walk.parsed)) {
      drop(packet, PortId{}, *malformed);
      continue;
    }
    packet->flow_hash = flow_hash(walk.parsed.key);
    if (route.pairs && second_copy(endpoint, *entry, *packet, CopyWay::kPeer)) {
      drop(packet, PortId{}, Drop::k_redirect_duplicate);
      continue;
    }
    bump(counts_.injected);
    deliver(walk, endpoint, *entry, *route.exit, packet);
  }
  flush();
}

void Pipeline::emit(const ForwardingState& state, EndpointId to, std::span<Packet* const> packets) {
  const EndpointEntry* entry = state.endpoint(to);
  for (Packet* packet : packets) {
    Walk walk;
    walk.state = &state;
    walk.packet = packet;
    if (entry == nullptr) {
      drop(packet, PortId{}, Drop::k_no_location);
    } else if (const auto malformed = parse(*packet, walk.parsed)) {
      drop(packet, PortId{}, *malformed);
    } else {
      to_endpoint(walk, to, packet);
    }
  }
  flush();
}

void Pipeline::drain(const ForwardingState& state) {
  if (parking_.empty()) return;
  for (const EndpointId id : std::vector<EndpointId>(parking_.endpoints())) {
    const EndpointEntry* entry = state.endpoint(id);
    EndpointId origin;
    while (Packet* packet = parking_.front(id, &origin)) {
      const EndpointEntry* origin_entry = state.endpoint(origin);
      PacketFacts facts;
      facts.origin = origin;
      facts.from_uplink = is_uplink(origin_entry);
      facts.group = is_group(*packet);
      facts.flooded = (packet->flags & Packet::kFlooded) != 0;
      const Route route = route_packet(Arrival::kParked, id, entry, state, facts);
      if (route.verdict == Verdict::kWait) break;
      if (route.verdict == Verdict::kRedirect) {
        if (!host_.redirect(id, packet)) break;
        parking_.pop(id);
        bump(counts_.redirected);
        continue;
      }
      parking_.pop(id);
      bump(counts_.unparked);
      Walk walk;
      walk.state = &state;
      walk.packet = packet;
      walk.origin = origin;
      walk.in = origin_entry == nullptr ? PortId{} : origin_entry->location.port;
      if (route.pairs && second_copy(id, *entry, *packet,
                                     facts.from_uplink ? CopyWay::kFabric : CopyWay::kLocal)) {
        drop(packet, walk.in, Drop::k_redirect_duplicate);
      } else if (route.verdict == Verdict::kDrop) {
        drop(packet, walk.in, route.reason);
      } else if (const auto malformed = parse(*packet, walk.parsed)) {
        drop(packet, walk.in, *malformed);
      } else {
        deliver(walk, id, *entry, *route.exit, packet);
      }
    }
  }
  flush();
}

}  // namespace godwit::dataplane
