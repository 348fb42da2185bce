// SPDX-License-Identifier: Apache-2.0
//
// The verdicts of route_packet() as a table: arrival, location, facts, verdict.
#include "dataplane/pipeline/route.h"

#include <gtest/gtest.h>

#include <vector>

namespace godwit::dataplane {
namespace {

constexpr EndpointId kVm{7}, kOther{6}, kUplink{1}, kSecondUplink{2};
constexpr PortId kVmPort{3}, kUplinkPort{0};

constexpr Location kNowhere{};
constexpr Location kHere{LocationKind::kPort, kVmPort, {}};
constexpr Location kBehindUplink{LocationKind::kUplink, {}, kUplink};
constexpr Location kParkedAway{LocationKind::kParked, {}, {}};
constexpr Location kParkedHere{LocationKind::kParked, kVmPort, {}};
constexpr Location kRedirected{LocationKind::kRedirect, {}, {}};

constexpr Location late(Location location) {
  location.redirect_late = true;
  return location;
}
constexpr Location fenced(Location location) {
  location.fence = true;
  return location;
}
constexpr Location paired(Location location) {
  location.dedupe = 1;
  return location;
}

constexpr PacketFacts kFromPeer{};
constexpr PacketFacts kFromVm{.origin = kOther};
constexpr PacketFacts kFromItself{.origin = kVm};
constexpr PacketFacts kFromFabric{.origin = kUplink, .from_uplink = true};
constexpr PacketFacts kFromOtherFabric{.origin = kSecondUplink, .from_uplink = true};

constexpr PacketFacts own_source(PacketFacts facts) {
  facts.own_source = true;
  return facts;
}
constexpr PacketFacts group(PacketFacts facts) {
  facts.group = true;
  return facts;
}
constexpr PacketFacts flooded(PacketFacts facts) {
  facts.flooded = true;
  return facts;
}
constexpr PacketFacts behind_parked(PacketFacts facts) {
  facts.parked_ahead = true;
  return facts;
}

struct Row {
  const char* name;
  Arrival arrival;
  Location location;
  PacketFacts facts;
  Verdict verdict;
  Drop reason = Drop::k_no_location;  // with kDrop
  PortId port{};                      // with kSend
  bool pairs = false;
};

constexpr auto kDrop = Verdict::kDrop;
constexpr auto kWait = Verdict::kWait;
constexpr auto kRedirect = Verdict::kRedirect;
constexpr auto kSend = Verdict::kSend;
constexpr Drop kUnused = Drop::k_no_location;

constexpr auto kFresh = Arrival::kFresh;
constexpr auto kInjected = Arrival::kInjected;
constexpr auto kParked = Arrival::kParked;

// clang-format off
const Row kRows[] = {
  {"fresh, nowhere", kFresh, kNowhere, kFromVm, kDrop, Drop::k_no_location},
  {"fresh, here", kFresh, kHere, kFromVm, kSend, kUnused, kVmPort},
  {"fresh, here, from the fabric", kFresh, kHere, kFromFabric, kSend, kUnused, kVmPort},
  {"fresh, here, made by the switch", kFresh, kHere, kFromPeer, kSend, kUnused, kVmPort},
  {"fresh, to its origin", kFresh, kHere, kFromItself, kDrop, Drop::k_own_echo},
  {"fresh, to the owner of its source", kFresh, kHere, own_source(kFromFabric), kDrop, Drop::k_own_echo},
  {"fresh, behind parked packets", kFresh, kHere, behind_parked(kFromVm), kWait},
  {"fresh, fence, from the fabric", kFresh, fenced(kHere), kFromFabric, kWait},
  {"fresh, fence, group", kFresh, fenced(kHere), group(kFromFabric), kSend, kUnused, kVmPort},
  {"fresh, fence, from a VM", kFresh, fenced(kHere), kFromVm, kSend, kUnused, kVmPort},
  {"fresh, paired", kFresh, paired(kHere), kFromFabric, kSend, kUnused, kVmPort, true},
  {"fresh, paired, behind parked packets", kFresh, paired(kHere), behind_parked(kFromFabric), kWait},
  {"fresh, parked", kFresh, kParkedHere, kFromVm, kWait},
  {"fresh, parked, from the fabric", kFresh, kParkedAway, kFromFabric, kWait},
  {"fresh, redirected", kFresh, kRedirected, kFromVm, kWait},
  {"fresh, away", kFresh, kBehindUplink, kFromVm, kSend, kUnused, kUplinkPort},
  {"fresh, away, behind parked packets", kFresh, kBehindUplink, behind_parked(kFromVm), kWait},
  {"fresh, away, from the fabric", kFresh, kBehindUplink, kFromFabric, kDrop, Drop::k_uplink_to_uplink},
  {"fresh, away, from another fabric", kFresh, kBehindUplink, kFromOtherFabric, kDrop, Drop::k_uplink_to_uplink},
  {"fresh, away, own source", kFresh, kBehindUplink, own_source(kFromFabric), kDrop, Drop::k_uplink_to_uplink},
  {"fresh, away, late redirect, from the fabric", kFresh, late(kBehindUplink), kFromFabric, kWait},
  {"fresh, away, late redirect, from a VM", kFresh, late(kBehindUplink), kFromVm, kSend, kUnused, kUplinkPort},
  {"injected, nowhere", kInjected, kNowhere, kFromPeer, kDrop, Drop::k_redirect_stale},
  {"injected, here", kInjected, kHere, kFromPeer, kSend, kUnused, kVmPort},
  {"injected, here, fence", kInjected, fenced(kHere), kFromPeer, kSend, kUnused, kVmPort},
  {"injected, here, paired", kInjected, paired(kHere), kFromPeer, kSend, kUnused, kVmPort, true},
  {"injected, overtakes parked packets", kInjected, kParkedHere, behind_parked(kFromPeer), kSend, kUnused, kVmPort},
  {"injected, parked without a port", kInjected, kParkedAway, kFromPeer, kDrop, Drop::k_redirect_stale},
  {"injected, away", kInjected, kBehindUplink, kFromPeer, kDrop, Drop::k_redirect_stale},
  {"injected, redirected", kInjected, kRedirected, kFromPeer, kDrop, Drop::k_redirect_stale},
  {"parked, nowhere", kParked, kNowhere, kFromVm, kDrop, Drop::k_park_expired},
  {"parked, here", kParked, kHere, kFromVm, kSend, kUnused, kVmPort},
  {"parked, here, flooded", kParked, kHere, flooded(kFromVm), kSend, kUnused, kVmPort},
  {"parked, fence, from the fabric", kParked, fenced(kHere), kFromFabric, kWait},
  {"parked, fence, group", kParked, fenced(kHere), group(kFromFabric), kSend, kUnused, kVmPort},
  {"parked, paired", kParked, paired(kHere), kFromFabric, kSend, kUnused, kVmPort, true},
  {"parked, still parked", kParked, kParkedHere, kFromVm, kWait},
  {"parked, redirected", kParked, kRedirected, kFromVm, kRedirect},
  {"parked, away", kParked, kBehindUplink, kFromVm, kSend, kUnused, kUplinkPort},
  {"parked, away, paired", kParked, paired(kBehindUplink), kFromVm, kSend, kUnused, kUplinkPort, false},
  {"parked, away, from the fabric", kParked, kBehindUplink, kFromFabric, kDrop, Drop::k_uplink_to_uplink},
  {"parked, away, flooded", kParked, kBehindUplink, flooded(kFromVm), kDrop, Drop::k_redirect_duplicate},
  {"parked, away, late redirect", kParked, late(kBehindUplink), kFromVm, kSend, kUnused, kUplinkPort},
  {"parked, away, late redirect, from the fabric", kParked, late(kBehindUplink), kFromFabric, kRedirect},
  {"parked, away, late redirect, flooded", kParked, late(kBehindUplink), flooded(kFromVm), kRedirect},
};
// clang-format on

class RouteTest : public ::testing::Test {
 protected:
  RouteTest() {
    vm().kind = EndpointKind::kVm;
    uplink().kind = EndpointKind::kUplink;
    uplink().location = {LocationKind::kPort, kUplinkPort, {}};
    state_.endpoints = &endpoints_;
  }
  EndpointEntry& vm() { return endpoints_[kVm.value]; }
  EndpointEntry& uplink() { return endpoints_[kUplink.value]; }
  Route route(Arrival arrival, EndpointId to, const PacketFacts& facts) {
    return route_packet(arrival, to, state_.endpoint(to), state_, facts);
  }
  Route route(Arrival arrival, const Location& location, const PacketFacts& facts) {
    vm().location = location;
    return route(arrival, kVm, facts);
  }
  std::vector<EndpointEntry> endpoints_{8};
  ForwardingState state_;
};

TEST_F(RouteTest, Table) {
  for (const Row& row : kRows) {
    SCOPED_TRACE(row.name);
    const Route route = this->route(row.arrival, row.location, row.facts);
    EXPECT_EQ(route.verdict, row.verdict);
    EXPECT_EQ(route.pairs, row.pairs);
    if (row.verdict == kDrop) {
      EXPECT_EQ(drop_name(route.reason), drop_name(row.reason));
    }
    if (row.verdict != kSend) continue;
    const bool away = row.location.kind == LocationKind::kUplink;
    EXPECT_EQ(route.port, row.port);
    EXPECT_EQ(route.exit, away ? &uplink() : &vm());
  }
}

TEST_F(RouteTest, UnknownEndpoint_IsDroppedWithReasonOfArrival) {
  const auto reason = [&](Arrival arrival) {
    const Route route = this->route(arrival, EndpointId{99}, kFromVm);
    EXPECT_EQ(route.verdict, kDrop);
    return drop_name(route.reason);
  };
  EXPECT_EQ(reason(kFresh), drop_name(Drop::k_no_location));
  EXPECT_EQ(reason(kInjected), drop_name(Drop::k_redirect_stale));
  EXPECT_EQ(reason(kParked), drop_name(Drop::k_park_expired));
}

TEST_F(RouteTest, UplinkWithoutPortOrEntry_HasNoLocation) {
  uplink().location = {};
  for (const EndpointId uplink : {kUplink, EndpointId{99}}) {
    for (const Arrival arrival : {kFresh, kParked}) {
      const Route route = this->route(arrival, {LocationKind::kUplink, {}, uplink}, kFromVm);
      EXPECT_EQ(route.verdict, kDrop);
      EXPECT_EQ(drop_name(route.reason), drop_name(Drop::k_no_location));
    }
  }
}

TEST_F(RouteTest, Uplink_ReceivesFromVmsOnly) {
  EXPECT_EQ(route(kFresh, kUplink, kFromVm).port, kUplinkPort);
  const Route route = this->route(kFresh, kUplink, kFromOtherFabric);
  EXPECT_EQ(route.verdict, kDrop);
  EXPECT_EQ(drop_name(route.reason), drop_name(Drop::k_uplink_to_uplink));
}

// Fresh packets for a receiver that is parked or redirected are never sent past it.
TEST_F(RouteTest, ParkedOrRedirectedReceiver_NeverGetsFreshPackets) {
  for (unsigned bits = 0; bits < 32; ++bits) {
    PacketFacts facts = (bits & 1) != 0 ? kFromFabric : kFromVm;
    facts.own_source = false;
    facts.group = (bits & 2) != 0;
    facts.flooded = (bits & 4) != 0;
    facts.parked_ahead = (bits & 8) != 0;
    for (Location location : {kParkedHere, kParkedAway, kRedirected}) {
      location.dedupe = (bits & 16) != 0;
      EXPECT_EQ(route(kFresh, location, facts).verdict, kWait) << bits;
    }
  }
}

}  // namespace
}  // namespace godwit::dataplane
