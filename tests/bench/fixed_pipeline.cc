// SPDX-License-Identifier: Apache-2.0
//
// The pipeline's work on fixed input, without devices: bursts of 32 frames of 64 bytes in, outputs counted and forgotten.
// Under callgrind each run executes the same instructions; by itself it prints cycles a packet. Each part is a
// function of its own, by whose name callgrind can count it alone: --toggle-collect=fixed_one_rule and so on. A part runs
// kBursts bursts; parsing, the flow cache, actions and counting are in it, making frames is not.
//
//   fixed_one_rule   one rule that matches all and sends it on
//   fixed_flows      100 rules on addresses and ports, 256 flows, all in the flow cache
//   fixed_egress     as fixed_flows, and the receiver has egress rules on ports
//   fixed_normal     no rules: pinned addresses and the FDB
//   fixed_misses     as fixed_flows, but each packet is a flow of its own
//
// Exit code 1: packets didn't go where they must, so the count means nothing.
#include <algorithm>
#include <array>
#include <cstdio>
#include <memory>
#include <string>
#include <vector>

#include "base/clock.h"
#include "dataplane/flow_command.h"
#include "dataplane/pipeline.h"
#include "dataplane/policy_store.h"
#include "tests/support/packet_builder.h"

namespace {

using namespace godwit;
using namespace godwit::dataplane;

constexpr size_t kBursts = 2000;
constexpr size_t kFrames = 256;  // a multiple of the burst

class CountingHost final : public PipelineHost {
 public:
  Packet* clone(const Packet&) override { return nullptr; }
  void free(std::span<Packet* const> packets) override { freed += packets.size(); }
  void transmit(std::span<const Output> outputs) override { sent += outputs.size(); }
  bool redirect(EndpointId, Packet*) override { return false; }
  void punt(EndpointId, const Packet&) override {}
  size_t sent = 0, freed = 0;
};

class Bench {
 public:
  Bench() {
    for (uint16_t i = 0; i < 2; ++i) {
      Profile profile;
      profile.name = i == 0 ? "a/net0" : "b/net0";
      profile.macs = {*parse_mac(i == 0 ? support::kMacOne : support::kMacTwo)};
      Transaction t(store_);
      const EndpointId id = *t.add_endpoint(profile, {LocationKind::kPort, PortId{i}, {}});
      (void)t.bind_port(id, PortId{i});
      (void)t.set_active(id, true);
      t.commit();
      ids_[i] = id;
    }
    for (size_t i = 0; i < kFrames; ++i) {
      const auto source = static_cast<uint16_t>(1000 + i);
      packets_.push_back(std::make_unique<support::TestPacket>(
          support::PacketBuilder().eth().ipv4("10.0.0.1", "10.0.0.2").udp(source, static_cast<uint16_t>(i % 100)).payload(18).build()));
    }
  }
  void rule(size_t owner, const std::string& text) {
    Transaction t(store_);
    (void)t.create_rule(ids_[owner], *parse_rule(text));
    t.commit();
  }
  void flow_rules() {
    for (int port = 0; port < 100; ++port) {
      rule(0, "ingress pattern eth / ipv4 src is 10.0.0.1 dst spec 10.0.0.0 dst prefix 24 / udp dst is " + std::to_string(port) +
                  " src spec 1 src last 65000 src mask 65535 / end actions count / represented_port ethdev_port_id b/net0 / end");
    }
  }
  void egress_rules() {
    for (int port = 0; port < 100; ++port) {
      rule(1, "egress pattern eth / ipv4 / udp dst is " + std::to_string(port) + " / end actions count / end");
    }
  }
  // As devices do: the same buffers again, each with a fresh Packet. `fresh`: with ports never seen before.
  void run(bool fresh) {
    std::array<Packet*, dataplane::kBurst> burst;
    uint16_t next = 0;
    for (size_t n = 0; n < kBursts; ++n) {
      for (size_t i = 0; i < burst.size(); ++i) {
        Packet& packet = packets_[(n * burst.size() + i) % kFrames]->packet;
        packet.mark = 0;
        if (fresh) {
          ++next;
          packet.data[34] = static_cast<uint8_t>(next >> 8 | 1);
          packet.data[35] = static_cast<uint8_t>(next);
        }
        burst[i] = &packet;
      }
      pipeline_.process(*cell_.load(), PortId{0}, burst, 1);
    }
  }
  [[nodiscard]] bool all_sent() const { return host_.sent == kBursts * dataplane::kBurst && host_.freed == 0; }
  [[nodiscard]] uint64_t misses() const { return pipeline_.counts().cache_misses.load(); }

 private:
  NoWorkers grace_;
  Reclaimer reclaimer_{grace_};
  CounterBank counters_{1};
  StateCell cell_;
  PolicyStore store_{cell_, reclaimer_, counters_};
  Fdb fdb_{1024, 300};
  GroupDedupe dedupe_;
  CountingHost host_;
  Pipeline pipeline_{WorkerId{0}, host_, fdb_, counters_, dedupe_, ParkLimits{}, FlowCacheOptions{.seed = 42}};
  std::array<EndpointId, 2> ids_;
  std::vector<std::unique_ptr<support::TestPacket>> packets_;
};

}  // namespace

extern "C" {
[[gnu::noinline]] void fixed_one_rule(Bench& bench) { bench.run(false); }
[[gnu::noinline]] void fixed_flows(Bench& bench) { bench.run(false); }
[[gnu::noinline]] void fixed_egress(Bench& bench) { bench.run(false); }
[[gnu::noinline]] void fixed_normal(Bench& bench) { bench.run(false); }
[[gnu::noinline]] void fixed_misses(Bench& bench) { bench.run(true); }
}

int main() {
  struct Part {
    const char* name;
    void (*run)(Bench&);
    bool flows;
    bool egress;
    bool one;
    uint64_t most_misses;
  };
  constexpr Part kParts[] = {{"fixed_one_rule", fixed_one_rule, false, false, true, 1},
                             {"fixed_flows", fixed_flows, true, false, false, kFrames},
                             {"fixed_egress", fixed_egress, true, true, false, kFrames + 100},
                             {"fixed_normal", fixed_normal, false, false, false, 1},
                             {"fixed_misses", fixed_misses, true, false, false, ~uint64_t{0}}};
  bool good = true;
  for (const Part& part : kParts) {
    Bench bench;
    if (part.one) bench.rule(0, "ingress pattern eth / end actions represented_port ethdev_port_id b/net0 / end");
    if (part.flows) bench.flow_rules();
    if (part.egress) bench.egress_rules();
    const uint64_t began = cycles_now();
    part.run(bench);
    const uint64_t cycles = cycles_now() - began;
    const bool right = bench.all_sent() && bench.misses() <= part.most_misses;
    std::printf("%-16s %6.1f cycles/packet%s\n", part.name, static_cast<double>(cycles) / (kBursts * kBurst), right ? "" : "  WRONG");
    good = good && right;
  }
  return good ? 0 : 1;
}
