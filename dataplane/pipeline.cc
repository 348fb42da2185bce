// SPDX-License-Identifier: Apache-2.0
#include "dataplane/pipeline.h"

#include <algorithm>

namespace godwit::dataplane {

namespace {

constexpr uint16_t kRarpEtherType = 0x8035;
constexpr uint32_t kMaxRulesPerPacket = 64;  // hit by one packet, over passthru and jump
constexpr size_t kOutputBatch = 256;

void bump(std::atomic<uint64_t>& counter, uint64_t by = 1) {
  counter.store(counter.load(std::memory_order_relaxed) + by, std::memory_order_relaxed);
}

uint16_t outer_vlan(const Parsed& parsed) {
  return parsed.vlan_tags > 0 ? static_cast<uint16_t>(parsed.key.vlan_tci.host() & 0xfff) : uint16_t{0};
}

EndpointId pinned_owner(const ForwardingState& state, uint16_t vlan, const MacAddress& mac) {
  if (state.pinned->empty()) return EndpointId{};
  if (const auto found = state.pinned->find(pinned_key(vlan, mac)); found != state.pinned->end()) return found->second;
  const auto found = state.pinned->find(pinned_key(kAnyVlan, mac));
  return found == state.pinned->end() ? EndpointId{} : found->second;
}

// Does the endpoint's location lead out of this host, or is it an uplink itself?
bool leads_out(const EndpointEntry& entry) {
  return entry.kind == EndpointKind::kUplink || entry.location.kind == LocationKind::kUplink;
}

bool decides(OpCode code) {
  return code == OpCode::kDrop || code == OpCode::kJump || code == OpCode::kOutput || code == OpCode::kNormal ||
         code == OpCode::kPassthru || is_rewrite(code);
}

bool is_rarp(const FlowKey& key) {
  const be16 rarp = to_be16(kRarpEtherType);
  return key.eth_type == rarp || key.vlan_inner_type == rarp || key.vlan2_inner_type == rarp;
}

// Which tables a lookup consults.
struct Tables {
  const RuleTable* first = nullptr;   // the origin's ingress (or egress) rules
  const RuleTable* second = nullptr;  // transfer rules that name the origin
  const RuleTable* third = nullptr;   // the shared transfer rules
};

const RuleEntry* best(const Tables& tables, uint32_t group, const FlowKey& key, uint64_t generation,
                      const Order* after) {
  const RuleEntry* winner = nullptr;
  for (const RuleTable* table : {tables.first, tables.second, tables.third}) {
    if (table == nullptr) continue;
    const Classifier* classifier = table->group(group);
    if (classifier == nullptr) continue;
    const RuleEntry* hit = classifier->lookup(key, generation, after);
    if (hit != nullptr && (winner == nullptr || hit->order < winner->order)) winner = hit;
  }
  return winner;
}

}  // namespace

// One packet on its way. Whoever takes `packet` (output, park, drop) leaves nullptr.
struct Pipeline::Walk {
  const ForwardingState& state;
  Packet* packet = nullptr;
  EndpointId origin;
  const EndpointEntry* origin_entry = nullptr;  // nullptr: not from an endpoint (injected, emitted)
  PortId in;
  uint32_t now_s = 0;
  bool stale = false;  // the frame was rewritten after `parsed` was filled
  Parsed parsed;

  [[nodiscard]] std::optional<Drop> refresh() {
    if (!stale) return std::nullopt;
    stale = false;
    return parse(*packet, parsed);
  }
};

Pipeline::Pipeline(WorkerId worker, PipelineHost& host, Fdb& fdb, CounterBank& counters, GroupDedupe& dedupe,
                   ParkLimits park_limits)
    : worker_(worker),
      host_(host),
      fdb_(fdb),
      counters_(counters),
      dedupe_(dedupe),
      parking_(park_limits),
      port_counts_(std::make_unique<std::atomic<PortCounts*>[]>(kMaxPorts + 1)) {
  outputs_.reserve(kOutputBatch + kBurst);
  garbage_.reserve(kOutputBatch + kBurst);
}

Pipeline::~Pipeline() {
  for (const EndpointId id : std::vector<EndpointId>(parking_.endpoints())) {
    while (Packet* packet = parking_.pop(id)) garbage_.push_back(packet);
  }
  flush();
  for (size_t i = 0; i <= kMaxPorts; ++i) delete port_counts_[i].load(std::memory_order_relaxed);
}

void Pipeline::count_drop(PortId origin, Drop reason, uint64_t packets) {
  std::atomic<PortCounts*>& place = port_counts_[std::min<size_t>(origin.value, kMaxPorts)];
  PortCounts* counts = place.load(std::memory_order_relaxed);
  if (counts == nullptr) {
    // Once in a port's life, at its first drop.
    counts = new PortCounts;
    place.store(counts, std::memory_order_release);
  }
  bump(counts->drops[static_cast<size_t>(reason)], packets);
}

uint64_t Pipeline::drops(PortId port, Drop reason) const {
  const PortCounts* counts = port_counts_[std::min<size_t>(port.value, kMaxPorts)].load(std::memory_order_acquire);
  return counts == nullptr ? 0 : counts->drops[static_cast<size_t>(reason)].load(std::memory_order_relaxed);
}

void Pipeline::drop(Packet* packet, PortId origin, Drop reason) {
  count_drop(origin, reason);
  garbage_.push_back(packet);
}

void Pipeline::output(Packet* packet, PortId port, PortId origin) {
  outputs_.push_back({packet, port, origin});
  if (outputs_.size() >= kOutputBatch) flush();
}

void Pipeline::flush() {
  if (!outputs_.empty()) host_.transmit(outputs_);
  outputs_.clear();
  if (!garbage_.empty()) host_.free(garbage_);
  garbage_.clear();
}

void Pipeline::process(const ForwardingState& state, PortId in, std::span<Packet* const> packets, uint32_t now_s) {
  const EndpointId origin = state.owner(in);
  const EndpointEntry* entry = state.endpoint(origin);
  if (entry == nullptr || !entry->active) {
    for (Packet* packet : packets) drop(packet, in, Drop::k_not_active);
    flush();
    return;
  }
  uint64_t bytes = 0;
  for (Packet* packet : packets) {
    bytes += packet->len;
    Walk walk{state, packet, origin, entry, in, now_s, false, {}};
    if (const auto malformed = parse(*packet, walk.parsed)) {
      drop(packet, in, *malformed);
      continue;
    }
    packet->flow_hash = flow_hash(walk.parsed.key);
    if (entry->vlans != nullptr && !entry->vlans->test(outer_vlan(walk.parsed))) {
      drop(packet, in, Drop::k_vlan_not_allowed);
      continue;
    }
    if (entry->kind == EndpointKind::kUplink && is_rarp(walk.parsed.key)) {
      host_.punt(origin, *packet);
    }
    classify_and_act(walk);
  }
  counters_.add(worker_, entry->sent, packets.size(), bytes);
  flush();
}

void Pipeline::classify_and_act(Walk& walk) {
  const EndpointEntry& entry = *walk.origin_entry;
  Tables tables{entry.ingress, entry.transfer, walk.state.transfer->size() > 0 ? walk.state.transfer : nullptr};
  uint32_t group = 0;
  Order order;
  const Order* after = nullptr;
  for (uint32_t hits = 0; hits < kMaxRulesPerPacket; ++hits) {
    if (const auto malformed = walk.refresh()) return drop(walk.packet, walk.in, *malformed);
    const RuleEntry* rule = best(tables, group, walk.parsed.key, walk.state.generation, after);
    if (rule == nullptr) {
      if (entry.miss == MissPolicy::kDrop) return drop(walk.packet, walk.in, Drop::k_no_rule);
      return normal(walk);
    }
    counters_.add(worker_, rule->counter, 1, walk.packet->len);
    bool jumped = false;
    if (!run_program(walk, *rule, group, jumped)) return;
    if (jumped) {
      // Groups are a direction's own: an ingress rule jumps within ingress, a transfer rule within transfer.
      if (rule->order.direction_rank == 0) {
        tables = {entry.ingress, nullptr, nullptr};
      } else {
        tables = {nullptr, entry.transfer, walk.state.transfer};
      }
      after = nullptr;
    } else {
      order = rule->order;
      after = &order;
    }
  }
  drop(walk.packet, walk.in, Drop::k_group_loop);
}

// False: the packet's fate is sealed. True: go on, in `group` when `jumped`, else after this rule.
bool Pipeline::run_program(Walk& walk, const RuleEntry& rule, uint32_t& group, bool& jumped) {
  const std::vector<Op>& ops = rule.actions.ops;
  for (size_t i = 0; i < ops.size(); ++i) {
    const Op& op = ops[i];
    switch (op.code) {
      case OpCode::kDrop:
        drop(walk.packet, walk.in, Drop::k_rule_drop);
        return false;
      case OpCode::kPassthru:
        return true;
      case OpCode::kJump:
        group = op.number;
        jumped = true;
        return true;
      case OpCode::kOutput:
      case OpCode::kNormal: {
        const bool last = std::none_of(ops.begin() + static_cast<std::ptrdiff_t>(i) + 1, ops.end(),
                                       [](const Op& later) { return decides(later.code); });
        if (const auto malformed = walk.refresh()) {
          drop(walk.packet, walk.in, *malformed);
          return false;
        }
        if (last) {
          if (op.code == OpCode::kNormal) {
            normal(walk);
          } else {
            to_endpoint(walk, op.endpoint, walk.packet);
          }
          return false;
        }
        if (op.code == OpCode::kOutput) {
          send_copy(walk, op.endpoint);
          break;
        }
        Packet* original = walk.packet;
        walk.packet = host_.clone(*original);
        if (walk.packet == nullptr) {
          count_drop(walk.in, Drop::k_no_mbuf);
        } else {
          normal(walk);
        }
        walk.packet = original;
        break;
      }
      case OpCode::kMark:
        walk.packet->mark = op.number;
        walk.parsed.key.mark = to_be32(op.number);
        break;
      case OpCode::kCount:
      case OpCode::kInvalid:
        break;
      default: {
        std::optional<Drop> failed = walk.refresh();
        if (!failed) failed = apply_rewrite(op, *walk.packet, walk.parsed);
        if (failed) {
          drop(walk.packet, walk.in, *failed);
          return false;
        }
        walk.stale = true;
      }
    }
  }
  return true;  // no fate of its own: as with passthru, the next rule decides
}

void Pipeline::normal(Walk& walk) {
  const FlowKey& key = walk.parsed.key;
  const uint16_t vlan = outer_vlan(walk.parsed);
  if (key.eth_src.is_group()) return drop(walk.packet, walk.in, Drop::k_spoofed_group_source);
  const EndpointId source_owner = pinned_owner(walk.state, vlan, key.eth_src);
  if (!source_owner.valid()) fdb_.learn(vlan, key.eth_src, walk.origin, walk.now_s);
  if (key.eth_dst.is_group()) return flood(walk, vlan, source_owner);

  EndpointId to = pinned_owner(walk.state, vlan, key.eth_dst);
  if (!to.valid()) to = fdb_.lookup(vlan, key.eth_dst);
  if (!to.valid() || walk.state.endpoint(to) == nullptr) return flood(walk, vlan, source_owner);
  if (to == source_owner) return drop(walk.packet, walk.in, Drop::k_own_echo);
  to_endpoint(walk, to, walk.packet);
}

void Pipeline::flood(Walk& walk, uint16_t vlan, EndpointId source_owner) {
  const bool from_uplink = walk.origin_entry->kind == EndpointKind::kUplink;
  EndpointId waiting;  // the last receiver gets the frame itself, the others copies
  for (const EndpointId id : *walk.state.flood) {
    if (id == walk.origin || id == source_owner) continue;
    const EndpointEntry& entry = *walk.state.endpoint(id);
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
  if (copy == nullptr) return count_drop(walk.in, Drop::k_no_mbuf);
  to_endpoint(walk, to, copy);
}

void Pipeline::to_endpoint(Walk& walk, EndpointId to, Packet* packet) {
  const EndpointEntry* entry = walk.state.endpoint(to);
  if (entry == nullptr || entry->location.kind == LocationKind::kNone) return drop(packet, walk.in, Drop::k_no_location);
  if (to == walk.origin) return drop(packet, walk.in, Drop::k_own_echo);
  if (walk.origin_entry != nullptr && walk.origin_entry->kind == EndpointKind::kUplink) {
    if (leads_out(*entry)) {
      if (entry->location.redirect_late) return park(walk, to, packet);
      return drop(packet, walk.in, Drop::k_uplink_to_uplink);
    }
    // What an endpoint sent from another host comes back to it by no way.
    const auto* source = packet->data + 6;
    MacAddress mac;
    std::copy_n(source, 6, mac.bytes.begin());
    if (pinned_owner(walk.state, outer_vlan(walk.parsed), mac) == to) return drop(packet, walk.in, Drop::k_own_echo);
  }
  if (entry->location.dedupe != 0 && second_copy(to, *entry, *packet, false)) {
    return drop(packet, walk.in, Drop::k_redirect_duplicate);
  }
  const LocationKind kind = entry->location.kind;
  if (kind == LocationKind::kParked || kind == LocationKind::kRedirect || parking_.holds(to)) {
    return park(walk, to, packet);
  }
  deliver(walk, *entry, packet);
}

// Frames to a group reach both hosts of a move: directly and by the session. True for the later of the two.
bool Pipeline::second_copy(EndpointId to, const EndpointEntry& entry, const Packet& packet, bool redirected) {
  if ((packet.data[0] & 1) == 0) return false;
  const uint64_t salt = static_cast<uint64_t>(to.value) << 16 | entry.location.dedupe;
  return dedupe_.second_copy(packet.head(), packet.len, salt, redirected);
}

void Pipeline::park(Walk& walk, EndpointId to, Packet* packet) {
  if (parking_.push(to, packet, walk.origin)) {
    bump(counts_.parked);
  } else {
    drop(packet, walk.in, Drop::k_park_overflow);
  }
}

// The endpoint can receive now: through its egress table, or its uplink's, to the port.
void Pipeline::deliver(Walk& walk, const EndpointEntry& entry, Packet* packet) {
  const EndpointEntry* receiver = &entry;
  if (entry.location.kind == LocationKind::kUplink) {
    receiver = walk.state.endpoint(entry.location.uplink);
    if (receiver == nullptr) return drop(packet, walk.in, Drop::k_no_location);
    if (walk.origin == entry.location.uplink) return drop(packet, walk.in, Drop::k_uplink_to_uplink);
  }
  const PortId port = receiver->location.port;
  if (!port.valid()) return drop(packet, walk.in, Drop::k_no_location);
  if (receiver->vlans != nullptr && !receiver->vlans->test(outer_vlan(walk.parsed))) {
    return drop(packet, walk.in, Drop::k_vlan_not_allowed);
  }
  if (receiver->egress != nullptr && !egress(walk, *receiver, packet)) return;
  if (walk.origin_entry != nullptr && walk.origin_entry->kind == EndpointKind::kVm && !walk.origin_entry->active) {
    bump(counts_.unpoliced);
  }
  counters_.add(worker_, entry.received, 1, packet->len);
  output(packet, port, walk.in);
}

// The receiver's inbound policy. False: the packet is gone. Deliver: a rule matched and none dropped it.
bool Pipeline::egress(Walk& walk, const EndpointEntry& receiver, Packet* packet) {
  // Rewrites here are the receiver's own: the walk's packet may still go to others.
  Walk inner{walk.state, packet, walk.origin, walk.origin_entry, walk.in, walk.now_s, walk.stale, walk.parsed};
  inner.parsed.key.mark = to_be32(packet->mark);
  const Tables tables{receiver.egress, nullptr, nullptr};
  uint32_t group = 0;
  bool matched = false;
  Order order;
  const Order* after = nullptr;
  for (uint32_t hits = 0; hits < kMaxRulesPerPacket; ++hits) {
    std::optional<Drop> failed = inner.refresh();
    if (failed) {
      drop(packet, walk.in, *failed);
      return false;
    }
    const RuleEntry* rule = best(tables, group, inner.parsed.key, walk.state.generation, after);
    if (rule == nullptr) {
      if (!matched) drop(packet, walk.in, Drop::k_no_egress_rule);
      return matched;
    }
    matched = true;
    counters_.add(worker_, rule->counter, 1, packet->len);
    bool next_rule = false;
    bool jumped = false;
    for (const Op& op : rule->actions.ops) {
      if (op.code == OpCode::kDrop) {
        drop(packet, walk.in, Drop::k_egress_rule_drop);
        return false;
      }
      if (op.code == OpCode::kOutput || op.code == OpCode::kNormal) return true;
      if (op.code == OpCode::kPassthru) next_rule = true;
      if (op.code == OpCode::kMark) {
        packet->mark = op.number;
        inner.parsed.key.mark = to_be32(op.number);
      }
      if (op.code == OpCode::kJump) {
        group = op.number;
        jumped = true;
        matched = false;  // the group it jumps to decides
        break;
      }
      if (is_rewrite(op.code)) {
        failed = inner.refresh();
        if (!failed) failed = apply_rewrite(op, *packet, inner.parsed);
        if (failed) {
          drop(packet, walk.in, *failed);
          return false;
        }
        inner.stale = true;
      }
    }
    if (!next_rule && !jumped) return true;
    order = rule->order;
    after = jumped ? nullptr : &order;
  }
  drop(packet, walk.in, Drop::k_group_loop);
  return false;
}

void Pipeline::inject(const ForwardingState& state, EndpointId endpoint, std::span<Packet* const> packets) {
  const EndpointEntry* entry = state.endpoint(endpoint);
  const bool here = entry != nullptr && entry->location.port.valid() &&
                    (entry->location.kind == LocationKind::kPort || entry->location.kind == LocationKind::kParked);
  for (Packet* packet : packets) {
    if (!here) {
      drop(packet, PortId{}, Drop::k_redirect_stale);
      continue;
    }
    packet->flags |= Packet::kRedirected;
    Walk walk{state, packet, EndpointId{}, nullptr, PortId{}, 0, false, {}};
    if (const auto malformed = parse(*packet, walk.parsed)) {
      drop(packet, PortId{}, *malformed);
      continue;
    }
    packet->flow_hash = flow_hash(walk.parsed.key);
    if (entry->location.dedupe != 0 && second_copy(endpoint, *entry, *packet, true)) {
      drop(packet, PortId{}, Drop::k_redirect_duplicate);
      continue;
    }
    bump(counts_.injected);
    deliver(walk, *entry, packet);
  }
  flush();
}

void Pipeline::emit(const ForwardingState& state, EndpointId to, std::span<Packet* const> packets) {
  const EndpointEntry* entry = state.endpoint(to);
  for (Packet* packet : packets) {
    Walk walk{state, packet, EndpointId{}, nullptr, PortId{}, 0, false, {}};
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
    const LocationKind kind = entry == nullptr ? LocationKind::kNone : entry->location.kind;
    if (kind == LocationKind::kParked) continue;
    EndpointId origin;
    while (Packet* packet = parking_.front(id, &origin)) {
      const EndpointEntry* origin_entry = state.endpoint(origin);
      const bool from_uplink = origin_entry != nullptr && origin_entry->kind == EndpointKind::kUplink;
      const bool late = kind == LocationKind::kUplink && entry->location.redirect_late && from_uplink;
      if (kind == LocationKind::kRedirect || late) {
        if (!host_.redirect(id, packet)) break;
        parking_.pop(id);
        bump(counts_.redirected);
        continue;
      }
      parking_.pop(id);
      bump(counts_.unparked);
      const PortId in = origin_entry == nullptr ? PortId{} : origin_entry->location.port;
      Walk walk{state, packet, origin, nullptr, in, 0, false, {}};
      if (kind == LocationKind::kNone) {
        drop(packet, in, Drop::k_park_expired);
      } else if (kind == LocationKind::kUplink && from_uplink) {
        drop(packet, in, Drop::k_uplink_to_uplink);
      } else if (const auto malformed = parse(*packet, walk.parsed)) {
        drop(packet, in, *malformed);
      } else {
        deliver(walk, *entry, packet);
      }
    }
  }
  flush();
}

}  // namespace godwit::dataplane
