// SPDX-License-Identifier: Apache-2.0
//
// A switch without devices for benches of the pipeline: two VMs, rules of several kinds, bursts of
// 32 frames of 64 bytes from a to b. Outputs are counted and discarded. SharedSwitch has what all
// workers of a switch share. Each WorkerLoad is one worker with its own pipeline and frames.
//
// Thread safety: a WorkerLoad belongs to one thread. SharedSwitch must not change while one runs.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "dataplane/pipeline/pipeline.h"
#include "dataplane/policy/policy_store.h"
#include "dataplane/rules/flow_command.h"
#include "tests/builders/packet_builder.h"

namespace godwit::bench {

inline constexpr size_t kFrames = 256;  // Of each worker, one flow each; a multiple of the burst.

class SharedSwitch {
 public:
  explicit SharedSwitch(uint16_t workers) : counters(workers) {
    for (uint16_t i = 0; i < 2; ++i) {
      dataplane::Profile profile;
      profile.name = i == 0 ? "a/net0" : "b/net0";
      profile.macs = {*parse_mac(i == 0 ? testing::kMacOne : testing::kMacTwo)};
      dataplane::Transaction t(store);
      ids_[i] = *t.add_endpoint(profile, {dataplane::LocationKind::kPort, PortId{i}, {}});
      (void)t.bind_port(ids_[i], PortId{i});
      (void)t.set_active(ids_[i], true);
      t.commit();
    }
  }
  void rule(size_t owner, const std::string& text) {
    dataplane::Transaction t(store);
    (void)t.create_rule(ids_[owner], *dataplane::parse_rule(text));
    t.commit();
  }
  void catch_all_rule() {
    rule(0, "ingress pattern eth / end actions represented_port ethdev_port_id b/net0 / end");
  }
  void flow_rules() {
    for (int port = 0; port < 100; ++port) {
      rule(0,
           "ingress pattern eth / ipv4 src is 10.0.0.1 dst spec 10.0.0.0 dst prefix 24 / udp dst "
           "is " +
               std::to_string(port) +
               " src spec 1 src last 65000 src mask 65535 / end actions count / represented_port "
               "ethdev_port_id b/net0 / end");
    }
  }
  void egress_rules() {
    for (int port = 0; port < 100; ++port) {
      rule(1, "egress pattern eth / ipv4 / udp dst is " + std::to_string(port) +
                  " / end actions count / end");
    }
  }

  NoWorkers grace;
  Reclaimer reclaimer{grace};
  dataplane::CounterBank counters;
  dataplane::StateCell cell;
  dataplane::PolicyStore store{cell, reclaimer, counters, [] {
                                 return dataplane::HashKey{42, ~uint64_t{42}};
                               }};
  dataplane::Fdb fdb{1024, 300};
  dataplane::GroupDedupe dedupe;

 private:
  std::array<EndpointId, 2> ids_;
};

class WorkerLoad final : public dataplane::PipelineHost {
 public:
  WorkerLoad(SharedSwitch& shared, WorkerId worker)
      : shared_(shared),
        pipeline_(worker, *this, shared.fdb, shared.counters, shared.dedupe, drops_,
                  dataplane::ParkLimits{}, dataplane::FlowCacheOptions{.seed = 42}) {
    for (size_t i = 0; i < kFrames; ++i) {
      const auto source = static_cast<uint16_t>(1000 + i);
      packets_.push_back(
          std::make_unique<testing::TestPacket>(testing::PacketBuilder()
                                                    .eth()
                                                    .ipv4("10.0.0.1", "10.0.0.2")
                                                    .udp(source, static_cast<uint16_t>(i % 100))
                                                    .payload(18)
                                                    .build()));
    }
  }
  // Processes bursts of the same buffers, each with a reset Packet, as devices reuse them. With
  // `fresh` each packet has a new source port, so that it is a flow of its own.
  void run(size_t bursts, bool fresh) {
    std::array<dataplane::Packet*, dataplane::kBurst> burst;
    uint16_t next = 0;
    for (size_t n = 0; n < bursts; ++n) {
      for (size_t i = 0; i < burst.size(); ++i) {
        dataplane::Packet& packet = packets_[(n * burst.size() + i) % kFrames]->packet;
        packet.mark = 0;
        if (fresh) {
          ++next;
          packet.data[34] = static_cast<uint8_t>(next >> 8 | 1);
          packet.data[35] = static_cast<uint8_t>(next);
        }
        burst[i] = &packet;
      }
      pipeline_.process(*shared_.cell.load(), PortId{0}, burst, 1);
    }
  }
  [[nodiscard]] size_t sent() const { return sent_; }
  [[nodiscard]] bool all_sent(size_t bursts) const {
    return sent_ == bursts * dataplane::kBurst && freed_ == 0;
  }
  [[nodiscard]] uint64_t misses() const { return pipeline_.counts().cache_misses.load(); }

  dataplane::Packet* clone(const dataplane::Packet&) override { return nullptr; }
  void free(std::span<dataplane::Packet* const> packets) override { freed_ += packets.size(); }
  void transmit(std::span<const dataplane::Output> outputs) override { sent_ += outputs.size(); }
  bool redirect(EndpointId, dataplane::Packet*) override { return false; }
  void punt(EndpointId, const dataplane::Packet&) override {}

 private:
  SharedSwitch& shared_;
  size_t sent_ = 0, freed_ = 0;
  dataplane::DropCounters drops_;
  dataplane::Pipeline pipeline_;
  std::vector<std::unique_ptr<testing::TestPacket>> packets_;
};

}  // namespace godwit::bench
