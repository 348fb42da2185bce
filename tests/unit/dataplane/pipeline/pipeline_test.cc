// SPDX-License-Identifier: Apache-2.0
//
// Packets in, packets out: a Pipeline on the state of a PolicyStore, with a host that records its
// calls. After each test, every packet that went in or was copied has come out exactly once.
#include "dataplane/pipeline/pipeline.h"

#include <gtest/gtest.h>

#include <random>

#include "dataplane/packet/checksum.h"
#include "dataplane/policy/policy_store.h"
#include "dataplane/rules/flow_command.h"
#include "tests/harness/manual_grace.h"
#include "tests/harness/test_host.h"

namespace godwit::dataplane {
namespace {

const MacAddress kMacA{{0x02, 0, 0, 0, 0, 0xa}};
const MacAddress kMacB{{0x02, 0, 0, 0, 0, 0xb}};
const MacAddress kMacVm{{0x02, 0, 0, 0, 0, 0x7}};
const MacAddress kMacFar{{0x02, 0, 0, 0, 0, 0xf}};
const MacAddress kBroadcast{{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}};

// An IPv4 UDP frame, 60 bytes and more, with an optional tag.
std::vector<uint8_t> udp_frame(MacAddress dst, MacAddress src, uint16_t dport, uint8_t tag = 0,
                               int vlan = -1) {
  std::vector<uint8_t> f;
  f.reserve(64);
  f.insert(f.end(), dst.bytes.begin(), dst.bytes.end());
  f.insert(f.end(), src.bytes.begin(), src.bytes.end());
  if (vlan >= 0)
    f.insert(f.end(), {0x81, 0x00, static_cast<uint8_t>(vlan >> 8), static_cast<uint8_t>(vlan)});
  f.insert(f.end(), {0x08, 0x00});
  const size_t ip = f.size();
  f.insert(f.end(), {0x45, 0, 0, 46,           0,  1, 0, 0,           64, 17, 0, 0,
                     10,   0, 0, src.bytes[5], 10, 0, 0, dst.bytes[5]});
  const uint16_t sum = static_cast<uint16_t>(~ones_sum({f.data() + ip, 20}));
  f[ip + 10] = static_cast<uint8_t>(sum >> 8);
  f[ip + 11] = static_cast<uint8_t>(sum);
  f.insert(f.end(), {0x30, 0x39, static_cast<uint8_t>(dport >> 8), static_cast<uint8_t>(dport), 0,
                     26, 0, 0});
  f.insert(f.end(), 18, tag);
  return f;
}

using testing::TestHost;

class PipelineTest : public ::testing::Test {
 protected:
  static constexpr PortId kUplinkPort{0}, kPortA{1}, kPortB{2}, kPortVm{3};

  PipelineTest() {
    uplink_ = add("physnet1", EndpointKind::kUplink, {}, kUplinkPort);
    a_ = add("a/net0", EndpointKind::kVm, kMacA, kPortA);
    b_ = add("b/net0", EndpointKind::kVm, kMacB, kPortB);
    vm_ = add("vm7/net0", EndpointKind::kVm, kMacVm, kPortVm);
  }
  ~PipelineTest() override {
    EXPECT_EQ(host_.live(), pipeline_.parking().held())
        << "a packet is neither out, parked nor dropped";
    EXPECT_EQ(pipeline_.counts().unpoliced.load(), 0u);
  }
  EndpointId add(const std::string& name, EndpointKind kind, MacAddress mac, PortId port) {
    Transaction t(store_);
    Profile profile;
    profile.name = name;
    profile.kind = kind;
    if (!mac.is_zero()) profile.macs = {mac};
    const EndpointId id = *t.add_endpoint(profile, {LocationKind::kPort, port, {}});
    EXPECT_TRUE(t.bind_port(id, port) && t.set_active(id, true));
    t.commit();
    return id;
  }
  template <typename Change>
  void change(Change&& apply) {
    Transaction t(store_);
    apply(t);
    t.commit();
  }
  void locate(EndpointId id, Location location) {
    change([&](Transaction& t) { ASSERT_TRUE(t.set_location(id, location)); });
  }
  RuleId rule(EndpointId owner, const std::string& text) {
    auto parsed = parse_rule(text);
    EXPECT_TRUE(parsed) << text << ": " << (parsed ? "" : parsed.error().message);
    Transaction t(store_);
    auto id = t.create_rule(owner, *parsed);
    EXPECT_TRUE(id) << text << ": " << (id ? "" : id.error().message);
    t.commit();
    return *id;
  }
  void receive(PortId port, const std::vector<uint8_t>& frame) {
    Packet* packet = host_.make(frame);
    pipeline_.process(*cell_.load(), port, {&packet, 1}, 100);
  }
  void drain() { pipeline_.drain(*cell_.load()); }
  size_t sent(PortId port) { return host_.sent[port.value].size(); }
  // Returns the fill byte of each frame sent by `port`.
  std::vector<uint8_t> tags(PortId port) {
    std::vector<uint8_t> out;
    for (const auto& frame : host_.sent[port.value]) out.push_back(frame.back());
    return out;
  }

  testing::ManualGrace grace_;
  Reclaimer reclaimer_{grace_};
  CounterBank counters_{1};
  StateCell cell_;
  PolicyStore store_{cell_, reclaimer_, counters_};
  Fdb fdb_{1024, 300};
  GroupDedupe dedupe_;
  DropCounters drops_;
  TestHost host_;
  Pipeline pipeline_{
      WorkerId{0}, host_, fdb_, counters_, dedupe_, drops_, ParkLimits{16, 1u << 20}};
  EndpointId uplink_, a_, b_, vm_;
};

TEST_F(PipelineTest, Normal_PinnedMac_GoesToItsOwner) {
  receive(kPortA, udp_frame(kMacB, kMacA, 53));
  EXPECT_EQ(sent(kPortB), 1u);
  EXPECT_EQ(host_.transmitted, 1u);
  EXPECT_EQ(counters_.read(store_.endpoint(b_)->received).packets, 1u);
  EXPECT_EQ(counters_.read(store_.endpoint(a_)->sent), (Count{1, 60}));
}

TEST_F(PipelineTest, Normal_FrameFromUplink_TeachesFdb) {
  receive(kPortA, udp_frame(kMacFar, kMacA, 53));
  EXPECT_EQ(host_.transmitted, 3u) << "unknown: to b, vm7 and the uplink";
  receive(kUplinkPort, udp_frame(kMacA, kMacFar, 53));
  receive(kPortA, udp_frame(kMacFar, kMacA, 53));
  EXPECT_EQ(sent(kUplinkPort), 2u);
  EXPECT_EQ(host_.transmitted, 5u);
}

TEST_F(PipelineTest, Flood_ReachesNeitherItsOriginNorAnotherUplink) {
  const EndpointId second = add("physnet2", EndpointKind::kUplink, {}, PortId{9});
  receive(kUplinkPort, udp_frame(kBroadcast, kMacFar, 1));
  EXPECT_EQ(sent(kUplinkPort), 0u);
  EXPECT_EQ(sent(PortId{9}), 0u);
  EXPECT_EQ(sent(kPortA) + sent(kPortB) + sent(kPortVm), 3u);
  locate(vm_, {LocationKind::kUplink, {}, second});
  receive(kUplinkPort, udp_frame(kMacVm, kMacFar, 1));
  EXPECT_EQ(drops_.read(kUplinkPort, Drop::k_uplink_to_uplink), 1u);
}

TEST_F(PipelineTest, ToEndpoint_OwnerOfSourceMac_IsDroppedAsEcho) {
  // The fabric brings back vm7's own broadcast: all but vm7 receive it.
  receive(kUplinkPort, udp_frame(kBroadcast, kMacVm, 1));
  EXPECT_EQ(sent(kPortVm), 0u);
  EXPECT_EQ(sent(kPortA), 1u);
  receive(kPortA, udp_frame(kMacA, kMacA, 1));
  EXPECT_EQ(drops_.read(kPortA, Drop::k_own_echo), 1u);
  rule(uplink_, "ingress pattern eth / end actions represented_port ethdev_port_id vm7/net0 / end");
  receive(kUplinkPort, udp_frame(kMacVm, kMacVm, 1));
  EXPECT_EQ(drops_.read(kUplinkPort, Drop::k_own_echo), 1u);
}

TEST_F(PipelineTest, Rules_AreOrderedByPriorityThenDirectionThenAge) {
  rule(uplink_,
       "transfer priority 5 pattern eth / end actions represented_port ethdev_port_id physnet1 / "
       "end");
  rule(a_, "ingress priority 5 pattern eth / end actions drop / end");
  rule(a_,
       "ingress priority 5 pattern eth / end actions represented_port ethdev_port_id b/net0 / end");
  receive(kPortA, udp_frame(kMacVm, kMacA, 53));
  EXPECT_EQ(drops_.read(kPortA, Drop::k_rule_drop), 1u);
  rule(uplink_,
       "transfer priority 4 pattern eth / end actions represented_port ethdev_port_id vm7/net0 / "
       "end");
  receive(kPortA, udp_frame(kMacFar, kMacA, 53));
  EXPECT_EQ(sent(kPortVm), 1u);
}

TEST_F(PipelineTest, Rule_PassthruOrWithoutFate_ContinuesWithNextRule) {
  const RuleId counted = rule(a_, "ingress priority 1 pattern eth / end actions count / end");
  rule(a_, "ingress priority 2 pattern eth / end actions mark id 7 / passthru / end");
  rule(a_,
       "ingress priority 3 pattern mark id is 7 / eth / end actions represented_port "
       "ethdev_port_id b/net0 / end");
  receive(kPortA, udp_frame(kMacVm, kMacA, 53));
  EXPECT_EQ(sent(kPortB), 1u);
  EXPECT_EQ(store_.count(*store_.rule(a_, counted)), (Count{1, 60}));
}

TEST_F(PipelineTest, Jump_StaysInDirection_MissFollowsProfile) {
  rule(a_, "ingress pattern eth / ipv4 / udp dst is 53 / end actions jump group 3 / end");
  rule(a_,
       "ingress group 3 pattern eth / ipv4 / end actions represented_port ethdev_port_id b/net0 / "
       "end");
  rule(uplink_, "transfer group 3 priority 0 pattern eth / end actions drop / end");
  receive(kPortA, udp_frame(kMacVm, kMacA, 53));
  EXPECT_EQ(sent(kPortB), 1u);
  receive(kPortA, udp_frame(kMacVm, kMacA, 54));
  EXPECT_EQ(sent(kPortVm), 1u);
  Profile strict = store_.endpoint(a_)->profile;
  strict.miss = MissPolicy::kDrop;
  change([&](Transaction& t) { ASSERT_TRUE(t.set_profile(a_, strict)); });
  receive(kPortA, udp_frame(kMacVm, kMacA, 54));
  EXPECT_EQ(drops_.read(kPortA, Drop::k_no_rule), 1u);
}

TEST_F(PipelineTest, Outputs_GetPacketAsRewrittenSoFar) {
  rule(a_,
       "ingress pattern eth / end actions represented_port ethdev_port_id b/net0 / of_push_vlan "
       "ethertype 0x8100 / "
       "of_set_vlan_vid vlan_vid 9 / represented_port ethdev_port_id vm7/net0 / end");
  receive(kPortA, udp_frame(kMacVm, kMacA, 53));
  ASSERT_EQ(sent(kPortB), 1u);
  ASSERT_EQ(sent(kPortVm), 1u);
  EXPECT_EQ(host_.sent[2][0].size(), 60u);
  ASSERT_EQ(host_.sent[3][0].size(), 64u);
  EXPECT_EQ(host_.sent[3][0][15], 9);
}

TEST_F(PipelineTest, EgressRules_FilterPacketsToReceiver) {
  rule(vm_, "egress priority 1 pattern eth / ipv4 / udp dst is 53 / end actions count / end");
  rule(vm_, "egress priority 2 pattern eth / ipv4 / udp dst is 54 / end actions drop / end");
  receive(kPortA, udp_frame(kMacVm, kMacA, 53));
  receive(kPortA, udp_frame(kMacVm, kMacA, 54));
  receive(kPortA, udp_frame(kMacVm, kMacA, 55));
  EXPECT_EQ(sent(kPortVm), 1u);
  EXPECT_EQ(drops_.read(kPortA, Drop::k_egress_rule_drop), 1u);
  EXPECT_EQ(drops_.read(kPortA, Drop::k_no_egress_rule), 1u);
}

TEST_F(PipelineTest, Vlans_OutsideProfile_AreDroppedBothWays) {
  Profile tagged = store_.endpoint(b_)->profile;
  tagged.vlans = {0, 10};
  change([&](Transaction& t) { ASSERT_TRUE(t.set_profile(b_, tagged)); });
  receive(kPortB, udp_frame(kMacA, kMacB, 1, 0, 11));
  EXPECT_EQ(drops_.read(kPortB, Drop::k_vlan_not_allowed), 1u);
  receive(kPortA, udp_frame(kBroadcast, kMacA, 1, 0, 11));
  EXPECT_EQ(sent(kPortB), 0u);
  receive(kPortA, udp_frame(kBroadcast, kMacA, 1, 0, 10));
  EXPECT_EQ(sent(kPortB), 1u);
}

TEST_F(PipelineTest, Process_InactiveEndpoint_DropsPackets) {
  change([&](Transaction& t) { ASSERT_TRUE(t.set_active(a_, false)); });
  receive(kPortA, udp_frame(kMacB, kMacA, 1));
  EXPECT_EQ(host_.transmitted, 0u);
  EXPECT_EQ(drops_.read(kPortA, Drop::k_not_active), 1u);
}

TEST_F(PipelineTest, Drain_ReleasesParkedPacketsBeforeLaterOnes) {
  locate(vm_, {LocationKind::kParked, {}, {}});
  for (uint8_t i = 0; i < 5; ++i) receive(kPortA, udp_frame(kMacVm, kMacA, 53, i));
  EXPECT_EQ(host_.transmitted, 0u);
  locate(vm_, {LocationKind::kPort, kPortVm, {}});
  receive(kPortA, udp_frame(kMacVm, kMacA, 53, 5));  // before the worker has drained
  drain();
  receive(kPortA, udp_frame(kMacVm, kMacA, 53, 6));
  EXPECT_EQ(tags(kPortVm), (std::vector<uint8_t>{0, 1, 2, 3, 4, 5, 6}));
}

TEST_F(PipelineTest, Park_Full_DropsWithParkOverflow) {
  locate(vm_, {LocationKind::kParked, {}, {}});
  for (uint8_t i = 0; i < 20; ++i) receive(kPortA, udp_frame(kMacVm, kMacA, 53, i));
  EXPECT_EQ(drops_.read(kPortA, Drop::k_park_overflow), 4u);
  EXPECT_EQ(pipeline_.counts().parked.load(), 16u);
}

TEST_F(PipelineTest, Park_FewBuffersLeft_DropsWithParkOverflow) {
  locate(vm_, {LocationKind::kParked, {}, {}});
  for (uint8_t i = 0; i < 3; ++i) {
    host_.buffers_left = i != 1;
    receive(kPortA, udp_frame(kMacVm, kMacA, 53, i));
  }
  EXPECT_EQ(drops_.read(kPortA, Drop::k_park_overflow), 1u);
  locate(vm_, {LocationKind::kPort, kPortVm, {}});
  drain();
  EXPECT_EQ(tags(kPortVm), (std::vector<uint8_t>{0, 2}));
}

TEST_F(PipelineTest, Redirect_KeepsOrderAndWaitsForRoom) {
  locate(vm_, {LocationKind::kParked, {}, {}});
  for (uint8_t i = 0; i < 4; ++i) receive(kPortA, udp_frame(kMacVm, kMacA, 53, i));
  locate(vm_, {LocationKind::kRedirect, {}, {}});
  host_.redirect_room = 2;
  drain();
  EXPECT_EQ(host_.redirected.size(), 2u);
  receive(kPortA, udp_frame(kMacVm, kMacA, 53, 4));
  host_.redirect_room = 100;
  drain();
  ASSERT_EQ(host_.redirected.size(), 5u);
  for (uint8_t i = 0; i < 5; ++i) EXPECT_EQ(host_.redirected[i].second.back(), i);
}

TEST_F(PipelineTest, RedirectLate_LocalPacketsLeaveByUplink_FabricPacketsAreRedirected) {
  locate(vm_, {LocationKind::kParked, {}, {}});
  receive(kPortA, udp_frame(kMacVm, kMacA, 53, 1));
  receive(kUplinkPort, udp_frame(kMacVm, kMacFar, 53, 2));
  Location location{LocationKind::kUplink, {}, uplink_};
  location.redirect_late = true;
  locate(vm_, location);
  drain();
  EXPECT_EQ(tags(kUplinkPort), std::vector<uint8_t>{1});
  ASSERT_EQ(host_.redirected.size(), 1u);
  EXPECT_EQ(host_.redirected[0].second.back(), 2);
  receive(kUplinkPort, udp_frame(kMacVm, kMacFar, 53, 3));
  drain();
  EXPECT_EQ(host_.redirected.size(), 2u);
}

TEST_F(PipelineTest, Inject_OvertakesParkedPacketsAndAppliesEgressRules) {
  rule(vm_, "egress pattern eth / ipv4 / udp dst is 53 / end actions count / end");
  locate(vm_, {LocationKind::kParked, kPortVm, {}});
  receive(kPortA, udp_frame(kMacVm, kMacA, 53, 9));
  Packet* packets[2] = {host_.make(udp_frame(kMacVm, kMacFar, 53, 1)),
                        host_.make(udp_frame(kMacVm, kMacFar, 54, 2))};
  pipeline_.inject(*cell_.load(), vm_, packets);
  EXPECT_EQ(tags(kPortVm), std::vector<uint8_t>{1});
  locate(vm_, {LocationKind::kPort, kPortVm, {}});
  drain();
  EXPECT_EQ(tags(kPortVm), (std::vector<uint8_t>{1, 9}));
  EXPECT_EQ(drops_.read(PortId{}, Drop::k_no_egress_rule), 1u);
}

TEST_F(PipelineTest, Inject_EndpointNotHere_DropsAsStale) {
  locate(vm_, {LocationKind::kUplink, {}, uplink_});
  Packet* packet = host_.make(udp_frame(kMacVm, kMacFar, 53));
  pipeline_.inject(*cell_.load(), vm_, {&packet, 1});
  EXPECT_EQ(drops_.read(PortId{}, Drop::k_redirect_stale), 1u);
}

TEST_F(PipelineTest, Dedupe_GroupFrame_DropsSecondCopyInEitherOrder) {
  Location location{LocationKind::kPort, kPortVm, {}};
  location.dedupe = 1;
  locate(vm_, location);
  const auto inject = [&](uint8_t tag) {
    Packet* packet = host_.make(udp_frame(kBroadcast, kMacFar, 1, tag));
    pipeline_.inject(*cell_.load(), vm_, {&packet, 1});
  };
  receive(kUplinkPort, udp_frame(kBroadcast, kMacFar, 1, 1));
  inject(1);
  inject(2);
  receive(kUplinkPort, udp_frame(kBroadcast, kMacFar, 1, 2));
  EXPECT_EQ(tags(kPortVm), (std::vector<uint8_t>{1, 2}));
  // The same frame sent again is a new frame, not a third copy.
  receive(kUplinkPort, udp_frame(kBroadcast, kMacFar, 1, 1));
  receive(kUplinkPort, udp_frame(kBroadcast, kMacFar, 1, 1));
  EXPECT_EQ(tags(kPortVm), (std::vector<uint8_t>{1, 2, 1, 1}));
  inject(1);
  inject(1);
  EXPECT_EQ(sent(kPortVm), 4u);
  EXPECT_EQ(drops_.read(PortId{}, Drop::k_redirect_duplicate), 3u);
  EXPECT_EQ(drops_.read(kUplinkPort, Drop::k_redirect_duplicate), 1u);
}

TEST_F(PipelineTest, Dedupe_UnicastFrameFloodedByFabric_IsDeliveredOnce) {
  Location location{LocationKind::kPort, kPortVm, {}};
  location.dedupe = 1;
  locate(vm_, location);
  const auto inject = [&](const MacAddress& from, uint8_t tag) {
    Packet* packet = host_.make(udp_frame(kMacVm, from, 1, tag));
    pipeline_.inject(*cell_.load(), vm_, {&packet, 1});
  };
  inject(kMacFar, 1);
  receive(kUplinkPort, udp_frame(kMacVm, kMacFar, 1, 1));
  receive(kUplinkPort, udp_frame(kMacVm, kMacFar, 1, 2));
  inject(kMacFar, 2);
  EXPECT_EQ(tags(kPortVm), (std::vector<uint8_t>{1, 2}));
  // A frame from a guest of this host has one way only, so equal frames are not copies.
  inject(kMacA, 3);
  receive(kPortA, udp_frame(kMacVm, kMacA, 1, 3));
  receive(kPortA, udp_frame(kMacVm, kMacA, 1, 3));
  EXPECT_EQ(tags(kPortVm), (std::vector<uint8_t>{1, 2, 3, 3, 3}));
  // The same holds for parked frames.
  location.kind = LocationKind::kParked;
  locate(vm_, location);
  receive(kUplinkPort, udp_frame(kMacVm, kMacFar, 1, 4));
  receive(kPortA, udp_frame(kMacVm, kMacA, 1, 5));
  inject(kMacFar, 4);
  location.kind = LocationKind::kPort;
  locate(vm_, location);
  drain();
  EXPECT_EQ(tags(kPortVm), (std::vector<uint8_t>{1, 2, 3, 3, 3, 4, 5}));
  EXPECT_EQ(drops_.read(kUplinkPort, Drop::k_redirect_duplicate), 2u);
  EXPECT_EQ(drops_.read(PortId{}, Drop::k_redirect_duplicate), 1u);
}

TEST_F(PipelineTest, Fence_HoldsFabricUnicastAndWhatFollowsIt) {
  Location location{LocationKind::kParked, kPortVm, {}};
  location.dedupe = 1;
  locate(vm_, location);
  receive(kPortA, udp_frame(kMacVm, kMacA, 1, 1));
  receive(kUplinkPort, udp_frame(kBroadcast, kMacFar, 1, 2));
  receive(kUplinkPort, udp_frame(kMacVm, kMacFar, 1, 3));
  receive(kPortA, udp_frame(kMacVm, kMacA, 1, 4));
  location.kind = LocationKind::kPort;
  location.fence = true;
  locate(vm_, location);
  drain();
  EXPECT_EQ(tags(kPortVm), (std::vector<uint8_t>{1, 2}))
      << "stops at the first unicast frame from the fabric";
  receive(kPortA, udp_frame(kMacVm, kMacA, 1, 5));
  Packet* packet = host_.make(udp_frame(kMacVm, kMacFar, 1, 6));
  pipeline_.inject(*cell_.load(), vm_, {&packet, 1});
  EXPECT_EQ(tags(kPortVm), (std::vector<uint8_t>{1, 2, 6})) << "the peer's frames are older";
  location.fence = false;
  locate(vm_, location);
  drain();
  EXPECT_EQ(tags(kPortVm), (std::vector<uint8_t>{1, 2, 6, 3, 4, 5}));
  // While nothing is parked, frames from elsewhere pass the fence.
  location.fence = true;
  locate(vm_, location);
  receive(kPortA, udp_frame(kMacVm, kMacA, 1, 7));
  receive(kUplinkPort, udp_frame(kMacVm, kMacFar, 1, 8));
  EXPECT_EQ(tags(kPortVm), (std::vector<uint8_t>{1, 2, 6, 3, 4, 5, 7}));
}

TEST_F(PipelineTest, Drain_FloodedFrame_DoesNotLeaveByUplinkAgain) {
  locate(vm_, {LocationKind::kParked, {}, {}});
  receive(kPortA, udp_frame(kBroadcast, kMacA, 53, 1));
  receive(kPortA, udp_frame(kMacVm, kMacA, 53, 2));
  EXPECT_EQ(tags(kUplinkPort), std::vector<uint8_t>{1});
  Location location{LocationKind::kUplink, {}, uplink_};
  location.redirect_late = true;
  locate(vm_, location);
  drain();
  EXPECT_EQ(tags(kUplinkPort), (std::vector<uint8_t>{1, 2}));
  ASSERT_EQ(host_.redirected.size(), 1u) << "only the peer knows whether the VM received it";
  EXPECT_EQ(host_.redirected[0].second.back(), 1);
  // Without a peer to ask, the frame is dropped.
  locate(vm_, {LocationKind::kParked, {}, {}});
  receive(kPortA, udp_frame(kBroadcast, kMacA, 53, 3));
  locate(vm_, {LocationKind::kUplink, {}, uplink_});
  drain();
  EXPECT_EQ(tags(kUplinkPort), (std::vector<uint8_t>{1, 2, 3}));
  EXPECT_EQ(drops_.read(kPortA, Drop::k_redirect_duplicate), 1u);
}

TEST_F(PipelineTest, Dedupe_ParkedCopy_IsPairedWhenReleased) {
  Location location{LocationKind::kParked, kPortVm, {}};
  location.dedupe = 1;
  locate(vm_, location);
  for (uint8_t tag = 1; tag <= 3; ++tag)
    receive(kUplinkPort, udp_frame(kBroadcast, kMacFar, 1, tag));
  for (uint8_t tag = 1; tag <= 2; ++tag) {
    Packet* packet = host_.make(udp_frame(kBroadcast, kMacFar, 1, tag));
    pipeline_.inject(*cell_.load(), vm_, {&packet, 1});
  }
  EXPECT_EQ(tags(kPortVm), (std::vector<uint8_t>{1, 2}));
  location.kind = LocationKind::kPort;
  locate(vm_, location);
  drain();
  EXPECT_EQ(tags(kPortVm), (std::vector<uint8_t>{1, 2, 3}));
  EXPECT_EQ(drops_.read(kUplinkPort, Drop::k_redirect_duplicate), 2u);
}

TEST_F(PipelineTest, Dedupe_PaddedOrPartialChecksumCopy_StillPairs) {
  Location location{LocationKind::kPort, kPortVm, {}};
  location.dedupe = 1;
  locate(vm_, location);
  std::vector<uint8_t> brief = udp_frame(kBroadcast, kMacFar, 1, 0);
  brief.resize(60);
  brief[17] = 28;  // an empty datagram, and padding
  brief[24] = brief[25] = 0;
  brief[39] = 8;
  std::fill(brief.begin() + 40, brief.end(), uint8_t{0});
  const uint16_t sum = static_cast<uint16_t>(~ones_sum(std::span(brief).subspan(14, 20)));
  brief[24] = static_cast<uint8_t>(sum >> 8);
  brief[25] = static_cast<uint8_t>(sum);
  receive(kUplinkPort, brief);
  brief.resize(42);
  Packet* packet = host_.make(brief);
  pipeline_.inject(*cell_.load(), vm_, {&packet, 1});
  EXPECT_EQ(sent(kPortVm), 1u);

  std::vector<uint8_t> whole = udp_frame(kBroadcast, kMacFar, 1, 7);
  whole[40] = whole[41] = 0;
  packet = host_.make(whole);
  packet->flags = Packet::kPartialChecksum;
  packet->csum_start = 34;
  packet->csum_offset = 6;
  pipeline_.inject(*cell_.load(), vm_, {&packet, 1});
  const uint16_t checksum = static_cast<uint16_t>(~ones_sum(std::span(whole).subspan(34)));
  whole[40] = static_cast<uint8_t>(checksum >> 8);
  whole[41] = static_cast<uint8_t>(checksum);
  receive(kUplinkPort, whole);
  EXPECT_EQ(sent(kPortVm), 2u);
  EXPECT_EQ(drops_.read(kUplinkPort, Drop::k_redirect_duplicate), 1u);
}

TEST_F(PipelineTest, Flood_NoBufferForCopy_IsCountedAndOthersReceive) {
  host_.clones_left = 1;
  receive(kPortA, udp_frame(kBroadcast, kMacA, 1));
  EXPECT_EQ(host_.transmitted, 2u);
  EXPECT_EQ(drops_.read(kPortA, Drop::k_no_mbuf), 1u);
}

TEST_F(PipelineTest, Process_RarpFromUplink_IsPunted) {
  std::vector<uint8_t> rarp = udp_frame(kBroadcast, kMacFar, 1);
  rarp[12] = 0x80;
  rarp[13] = 0x35;
  receive(kUplinkPort, rarp);
  receive(kPortA, rarp);
  EXPECT_EQ(host_.punted, 1u);
}

TEST_F(PipelineTest, RandomLocationsAndFrames_EveryPacketLeavesOnce) {
  const uint64_t seed = std::random_device{}();
  SCOPED_TRACE("seed " + std::to_string(seed));
  std::mt19937_64 rng(seed);
  rule(a_,
       "ingress priority 1 pattern eth / ipv4 / udp dst is 7 / end actions represented_port "
       "ethdev_port_id b/net0 / normal / end");
  rule(vm_,
       "egress pattern eth / ipv4 / udp dst spec 0 dst last 50 dst mask 65535 / end actions "
       "dec_ttl / end");
  const MacAddress macs[] = {kMacA, kMacB, kMacVm, kMacFar, kBroadcast};
  const PortId ports[] = {kUplinkPort, kPortA, kPortB, kPortVm};
  for (int i = 0; i < 20000; ++i) {
    if (rng() % 50 == 0) {
      const LocationKind kinds[] = {LocationKind::kNone, LocationKind::kPort, LocationKind::kUplink,
                                    LocationKind::kParked, LocationKind::kRedirect};
      Location location{kinds[rng() % 5], kPortVm, uplink_};
      location.redirect_late = rng() % 2 == 0;
      location.dedupe = static_cast<uint16_t>(rng() % 2);
      locate(vm_, location);
      reclaimer_.collect();
      grace_.pass();
    }
    auto frame = udp_frame(macs[rng() % 5], macs[rng() % 5], static_cast<uint16_t>(rng() % 100), 0,
                           rng() % 4 == 0 ? 5 : -1);
    if (rng() % 10 == 0) frame.resize(rng() % frame.size());
    receive(ports[rng() % 4], frame);
    if (rng() % 3 == 0) drain();
  }
  EXPECT_EQ(host_.made,
            host_.freed + host_.transmitted + host_.redirected.size() + pipeline_.parking().held());
}

}  // namespace
}  // namespace godwit::dataplane
