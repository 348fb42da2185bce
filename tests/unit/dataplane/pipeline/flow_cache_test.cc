// SPDX-License-Identifier: Apache-2.0
//
// The flow cache by itself, and a pipeline with the cache compared with one without it, over random
// rules, packets and changes.
#include "dataplane/pipeline/flow_cache.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <random>
#include <string>

#include "dataplane/pipeline/miss_budget.h"
#include "dataplane/pipeline/pipeline.h"
#include "dataplane/policy/policy_store.h"
#include "dataplane/rules/flow_command.h"
#include "tests/builders/packet_builder.h"
#include "tests/harness/manual_grace.h"
#include "tests/harness/test_host.h"

namespace godwit::dataplane {
namespace {

using testing::PacketBuilder;
using testing::TestHost;

// Returns a partition whose rules look at the first `count` words of the key.
FlowPartition partition_of(uint32_t id, uint8_t count) {
  FlowPartition out;
  out.id = id;
  out.count = count;
  out.words = static_cast<uint16_t>((1u << count) - 1);
  for (uint8_t i = 0; i < count; ++i) {
    out.index[i] = i;
    out.mask[i] = ~uint64_t{0};
  }
  return out;
}

FlowCache::Probe probe_of(const FlowCache& cache, const FlowPartition& partition, uint64_t flow) {
  FlowKey key;
  for (size_t w = 0; w < kFlowKeyWords; ++w) key.set_word(w, flow * (w + 1));
  FlowCache::Probe probe;
  cache.prepare(partition, key, probe);
  return probe;
}

FlowDecision output_to(uint32_t endpoint) {
  FlowDecision decision;
  decision.fate = Fate::kOutput;
  decision.endpoint = EndpointId{endpoint};
  return decision;
}

// Returns the output of the flow, or an invalid id if it is not cached.
EndpointId found(const FlowCache& cache, const FlowPartition& partition, uint64_t flow) {
  FlowDecision decision;
  return cache.find(probe_of(cache, partition, flow), partition.changed, decision)
             ? decision.endpoint
             : EndpointId{};
}

TEST(FlowCache, Find_KeysOfAnyWidth_ReturnsInsertedDecision) {
  for (uint8_t words = 0; words <= kFlowKeyWords; ++words) {
    FlowCache cache(4096, 1);
    const FlowPartition partition = partition_of(2, words);
    const uint32_t flows = words == 0 ? 1 : 500;
    for (uint32_t flow = 1; flow <= flows; ++flow) {
      cache.insert(probe_of(cache, partition, flow), output_to(flow), 5, EndpointId{1});
    }
    for (uint32_t flow = 1; flow <= flows; ++flow)
      EXPECT_EQ(found(cache, partition, flow), EndpointId{flow}) << int(words);
    if (words > 0) {
      EXPECT_FALSE(found(cache, partition, flows + 1).valid());
    }
    EXPECT_FALSE(found(cache, partition_of(3, words), 1).valid()) << "in another partition";
  }
}

TEST(FlowCache, Find_EntryOlderThanPartitionChange_FailsUntilReinserted) {
  FlowCache cache(1024, 1);
  FlowPartition partition = partition_of(2, 3);
  cache.insert(probe_of(cache, partition, 7), output_to(1), 5, EndpointId{1});
  partition.changed = 5;
  EXPECT_TRUE(found(cache, partition, 7).valid());
  partition.changed = 6;
  EXPECT_FALSE(found(cache, partition, 7).valid());
  cache.insert(probe_of(cache, partition, 7), output_to(2), 6, EndpointId{1});
  EXPECT_EQ(found(cache, partition, 7), EndpointId{2});
}

TEST(FlowCache, Insert_Program_KeepsRulesAndFateAfterThem) {
  FlowCache cache(1024, 1);
  const FlowPartition partition = partition_of(2, 9);
  std::array<RuleEntry, FlowDecision::kMaxRules> rules;
  FlowDecision decision;
  decision.fate = Fate::kProgram;
  decision.after = Fate::kDrop;
  decision.reason = Drop::k_no_rule;
  decision.rules = FlowDecision::kMaxRules;
  for (size_t i = 0; i < rules.size(); ++i) decision.rule[i] = &rules[i];
  cache.insert(probe_of(cache, partition, 7), decision, 1, EndpointId{1});
  FlowDecision out;
  ASSERT_TRUE(cache.find(probe_of(cache, partition, 7), 0, out));
  EXPECT_EQ(out.fate, Fate::kProgram);
  EXPECT_EQ(out.after, Fate::kDrop);
  EXPECT_EQ(out.reason, Drop::k_no_rule);
  ASSERT_EQ(out.rules, rules.size());
  for (size_t i = 0; i < rules.size(); ++i) EXPECT_EQ(out.rule[i], &rules[i]);
}

TEST(FlowCache, Insert_FloodOfOneOwner_KeepsEntriesOfOthers) {
  FlowCache cache(4096, std::random_device{}());
  const FlowPartition victim = partition_of(2, 4);
  const FlowPartition flooder = partition_of(4, 4);
  std::vector<uint64_t> kept;
  for (uint64_t flow = 1; flow <= 256;
       ++flow) {  // half a way for each set: few sets hold more than four
    cache.insert(probe_of(cache, victim, flow), output_to(1), 1, EndpointId{1});
  }
  for (uint64_t flow = 1; flow <= 256; ++flow) {
    if (found(cache, victim, flow).valid()) kept.push_back(flow);
  }
  ASSERT_EQ(kept.size(), 256u);
  for (uint64_t flow = 1; flow <= 100'000; ++flow) {
    cache.insert(probe_of(cache, flooder, flow), output_to(2), 1, EndpointId{2});
  }
  size_t left = 0;
  for (const uint64_t flow : kept) left += found(cache, victim, flow).valid() ? 1 : 0;
  EXPECT_GE(left, 250u) << "sets with more than four of the victim's flows may lose some";
  // The flooding owner uses the rest of the cache.
  size_t floods = 0;
  for (uint64_t flow = 90'000; flow <= 100'000; ++flow)
    floods += found(cache, flooder, flow).valid() ? 1 : 0;
  EXPECT_GE(floods, 3000u);
}

TEST(FlowCache, Seed_DecidesWhichFlowsShareASet) {
  FlowCache one(4096, 1), two(4096, 2);
  const FlowPartition partition = partition_of(2, 4);
  size_t same = 0;
  for (uint64_t flow = 1; flow <= 1000; ++flow) {
    same += probe_of(one, partition, flow).hash % 512 == probe_of(two, partition, flow).hash % 512
                ? 1
                : 0;
  }
  EXPECT_LT(same, 20u);
}

TEST(FlowCache, ZeroEntries_DisablesCache) { EXPECT_FALSE(FlowCache(0, 1).enabled()); }

// Simulates a worker with two ports that always have packets: the victim's bursts cost `cheap`
// cycles, the other port's bursts cost `expensive`.
double victims_part(uint64_t cheap, uint64_t expensive, bool victim_is_there) {
  MissBudget budget;
  uint64_t now = 1;
  uint64_t of_victim = 0;
  uint64_t floods = 0;
  while (now < 1'000'000'000) {
    if (victim_is_there) {
      now += cheap;
      of_victim += cheap;
    }
    if (budget.may_poll(now, MissBudget::kVmShare, victim_is_there)) {
      now += expensive;
      budget.spend(expensive);
      ++floods;
    } else if (!victim_is_there) {
      ++now;
    }
  }
  return victim_is_there ? static_cast<double>(of_victim) / static_cast<double>(now)
                         : static_cast<double>(floods * expensive) / static_cast<double>(now);
}

TEST(MissBudget, MayPoll_ExpensivePort_TakesLessThanTenthFromBusyNeighbor) {
  for (const uint64_t expensive : {1'000u, 20'000u, 300'000u}) {
    EXPECT_GT(victims_part(6'000, expensive, true), 0.93) << expensive;
    EXPECT_GT(victims_part(6'000, expensive, false), 0.99) << expensive;
  }
}

// Two pipelines on one policy, one with the cache and one without. They must always agree.
class CacheOracle {
 public:
  static constexpr const char* kNames[] = {"physnet1", "a/net0", "b/net0", "c/net0"};
  static constexpr std::string_view kMacs[] = {"02:00:00:00:00:0f", "02:00:00:00:00:0a",
                                               "02:00:00:00:00:0b", "02:00:00:00:00:0c",
                                               "ff:ff:ff:ff:ff:ff", "02:00:00:00:00:77"};

  explicit CacheOracle(uint64_t seed) : rng_(seed) {
    for (uint16_t i = 0; i < 4; ++i) {
      Profile profile;
      profile.name = kNames[i];
      profile.kind = i == 0 ? EndpointKind::kUplink : EndpointKind::kVm;
      if (i != 0) profile.macs = {*parse_mac(kMacs[i])};
      Transaction t(store_);
      ids_.push_back(*t.add_endpoint(profile, {LocationKind::kPort, PortId{i}, {}}));
      EXPECT_TRUE(t.bind_port(ids_[i], PortId{i}) && t.set_active(ids_[i], true));
      t.commit();
    }
  }

  void run(int steps) {
    for (int i = 0; i < steps && !::testing::Test::HasFailure(); ++i) {
      if (below(8) == 0) change();
      if (below(4) == 0) {
        reclaimer_.collect();
        grace_.pass();
      }
      burst();
    }
  }
  uint64_t hits() const { return cached_.pipeline.counts().cache_hits.load(); }
  uint64_t walks() const { return cached_.pipeline.counts().cache_misses.load(); }

 private:
  struct Side {
    Side(WorkerId worker, CounterBank& counters, size_t entries)
        : pipeline(worker, host, fdb, counters, dedupe, drops, ParkLimits{64, 1u << 20},
                   {entries, 9}) {}
    TestHost host;
    Fdb fdb{1024, 300};
    GroupDedupe dedupe;
    DropCounters drops;
    Pipeline pipeline;
  };

  uint64_t below(uint64_t bound) {
    return std::uniform_int_distribution<uint64_t>(0, bound - 1)(rng_);
  }
  template <typename List>
  auto pick(const List& list) {
    return list[below(std::size(list))];
  }
  std::string number(uint64_t bound) { return std::to_string(below(bound)); }

  std::string pattern() {
    std::string text;
    if (below(6) == 0) text += "mark id is " + number(3) + " / ";
    text += "eth";
    if (below(4) == 0) text += std::string(" dst is ") + std::string(pick(kMacs));
    if (below(6) == 0) text += std::string(" src is ") + std::string(pick(kMacs));
    if (below(5) == 0) text += " / vlan vid is " + number(3);
    if (below(4) == 0) return text + " / end";
    if (below(5) == 0)
      return text + (below(2) == 0 ? " / ipv6 hop is " + number(3) + " / end"
                                   : " / ipv6 / udp dst is " + number(4) + " / end");
    text += " / ipv4";
    if (below(3) == 0) text += " src is 10.0.0." + number(4);
    if (below(4) == 0) text += " dst spec 10.0.0." + number(4) + " dst prefix 31";
    if (below(5) == 0) text += " ttl is " + number(3);
    switch (below(4)) {
      case 0: text += " / udp dst is " + number(4); break;
      case 1: text += " / udp dst spec " + number(2) + " dst last 3 dst mask 65535"; break;
      case 2: text += " / tcp flags is " + number(3); break;
      default: break;
    }
    return text + " / end";
  }
  std::string actions(Direction direction, uint32_t group, EndpointId owner) {
    std::string text;
    if (below(3) == 0) text += "count / ";
    if (below(4) == 0) text += "mark id " + number(3) + " / ";
    static constexpr const char* kRewrites[] = {"dec_ttl",
                                                "of_pop_vlan",
                                                "of_push_vlan ethertype 0x8100",
                                                "of_set_vlan_vid vlan_vid 2",
                                                "set_tp_dst port 2",
                                                "mac_swap",
                                                "set_ipv4_dst ipv4_addr 10.0.0.3"};
    while (below(4) == 0) text += std::string(pick(kRewrites)) + " / ";
    const auto to = [&] {
      const size_t whose = direction == Direction::kEgress
                               ? std::find(ids_.begin(), ids_.end(), owner) - ids_.begin()
                               : below(4);
      return std::string("represented_port ethdev_port_id ") + kNames[whose] + " / ";
    };
    switch (below(8)) {
      case 0: text += "drop / "; break;
      case 1: text += "normal / "; break;
      case 2: text += "passthru / "; break;
      case 3: text += "jump group " + std::to_string(group + 1 + below(2)) + " / "; break;
      case 4: text += to() + to(); break;
      case 5: text += to() + "mark id 1 / "; break;
      case 6: break;
      default: text += to(); break;
    }
    return text + "end";
  }
  Rule rule(EndpointId owner) {
    const auto direction = static_cast<Direction>(1 + below(3));
    const auto group = static_cast<uint32_t>(below(2) == 0 ? 0 : below(3));
    static constexpr const char* kDirections[] = {"", "ingress", "egress", "transfer"};
    std::string text = std::string(kDirections[static_cast<size_t>(direction)]) + " group " +
                       std::to_string(group) + " priority " + number(4) + " pattern ";
    if (direction == Direction::kTransfer && below(2) == 0) {
      text += std::string("represented_port ethdev_port_id is ") + pick(kNames) + " / ";
    }
    text += pattern() + " actions " + actions(direction, group, owner);
    auto parsed = parse_rule(text);
    EXPECT_TRUE(parsed) << text << ": " << (parsed ? "" : parsed.error().message);
    return parsed ? *parsed : Rule{};
  }

  void change() {
    const EndpointId id = ids_[below(4)];
    change_some(id);
    refresh_rules();
    if (below(6) == 0) swap(id);
  }
  void change_some(EndpointId id) {
    Transaction t(store_);
    for (uint64_t n = 1 + below(3); n > 0; --n) {
      if (below(3) != 0 && rules_.size() < 40) {
        const EndpointId owner = pick(ids_);
        if (auto made = t.create_rule(owner, rule(owner))) rules_.emplace_back(owner, *made);
      } else if (!rules_.empty()) {
        const size_t at = below(rules_.size());
        if (t.destroy_rule(rules_[at].first, rules_[at].second))
          rules_.erase(rules_.begin() + static_cast<std::ptrdiff_t>(at));
      }
    }
    if (below(6) == 0) {
      const LocationKind kinds[] = {LocationKind::kPort, LocationKind::kPort, LocationKind::kUplink,
                                    LocationKind::kParked, LocationKind::kNone};
      const size_t vm = 1 + below(3);
      EXPECT_TRUE(
          t.set_location(ids_[vm], {pick(kinds), PortId{static_cast<uint16_t>(vm)}, ids_[0]}));
    }
    if (below(10) == 0) {
      Profile profile = store_.endpoint(id)->profile;
      profile.miss = below(2) == 0 ? MissPolicy::kDrop : MissPolicy::kNormal;
      EXPECT_TRUE(t.set_profile(id, profile));
    }
    if (below(12) != 0) t.commit();  // otherwise it is rolled back
  }
  // Removes all rules of an endpoint at once, or replaces them.
  void swap(EndpointId id) {
    std::vector<RuleSpec> specs;
    for (uint64_t n = below(6); n > 0; --n) {
      Rule made = rule(id);
      if (made.attributes.direction != Direction::kTransfer)
        specs.push_back({store_.endpoint(id)->profile.name, RuleId{}, made});
    }
    {
      Transaction t(store_);
      EXPECT_TRUE(t.detach(id));
      t.commit();
    }
    if (below(2) == 0) {
      auto built = store_.build(id, specs);
      ASSERT_TRUE(built);
      Transaction t(store_);
      EXPECT_TRUE(t.attach(std::move(*built)));
      t.commit();
    }
    refresh_rules();
  }
  void refresh_rules() {
    rules_.clear();
    for (const EndpointId id : ids_) {
      for (const auto& [number, record] : store_.endpoint(id)->rules)
        rules_.emplace_back(id, record->id);
    }
  }

  testing::Frame frame() {
    PacketBuilder b;
    b.eth(pick(kMacs), kMacs[below(4)]);
    for (uint64_t tags = below(6) == 0 ? 1 + below(3) : 0; tags > 0; --tags)
      b.vlan(static_cast<uint16_t>(below(3)));
    const std::string src = "10.0.0." + number(4), dst = "10.0.0." + number(4);
    const auto port = static_cast<uint16_t>(below(4));
    switch (below(8)) {
      case 0: return b.payload(46).build();
      case 1:
        return b.ipv6("fd00::1", "fd00::2", static_cast<uint8_t>(below(3)))
            .udp(1, port)
            .payload(20)
            .build();
      case 2:
        return b.ipv4(src, dst, static_cast<uint8_t>(below(3)))
            .fragment4(static_cast<uint16_t>(below(2)), true)
            .udp(1, port)
            .payload(20)
            .build();
      case 3:
        return b.ipv4(src, dst, static_cast<uint8_t>(below(3)))
            .tcp(1, port, static_cast<uint8_t>(below(3)))
            .payload(10)
            .build();
      case 4:
        return b.ipv4(src, dst)
            .icmp(8, 0, port, static_cast<uint16_t>(below(100)))
            .payload(20)
            .build();
      default:
        return b.ipv4(src, dst, static_cast<uint8_t>(below(3))).udp(1, port).payload(20).build();
    }
  }

  void burst() {
    std::vector<testing::Frame> frames(1 + below(kBurst));
    for (testing::Frame& f : frames) f = frame();
    if (below(3) == 0) frames.assign(frames.size(), frames[0]);
    const PortId in{static_cast<uint16_t>(below(4))};
    const std::vector<Count> before = rule_counts();
    feed(plain_, in, frames);
    const std::vector<Count> between = rule_counts();
    feed(cached_, in, frames);
    const std::vector<Count> after = rule_counts();
    for (size_t i = 0; i < before.size(); ++i) {
      EXPECT_EQ(after[i].packets - between[i].packets, between[i].packets - before[i].packets)
          << "rule " << i;
      EXPECT_EQ(after[i].bytes - between[i].bytes, between[i].bytes - before[i].bytes)
          << "rule " << i;
    }
    EXPECT_EQ(cached_.host.sent, plain_.host.sent);
    for (uint16_t port = 0; port <= 4; ++port) {
      const PortId counted = port == 4 ? PortId{} : PortId{port};
      for (size_t d = 0; d < kDropCount; ++d) {
        EXPECT_EQ(cached_.drops.read(counted, static_cast<Drop>(d)),
                  plain_.drops.read(counted, static_cast<Drop>(d)))
            << drop_name(static_cast<Drop>(d)) << " at port " << port;
      }
    }
    EXPECT_EQ(cached_.pipeline.parking().held(), plain_.pipeline.parking().held());
    cached_.host.sent.clear();
    plain_.host.sent.clear();
  }
  void feed(Side& side, PortId in, const std::vector<testing::Frame>& frames) {
    std::vector<Packet*> packets;
    for (const testing::Frame& f : frames) packets.push_back(side.host.make(f));
    side.host.clones_left = 1000;
    side.pipeline.process(*cell_.load(), in, packets, 100);
    side.pipeline.drain(*cell_.load());
  }
  std::vector<Count> rule_counts() const {
    std::vector<Count> out;
    for (const auto& [owner, id] : rules_) out.push_back(store_.count(*store_.rule(owner, id)));
    for (const EndpointId id : ids_) {
      out.push_back(counters_.read(store_.endpoint(id)->sent));
      out.push_back(counters_.read(store_.endpoint(id)->received));
    }
    return out;
  }

  std::mt19937_64 rng_;
  testing::ManualGrace grace_;
  Reclaimer reclaimer_{grace_};
  CounterBank counters_{2};
  StateCell cell_;
  PolicyStore store_{cell_, reclaimer_, counters_};
  std::vector<EndpointId> ids_;
  std::vector<std::pair<EndpointId, RuleId>> rules_;
  Side plain_{WorkerId{0}, counters_, 0};
  Side cached_{WorkerId{1}, counters_, 4096};
};

TEST(FlowCacheOracle, RandomChanges_CachedPipelineMatchesUncached) {
  const char* given = std::getenv("GODWIT_SEED");
  const uint64_t seed =
      given != nullptr ? std::strtoull(given, nullptr, 10) : std::random_device{}();
  uint64_t hits = 0;
  uint64_t walks = 0;
  for (uint64_t run = 0; run < 30 && !HasFailure(); ++run) {
    SCOPED_TRACE("seed " + std::to_string(seed) + ", run " + std::to_string(run) +
                 " (GODWIT_SEED repeats it)");
    CacheOracle oracle(seed + run);
    oracle.run(300);
    hits += oracle.hits();
    walks += oracle.walks();
  }
  EXPECT_GT(hits, walks) << "too little was cached for the test to mean anything";
}

}  // namespace
}  // namespace godwit::dataplane
