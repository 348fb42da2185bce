// SPDX-License-Identifier: Apache-2.0
//
// The part of Pipeline that takes packets through rules one by one and records the outcome in the
// flow cache.
#include <cassert>
#include <optional>
#include <vector>

#include "base/clock.h"
#include "base/single_writer.h"
#include "dataplane/pipeline/burst.h"
#include "dataplane/pipeline/packet_rewrite.h"
#include "dataplane/pipeline/pipeline.h"
#include "dataplane/pipeline/walk.h"

namespace godwit::dataplane {

namespace {

constexpr uint32_t kMaxRulesPerPacket = 64;  // that one packet hits by passthru and jump

// The tables that a lookup consults.
struct Tables {
  const RuleTable* first = nullptr;   // the origin's ingress rules, or the receiver's egress rules
  const RuleTable* second = nullptr;  // transfer rules that name the origin
  const RuleTable* third = nullptr;   // the shared transfer rules
};

// Returns the first rule in order that matches, of those behind `after` if it is given, or nullptr.
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

void Pipeline::walk_and_act(Walk& walk, WalkRecord& record) {
  const EndpointEntry& entry = *walk.origin_entry;
  Tables tables{entry.ingress, entry.transfer, walk.state->transfer};
  uint32_t group = 0;
  Order order;
  const Order* after = nullptr;
  for (uint32_t hits = 0; hits < kMaxRulesPerPacket; ++hits) {
    const RuleEntry* rule = record.first;
    if (hits > 0 || !record.first_known) {
      if (walk.stale) record.cacheable = false;
      if (const auto malformed = walk.refresh()) return drop(walk.packet, walk.in, *malformed);
      const uint64_t began = cycles_now();
      rule = best(tables, group, walk.parsed.key, walk.state->generation, after);
      miss_cycles_ += cycles_now() - began;
    }
    if (rule == nullptr) {
      record.end = entry.miss == MissPolicy::kDrop ? Fate::kDrop : Fate::kNormal;
      if (entry.miss == MissPolicy::kDrop) return drop(walk.packet, walk.in, Drop::k_no_rule);
      return normal(walk);
    }
    record.add(*rule);
    count(rule->counter, 1, walk.packet->len);
    const Step step = run_program(walk, *rule, group);
    if (step == Step::kSealed) {
      const ActionProgram& program = rule->actions;
      record.sealed = true;
      record.end = program.fate == OpCode::kDrop     ? Fate::kDrop
                   : program.fate == OpCode::kOutput ? Fate::kOutput
                                                     : Fate::kNormal;
      record.reason = Drop::k_rule_drop;
      record.endpoint = program.endpoint;
      return;
    }
    if (step == Step::kJump) {
      // Each direction has groups of its own: an ingress rule jumps within the ingress table, a
      // transfer rule within the transfer tables.
      if (rule->order.direction_rank == 0) {
        tables = {entry.ingress, nullptr, nullptr};
      } else {
        tables = {nullptr, entry.transfer, walk.state->transfer};
      }
      after = nullptr;
    } else {
      order = rule->order;
      after = &order;
    }
  }
  drop(walk.packet, walk.in, Drop::k_group_loop);
}

// Runs the actions of a rule. Sets `group` if the result is kJump.
Pipeline::Step Pipeline::run_program(Walk& walk, const RuleEntry& rule, uint32_t& group) {
  const ActionProgram& program = rule.actions;
  if (!program.plain) return run_ops(walk, rule, group);
  if (program.marks) {
    walk.packet->mark = program.mark;
    walk.parsed.key.mark = to_be32(program.mark);
    walk.probed = EndpointId{};
  }
  if (program.fate == OpCode::kJump) {
    group = program.number;
    return Step::kJump;
  }
  if (program.fate == OpCode::kInvalid || program.fate == OpCode::kPassthru) return Step::kNextRule;
  if (program.fate == OpCode::kDrop) {
    drop(walk.packet, walk.in, Drop::k_rule_drop);
  } else if (program.fate == OpCode::kNormal) {
    normal(walk);
  } else {
    to_endpoint(walk, program.endpoint, walk.packet);
  }
  return Step::kSealed;
}

Pipeline::Step Pipeline::run_ops(Walk& walk, const RuleEntry& rule, uint32_t& group) {
  const std::vector<Op>& ops = rule.actions.ops;
  size_t last = ops.size();  // one past the last op that decides a fate
  while (last > 0 && !decides(ops[last - 1].code)) --last;
  for (size_t i = 0; i < ops.size(); ++i) {
    const Op& op = ops[i];
    switch (op.code) {
      case OpCode::kDrop: drop(walk.packet, walk.in, Drop::k_rule_drop); return Step::kSealed;
      case OpCode::kPassthru: return Step::kNextRule;
      case OpCode::kJump: group = op.number; return Step::kJump;
      case OpCode::kOutput:
      case OpCode::kNormal:
        if (const auto malformed = walk.refresh()) {
          walk.failed = true;
          drop(walk.packet, walk.in, *malformed);
          return Step::kSealed;
        }
        send_by(walk, op, i + 1 == last);
        if (i + 1 == last) return Step::kSealed;
        break;
      case OpCode::kMark:
        walk.packet->mark = op.number;
        walk.parsed.key.mark = to_be32(op.number);
        break;
      case OpCode::kCount:
      case OpCode::kInvalid: break;
      default: {
        std::optional<Drop> failed = walk.refresh();
        if (!failed) failed = apply_rewrite(op, *walk.packet, walk.parsed);
        if (failed) {
          walk.failed = true;
          drop(walk.packet, walk.in, *failed);
          return Step::kSealed;
        }
        walk.stale = true;
      }
    }
  }
  return Step::kNextRule;  // a rule without a fate acts like passthru
}

// Runs an output or `normal`. Sends the packet itself if no other follows, else a copy.
void Pipeline::send_by(Walk& walk, const Op& op, bool last) {
  if (last)
    return op.code == OpCode::kNormal ? normal(walk) : to_endpoint(walk, op.endpoint, walk.packet);
  if (op.code == OpCode::kOutput) return send_copy(walk, op.endpoint);
  Packet* original = walk.packet;
  walk.packet = host_.clone(*original);
  if (walk.packet == nullptr) {
    drops_.count(walk.in, Drop::k_no_mbuf);
  } else {
    normal(walk);
  }
  walk.packet = original;
}

// Caches the outcome of the walk for packets that look the same to the rules.
void Pipeline::remember(const FlowCache::Probe& probe, const WalkRecord& record, const Walk& walk,
                        EndpointId owner) {
  bump(counts_.cache_misses);
  if (!record.cacheable || walk.failed || record.hits > record.rules.size()) return;
  if (!record.sealed && record.end == Fate::kInvalid) return;
  const uint64_t began = cycles_now();
  FlowDecision decision;
  bool plain = record.hits <= FlowDecision::kMaxCounters;
  for (uint32_t i = 0; i < record.hits; ++i) plain = plain && record.rules[i]->actions.plain;
  decision.reason = record.reason;
  if (plain) {
    decision.fate = record.end;
    decision.endpoint = record.endpoint;
    decision.counters = static_cast<uint8_t>(record.hits);
    for (uint32_t i = 0; i < record.hits; ++i) {
      decision.counter[i] = record.rules[i]->counter;
      if (!record.rules[i]->actions.marks) continue;
      decision.marks = true;
      decision.mark = record.rules[i]->actions.mark;
    }
  } else {
    decision.fate = Fate::kProgram;
    decision.after = record.sealed ? Fate::kInvalid : record.end;
    decision.rules = static_cast<uint8_t>(record.hits);
    for (uint32_t i = 0; i < record.hits; ++i) decision.rule[i] = record.rules[i];
  }
  cache_.insert(probe, decision, walk.state->generation, owner);
  miss_cycles_ += cycles_now() - began;
}

const FlowPartition& Pipeline::egress_partition(const ForwardingState& state, EndpointId id,
                                                const EndpointEntry& receiver) {
  Burst& burst = *burst_;
  if (burst.egress_of != id) {
    burst.egress_partition = FlowPartition(state, id, receiver, true);
    burst.egress_of = id;
  }
  return burst.egress_partition;
}

// Applies the receiver's inbound policy. Returns true if the packet is to be delivered: a rule
// matched and none dropped it. Returns false if the packet was dropped.
bool Pipeline::egress(Walk& walk, EndpointId id, const EndpointEntry& receiver, Packet* packet) {
  // The walk's packet may still go to other receivers. Rewrites for this receiver are therefore
  // made in a walk of their own.
  std::optional<Walk> own;
  const auto begin_own = [&]() -> Walk& {
    if (!own) {
      own.emplace(walk);
      own->packet = packet;
      own->failed = false;
    }
    return *own;
  };
  if (walk.stale) {
    if (const auto malformed = begin_own().refresh()) {
      drop(packet, walk.in, *malformed);
      return false;
    }
  }
  const FlowKey& key = own ? own->parsed.key : walk.parsed.key;
  assert(key.mark == to_be32(packet->mark));
  const FlowPartition* partition = nullptr;
  const FlowCache::Probe* probe = walk.egress_probe;
  FlowCache::Probe made;
  if (cache_.enabled()) {
    partition = &egress_partition(*walk.state, id, receiver);
    if (own || walk.probed != id) {
      cache_.prepare(*partition, key, made);
      probe = &made;
    }
    FlowDecision decision;
    if (cache_.find(*probe, partition->changed, decision)) {
      bump(counts_.cache_hits);
      if (decision.fate == Fate::kDeliver && !decision.marks) {
        for (uint8_t i = 0; i < decision.counters; ++i) count(decision.counter[i], 1, packet->len);
        return true;
      }
      return egress_decided(begin_own(), decision);
    }
  }
  WalkRecord record;
  const bool passes = egress_walk(begin_own(), receiver, record);
  if (partition != nullptr) remember(*probe, record, *own, walk.origin.valid() ? walk.origin : id);
  return passes;
}

bool Pipeline::egress_decided(Walk& walk, const FlowDecision& decision) {
  for (uint8_t i = 0; i < decision.counters; ++i) count(decision.counter[i], 1, walk.packet->len);
  if (decision.marks) walk.packet->mark = decision.mark;
  Fate fate = decision.fate;
  if (fate == Fate::kProgram) {
    for (uint8_t i = 0; i < decision.rules; ++i) {
      uint32_t group = 0;
      bool passes = false;
      count(decision.rule[i]->counter, 1, walk.packet->len);
      if (egress_rule(walk, *decision.rule[i], group, passes) == Step::kSealed) return passes;
    }
    fate = decision.after;
  }
  if (fate == Fate::kDeliver) return true;
  drop(walk.packet, walk.in, decision.reason);
  return false;
}

bool Pipeline::egress_walk(Walk& walk, const EndpointEntry& receiver, WalkRecord& record) {
  const Tables tables{receiver.egress, nullptr, nullptr};
  uint32_t group = 0;
  bool matched = false;
  Order order;
  const Order* after = nullptr;
  for (uint32_t hits = 0; hits < kMaxRulesPerPacket; ++hits) {
    if (walk.stale) record.cacheable = false;
    if (const auto malformed = walk.refresh()) {
      drop(walk.packet, walk.in, *malformed);
      return false;
    }
    const uint64_t began = cycles_now();
    const RuleEntry* rule = best(tables, group, walk.parsed.key, walk.state->generation, after);
    miss_cycles_ += cycles_now() - began;
    if (rule == nullptr) {
      record.end = matched ? Fate::kDeliver : Fate::kDrop;
      record.reason = Drop::k_no_egress_rule;
      if (!matched) drop(walk.packet, walk.in, Drop::k_no_egress_rule);
      return matched;
    }
    matched = true;
    record.add(*rule);
    count(rule->counter, 1, walk.packet->len);
    bool passes = false;
    const Step step = egress_rule(walk, *rule, group, passes);
    if (step == Step::kSealed) {
      record.sealed = true;
      record.end = passes ? Fate::kDeliver : Fate::kDrop;
      record.reason = Drop::k_egress_rule_drop;
      return passes;
    }
    if (step == Step::kJump) matched = false;  // the other group decides
    order = rule->order;
    after = step == Step::kJump ? nullptr : &order;
  }
  drop(walk.packet, walk.in, Drop::k_group_loop);
  return false;
}

Pipeline::Step Pipeline::egress_rule(Walk& walk, const RuleEntry& rule, uint32_t& group,
                                     bool& passes) {
  bool next_rule = false;
  for (const Op& op : rule.actions.ops) {
    switch (op.code) {
      case OpCode::kDrop:
        drop(walk.packet, walk.in, Drop::k_egress_rule_drop);
        return Step::kSealed;
      case OpCode::kOutput:
      case OpCode::kNormal: passes = true; return Step::kSealed;
      case OpCode::kPassthru: next_rule = true; break;
      case OpCode::kMark:
        walk.packet->mark = op.number;
        walk.parsed.key.mark = to_be32(op.number);
        break;
      case OpCode::kJump: group = op.number; return Step::kJump;
      case OpCode::kCount:
      case OpCode::kInvalid: break;
      default: {
        std::optional<Drop> failed = walk.refresh();
        if (!failed) failed = apply_rewrite(op, *walk.packet, walk.parsed);
        if (failed) {
          walk.failed = true;
          drop(walk.packet, walk.in, *failed);
          return Step::kSealed;
        }
        walk.stale = true;
      }
    }
  }
  if (next_rule) return Step::kNextRule;
  passes = true;
  return Step::kSealed;
}

}  // namespace godwit::dataplane
