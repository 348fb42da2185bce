// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include <span>
#include <string>

#include "dataplane/packet/parse.h"
#include "tests/builders/packet_builder.h"

namespace godwit::dataplane {
namespace {

using testing::Frame;
using testing::PacketBuilder;
using testing::TestPacket;

struct Malformed {
  const char* what;
  Frame frame;
  const char* drop;  // or "good"
};

PacketBuilder eth() { return PacketBuilder().eth(); }

void expect_drops(std::span<const Malformed> cases) {
  for (const Malformed& one : cases) {
    const TestPacket test(one.frame);
    Parsed parsed;
    const auto drop = parse(test.packet, parsed);
    EXPECT_EQ(drop ? drop_name(*drop) : "good", one.drop) << one.what;
  }
}

TEST(ParseDrops, MalformedEthernetAndArp) {
  const auto arp = [] {
    return eth().arp(1, testing::kMacOne, "10.0.0.1", testing::kMacTwo, "10.0.0.2");
  };
  const Malformed cases[] = {
      {"an empty frame", {}, "malformed_eth"},
      {"13 bytes", Frame(13, 2), "malformed_eth"},
      {"a tag cut short", eth().vlan(1).build(), "good"},
      {"half a tag",
       [] {
         Frame f = eth().vlan(1).build();
         f.pop_back();
         return f;
       }(),
       "malformed_eth"},
      {"half an inner tag",
       [] {
         Frame f = eth().vlan(1).vlan(2).build();
         f.pop_back();
         return f;
       }(),
       "malformed_eth"},
      {"ARP: MACs of 8 bytes", arp().set8(4, 8).build(), "malformed_arp"},
      {"ARP: IPv4 addresses of 16 bytes", arp().set8(5, 16).build(), "malformed_arp"},
      {"ARP: another hardware's, cut short", arp().set16(0, 6).set8(4, 100).build(),
       "malformed_arp"},
  };
  expect_drops(cases);
}

TEST(ParseDrops, MalformedIpv4) {
  const Malformed cases[] = {
      {"IPv4: version 6", eth().ipv4().set8(0, 0x65).udp(1, 2).build(), "malformed_ipv4"},
      {"IPv4: header of 16 bytes", eth().ipv4().set8(0, 0x44).udp(1, 2).build(), "malformed_ipv4"},
      {"IPv4: header of 60 bytes that are not there", eth().ipv4().set8(0, 0x4f).udp(1, 2).build(),
       "malformed_ipv4"},
      {"IPv4: total length less than the header", eth().ipv4().set16(2, 19).udp(1, 2).build(),
       "malformed_ipv4"},
      {"IPv4: total length zero", eth().ipv4().set16(2, 0).udp(1, 2).build(), "malformed_ipv4"},
      {"IPv4: total length more than the frame", eth().ipv4().set16(2, 29).udp(1, 2).build(),
       "malformed_ipv4"},
      {"IPv4: wrong checksum", eth().ipv4().corrupt8(8, 63).udp(1, 2).build(), "malformed_ipv4"},
      {"IPv4: checksum zero", eth().ipv4().corrupt16(10, 0).udp(1, 2).build(), "malformed_ipv4"},
      {"IPv4: wrong byte in an option",
       eth().ipv4("10.0.0.1", "10.0.0.2", 9, 2).corrupt8(27, 9).build(), "malformed_ipv4"},
  };
  expect_drops(cases);
}

TEST(ParseDrops, MalformedIpv6) {
  const auto deep = [](int headers) {
    PacketBuilder builder = eth().ipv6();
    for (int i = 0; i < headers; ++i) builder.dest_options();
    return builder.udp(1, 2).build();
  };
  const Malformed cases[] = {
      {"IPv6: version 4", eth().ipv6().set8(0, 0x40).udp(1, 2).build(), "malformed_ipv6"},
      {"IPv6: payload length more than the frame", eth().ipv6().set16(4, 9).udp(1, 2).build(),
       "malformed_ipv6"},
      {"IPv6: hop-by-hop longer than the payload",
       eth().ipv6().hop_by_hop().set8(1, 9).udp(1, 2).build(), "malformed_ipv6"},
      {"IPv6: routing longer than the payload",
       eth().ipv6().routing(0, "::1").set8(1, 255).udp(1, 2).build(), "malformed_ipv6"},
      {"IPv6: AH longer than the payload", eth().ipv6().auth().set8(1, 255).udp(1, 2).build(),
       "malformed_ipv6"},
      {"IPv6: AH with length zero is eight bytes",
       eth().ipv6().auth().set8(1, 0).set8(0, 59).build(), "good"},
      {"IPv6: jumbogram", eth().ipv6().set16(4, 0).hop_by_hop().udp(1, 2).build(),
       "malformed_ipv6"},
      {"IPv6: fragment header cut short", eth().ipv6().set8(6, 44).payload(7).build(),
       "malformed_ipv6"},
      {"IPv6: two fragment headers",
       eth().ipv6().fragment6(0, true).fragment6(0, true).udp(1, 2).build(), "malformed_ipv6"},
      {"IPv6: as many extension headers as allowed", deep(kMaxIpv6ExtHeaders), "good"},
      {"IPv6: one more", deep(kMaxIpv6ExtHeaders + 1), "malformed_ipv6"},
      {"IPv6: first fragment without all extension headers",
       eth().ipv6().fragment6(0, true).dest_options().set8(1, 3).payload(4).build(),
       "malformed_ipv6"},
  };
  expect_drops(cases);
}

TEST(ParseDrops, MalformedL4) {
  const Malformed cases[] = {
      {"TCP: header of 16 bytes", eth().ipv4().tcp(1, 2).set8(12, 0x40).build(), "malformed_l4"},
      {"TCP: options that are not there", eth().ipv4().tcp(1, 2).set8(12, 0x60).build(),
       "malformed_l4"},
      {"TCP: options in the padding only",
       eth().ipv4().tcp(1, 2).set8(12, 0x60).padding(20).build(), "malformed_l4"},
      {"TCP: cut short by the IP length", eth().ipv4().set16(2, 39).tcp(1, 2).build(),
       "malformed_l4"},
      {"TCP: tiny first fragment",
       eth().ipv4().fragment4(0, true).set8(9, 6).payload(8).padding(20).build(), "malformed_l4"},
      {"TCP over IPv6: payload length zero", eth().ipv6().set16(4, 0).tcp(1, 2).build(),
       "malformed_l4"},
      {"UDP: seven bytes", eth().ipv4().set8(9, 17).payload(7).padding(20).build(), "malformed_l4"},
      {"UDP: length 7", eth().ipv4().udp(1, 2).set16(4, 7).build(), "malformed_l4"},
      {"UDP: length beyond the IP length", eth().ipv4().udp(1, 2).set16(4, 9).padding(9).build(),
       "malformed_l4"},
      {"UDP: length less than the IP length",
       eth().ipv4().udp(1, 2).set16(4, 10).payload(9).build(), "good"},
      {"ICMP: seven bytes", eth().ipv4().set8(9, 1).payload(7).padding(20).build(), "malformed_l4"},
      {"ICMPv6: three bytes", eth().ipv6().set8(6, 58).payload(3).padding(20).build(),
       "malformed_l4"},
      {"ICMPv6: echo of six bytes", eth().ipv6().set8(6, 58).payload({128, 0, 0, 0, 0, 0}).build(),
       "malformed_l4"},
      {"ICMPv6: four bytes of another type", eth().ipv6().set8(6, 58).payload({1, 0, 0, 0}).build(),
       "good"},
      {"SCTP: eleven bytes", eth().ipv4().set8(9, 132).payload(11).padding(20).build(),
       "malformed_l4"},
      {"VXLAN: seven bytes", eth().ipv4().udp(1, 4789).payload(7).padding(20).build(),
       "malformed_l4"},
      {"VXLAN: beyond the UDP length", eth().ipv4().udp(1, 4789).set16(4, 15).vxlan(4).build(),
       "malformed_l4"},
  };
  expect_drops(cases);
}

}  // namespace
}  // namespace godwit::dataplane
