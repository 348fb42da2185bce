// SPDX-License-Identifier: Apache-2.0
#include "dataplane/packet/parse.h"

#include <gtest/gtest.h>

#include <functional>
#include <random>
#include <string>
#include <vector>

#include "dataplane/packet/checksum.h"
#include "tests/builders/packet_builder.h"
#include "tests/oracles/frame_check.h"

namespace godwit::dataplane {
namespace {

using testing::Frame;
using testing::PacketBuilder;
using testing::TestPacket;

Parsed parse_good(const Frame& frame) {
  TestPacket test(frame);
  Parsed parsed;
  const auto drop = parse(test.packet, parsed);
  EXPECT_EQ(drop, std::nullopt) << (drop ? drop_name(*drop) : "");
  return parsed;
}

std::string verdict(const Packet& packet) {
  Parsed parsed;
  const auto drop = parse(packet, parsed);
  return drop ? std::string(drop_name(*drop)) : "good";
}
std::string verdict(const Frame& frame) { return verdict(TestPacket(frame).packet); }

PacketBuilder eth() { return PacketBuilder().eth(); }

// Frames of each kind with the length of their headers. A frame that is cut before that length is
// malformed.
struct Kind {
  const char* name;
  Frame frame;
  uint16_t layers;
  size_t headers;
};
std::vector<Kind> kinds() {
  constexpr uint16_t k4 = kLayerEth | kLayerIpv4;
  constexpr uint16_t k6 = kLayerEth | kLayerIpv6;
  constexpr uint16_t kExt = k6 | kLayerIpv6Ext;
  return {
      {"ethernet", eth().payload(50).build(), kLayerEth, 14},
      {"vlan", eth().vlan(5).payload(50).build(), kLayerEth | kLayerVlan, 18},
      {"qinq", eth().vlan(5, 1, false, 0x88a8).vlan(6).payload(50).build(),
       kLayerEth | kLayerVlan | kLayerVlan2, 22},
      {"arp",
       eth()
           .arp(1, testing::kMacOne, "10.0.0.1", "00:00:00:00:00:00", "10.0.0.2")
           .padding(18)
           .build(),
       kLayerEth | kLayerArp, 42},
      {"ipv4", eth().ipv4().payload(20).build(), k4, 54},
      {"ipv4 options", eth().ipv4("10.0.0.1", "10.0.0.2", 64, 10).udp(1, 2).build(), k4 | kLayerUdp,
       82},
      {"tcp", eth().ipv4().tcp(1, 2).payload(20).build(), k4 | kLayerTcp, 74},
      {"tcp options", eth().ipv4().tcp(1, 2, 2, 10).build(), k4 | kLayerTcp, 94},
      {"udp", eth().ipv4().udp(1, 2).payload(3).padding(20).build(), k4 | kLayerUdp, 45},
      {"icmp", eth().ipv4().icmp(8, 0, 7, 9).payload(3).build(), k4 | kLayerIcmp, 45},
      {"sctp", eth().ipv4().sctp(1, 2).build(), k4 | kLayerSctp, 46},
      {"vxlan", eth().ipv4().udp(1, 4789).vxlan(42).eth().ipv4().udp(3, 4).build(),
       k4 | kLayerUdp | kLayerVxlan, 14 + 36 + 42},
      {"ipv6", eth().ipv6().payload(20).build(), k6, 74},
      {"ipv6 tcp", eth().vlan(1).ipv6().tcp(1, 2).build(), k6 | kLayerVlan | kLayerTcp, 78},
      {"ipv6 udp", eth().ipv6().udp(1, 2).build(), k6 | kLayerUdp, 62},
      {"icmp6", eth().ipv6().icmp6(128, 0, 7, 9).build(), k6 | kLayerIcmp6, 62},
      {"ipv6 sctp", eth().ipv6().sctp(1, 2).build(), k6 | kLayerSctp, 66},
      {"ipv6 extensions",
       eth().ipv6().hop_by_hop().dest_options(2).routing(0, "fd00::9").auth().tcp(1, 2).build(),
       kExt | kLayerTcp, 54 + 8 + 24 + 24 + 24 + 20},
      {"ipv4 first fragment", eth().ipv4().fragment4(0, true).udp(1, 2).payload(8).build(),
       k4 | kLayerFragment | kLayerUdp, 50},
      {"ipv4 later fragment", eth().ipv4().fragment4(9, true).set8(9, 17).payload(8).build(),
       k4 | kLayerFragment, 42},
      {"ipv6 first fragment", eth().ipv6().fragment6(0, true).udp(1, 2).payload(8).build(),
       kExt | kLayerFragment | kLayerUdp, 78},
      {"ipv6 later fragment", eth().ipv6().fragment6(9, false).set8(0, 17).payload(8).build(),
       kExt | kLayerFragment, 70},
      {"ipv6 atomic fragment", eth().ipv6().fragment6(0, false).tcp(1, 2).build(),
       kExt | kLayerFragment | kLayerTcp, 82},
  };
}

TEST(Parse, SetsLayersOfEachKindOfFrame) {
  for (const Kind& kind : kinds()) {
    SCOPED_TRACE(kind.name);
    const Parsed parsed = parse_good(kind.frame);
    EXPECT_EQ(parsed.key.layers.host(), kind.layers);
    EXPECT_EQ(testing::wrong_checksum(kind.frame), "") << "the frame itself";
    if ((kind.layers & (kLayerTcp | kLayerUdp | kLayerSctp)) != 0) {
      EXPECT_EQ(parsed.key.l4.src, to_be16(1));
    } else {
      EXPECT_EQ(parsed.key.l4.src, be16{});
      EXPECT_EQ(parsed.key.l4.dst, be16{});
    }
    if ((kind.layers & (kLayerIpv4 | kLayerIpv6)) == 0) continue;
    const testing::L4Place place = testing::find_l4(kind.frame);
    EXPECT_EQ(parsed.l4_offset, place.offset);
    EXPECT_EQ(parsed.l4_length, place.length);
    EXPECT_EQ(parsed.key.ip.proto, place.proto);
  }
}

TEST(Parse, ReadsEthernetFields) {
  const Parsed parsed =
      parse_good(PacketBuilder().eth("02:aa:bb:cc:dd:01", "02:11:22:33:44:02").payload(46).build());
  EXPECT_EQ(parsed.key.eth.dst, *parse_mac("02:aa:bb:cc:dd:01"));
  EXPECT_EQ(parsed.key.eth.src, *parse_mac("02:11:22:33:44:02"));
  EXPECT_EQ(parsed.key.eth.type, to_be16(0x88b5));
  EXPECT_EQ(parsed.vlan_tags, 0);
  EXPECT_EQ(parsed.l3_offset, 0);
}

TEST(Parse, ReadsTwoTagsAndTreatsThirdAsPayload) {
  const Parsed two =
      parse_good(eth().vlan(100, 5, true, 0x88a8).vlan(200, 2).ipv4().udp(1, 2).build());
  EXPECT_EQ(two.vlan_tags, 2);
  EXPECT_EQ(two.key.eth.type, to_be16(0x88a8));
  EXPECT_EQ(two.key.eth.vlan_tci, to_be16(5 << 13 | 1 << 12 | 100));
  EXPECT_EQ(two.key.eth.vlan_inner_type, to_be16(0x8100));
  EXPECT_EQ(two.key.eth.vlan2_tci, to_be16(2 << 13 | 200));
  EXPECT_EQ(two.key.eth.vlan2_inner_type, to_be16(0x0800));
  EXPECT_EQ(two.l3_offset, 22);

  const Parsed three = parse_good(eth().vlan(1).vlan(2).vlan(3).ipv4().udp(1, 2).build());
  EXPECT_EQ(three.vlan_tags, 2);
  EXPECT_EQ(three.key.eth.vlan2_inner_type, to_be16(0x8100));
  EXPECT_EQ(three.key.layers.host(), kLayerEth | kLayerVlan | kLayerVlan2);
  EXPECT_EQ(three.l3_offset, 0);
}

TEST(Parse, ReadsArpFields) {
  const Parsed parsed =
      parse_good(eth()
                     .vlan(9)
                     .arp(2, "02:00:00:00:00:0a", "10.0.0.10", "02:00:00:00:00:0b", "10.0.0.11")
                     .build());
  EXPECT_EQ(parsed.key.arp.opcode, to_be16(2));
  EXPECT_EQ(parsed.key.arp.sha, *parse_mac("02:00:00:00:00:0a"));
  EXPECT_EQ(parsed.key.arp.tha, *parse_mac("02:00:00:00:00:0b"));
  EXPECT_EQ(parsed.key.ipv4.src, to_be32(0x0a00000a));
  EXPECT_EQ(parsed.key.ipv4.dst, to_be32(0x0a00000b));
  EXPECT_EQ(parsed.l3_offset, 18);
  EXPECT_EQ(parsed.l4_offset, 0);
}

TEST(Parse, AcceptsOtherArpWithoutArpLayer) {
  const Parsed parsed = parse_good(
      eth().arp(1, testing::kMacOne, "10.0.0.1", testing::kMacTwo, "10.0.0.2").set16(0, 6).build());
  EXPECT_EQ(parsed.key.layers.host(), kLayerEth);
}

TEST(Parse, ReadsIpv4Fields) {
  const Parsed parsed = parse_good(eth()
                                       .ipv4("192.0.2.1", "198.51.100.7", 33)
                                       .fragment4(0, false)
                                       .set16(6, 0x4000)
                                       .tcp(1234, 80, 0x12)
                                       .payload(5)
                                       .padding(7)
                                       .build());
  EXPECT_EQ(parsed.key.ipv4.src, to_be32(0xc0000201));
  EXPECT_EQ(parsed.key.ipv4.dst, to_be32(0xc6336407));
  EXPECT_EQ(parsed.key.ip.ttl, 33);
  EXPECT_EQ(parsed.key.ip.tos, 0x2e);
  EXPECT_EQ(parsed.key.ip.proto, 6);
  EXPECT_EQ(parsed.key.ip.fragment, to_be16(0x4000)) << "DF is no fragment, but can be matched";
  EXPECT_EQ(parsed.key.l4.src, to_be16(1234));
  EXPECT_EQ(parsed.key.l4.dst, to_be16(80));
  EXPECT_EQ(parsed.key.l4.tcp_flags, 0x12);
  EXPECT_EQ(parsed.l3_offset, 14);
  EXPECT_EQ(parsed.l4_offset, 34);
  EXPECT_EQ(parsed.l4_length, 25) << "padding is not L4";
}

TEST(Parse, ReadsIpv6Fields) {
  const Parsed parsed = parse_good(eth()
                                       .ipv6("2001:db8::1", "2001:db8::2", 5, 0xb8, 0xfedcb)
                                       .hop_by_hop(1)
                                       .udp(5000, 53)
                                       .payload(4)
                                       .build());
  EXPECT_EQ(parsed.key.ipv6.src, *parse_ipv6("2001:db8::1"));
  EXPECT_EQ(parsed.key.ipv6.dst, *parse_ipv6("2001:db8::2"));
  EXPECT_EQ(parsed.key.ip.ttl, 5);
  EXPECT_EQ(parsed.key.ip.tos, 0xb8);
  EXPECT_EQ(parsed.key.ip.ipv6_flow, to_be32(0xfedcb));
  EXPECT_EQ(parsed.key.ip.ipv6_next, 0) << "the fixed header's";
  EXPECT_EQ(parsed.key.ip.proto, 17) << "behind the extension headers";
  EXPECT_EQ(parsed.key.l4.dst, to_be16(53));
  EXPECT_EQ(parsed.l4_offset, 14 + 40 + 16);
  EXPECT_EQ(parsed.l4_length, 12);
}

TEST(Parse, LaterFragmentsHaveNoPorts) {
  const Parsed first = parse_good(eth().ipv4().fragment4(0, true).udp(7, 8).payload(8).build());
  EXPECT_EQ(first.key.l4.dst, to_be16(8));
  EXPECT_EQ(first.key.ip.fragment, to_be16(0x2000));
  const Parsed later =
      parse_good(eth().ipv4().fragment4(185, false).set8(9, 17).payload(8).build());
  EXPECT_EQ(later.key.l4.dst, be16{});
  EXPECT_EQ(later.key.ip.proto, 17);
  EXPECT_EQ(later.l4_offset, 0);
  const Parsed later6 =
      parse_good(eth().ipv6().fragment6(185, true).set8(0, 60).payload(2).build());
  EXPECT_EQ(later6.key.ip.fragment, to_be16(185 << 3 | 1));
  EXPECT_EQ(later6.key.ip.proto, 60) << "its payload is no extension header to be read";
  EXPECT_EQ(later6.l4_offset, 0);
}

TEST(Parse, UdpLengthMayExceedFirstFragmentButNotWholeDatagram) {
  EXPECT_EQ(verdict(eth().ipv4().fragment4(0, true).udp(7, 8).set16(4, 2000).payload(8).build()),
            "good");
  EXPECT_EQ(verdict(eth().ipv6().fragment6(0, true).udp(7, 8).set16(4, 2000).payload(8).build()),
            "good");
  EXPECT_EQ(verdict(eth().ipv6().fragment6(0, false).udp(7, 8).set16(4, 2000).payload(8).build()),
            "malformed_l4");
}

TEST(Parse, IcmpNeedsIpv4AndIcmp6NeedsIpv6) {
  const Parsed echo = parse_good(eth().ipv4().icmp(8, 1, 0x1234, 7).build());
  EXPECT_EQ(echo.key.l4.icmp_type, 8);
  EXPECT_EQ(echo.key.l4.icmp_code, 1);
  EXPECT_EQ(echo.key.l4.icmp_ident, to_be16(0x1234));
  EXPECT_EQ(echo.key.l4.icmp_seq, to_be16(7));
  EXPECT_EQ(parse_good(eth().ipv4().icmp(13, 0, 5, 6).payload(12).build()).key.l4.icmp_ident,
            to_be16(5));
  EXPECT_EQ(parse_good(eth().ipv4().icmp(3, 4, 5, 1400).build()).key.l4.icmp_seq, be16{})
      << "an error has no sequence";
  const Parsed echo6 = parse_good(eth().ipv6().icmp6(129, 0, 1, 2).build());
  EXPECT_EQ(echo6.key.l4.icmp_type, 129);
  EXPECT_EQ(echo6.key.l4.icmp_ident, to_be16(1));
  EXPECT_EQ(parse_good(eth().ipv6().icmp6(135, 0, 9, 9).payload(16).build()).key.l4.icmp_ident,
            be16{});
  EXPECT_EQ(parse_good(eth().ipv4().icmp6(128, 0, 1, 2).build()).key.layers.host(),
            kLayerEth | kLayerIpv4);
  EXPECT_EQ(parse_good(eth().ipv6().icmp(8, 0, 1, 2).build()).key.layers.host(),
            kLayerEth | kLayerIpv6);
}

TEST(Parse, ReadsVxlanHeaderAndNothingBehindIt) {
  const Parsed parsed =
      parse_good(eth().ipv4().udp(9, 4789).vxlan(0x123456).eth().vlan(7).ipv6().tcp(1, 2).build());
  EXPECT_EQ(parsed.key.l4.vxlan_vni, to_be32(0x12345600));
  EXPECT_EQ(parse_good(eth().ipv4().udp(9, 4789).vxlan(5).set8(7, 0xff).build()).key.l4.vxlan_vni,
            to_be32(5 << 8))
      << "the reserved byte is not the VNI's";
  EXPECT_EQ(parsed.vlan_tags, 0);
  EXPECT_EQ(parsed.key.layers.host(), kLayerEth | kLayerIpv4 | kLayerUdp | kLayerVxlan);
  const Parsed invalid =
      parse_good(eth().ipv4().udp(9, 4789).vxlan(5).set8(0, 0).payload(9).build());
  EXPECT_EQ(invalid.key.l4.vxlan_vni, be32{}) << "RFC 7348: I must be set";
  EXPECT_EQ(invalid.key.layers.host(), kLayerEth | kLayerIpv4 | kLayerUdp);
  EXPECT_EQ(parse_good(eth().ipv4().udp(4789, 9).vxlan(5).build()).key.l4.vxlan_vni, be32{})
      << "by destination port";
}

TEST(Parse, DetectsRoutingHeaderWithSegmentsLeft) {
  EXPECT_TRUE(parse_good(eth().ipv6().routing(1, "fd00::9").tcp(1, 2).build()).source_routed);
  EXPECT_FALSE(parse_good(eth().ipv6().routing(0, "fd00::9").tcp(1, 2).build()).source_routed);
}

TEST(Parse, CopiesMarkFromPacket) {
  TestPacket test(eth().payload(46).build());
  test.packet.mark = 0x01020304;
  Parsed parsed;
  EXPECT_EQ(parse(test.packet, parsed), std::nullopt);
  EXPECT_EQ(parsed.key.mark, to_be32(0x01020304));
}

TEST(Parse, ClearsFieldsOfPreviousFrame) {
  Parsed parsed;
  TestPacket rich(eth().vlan(1).vlan(2).ipv6().routing(1, "fd00::1").udp(1, 4789).vxlan(5).build());
  EXPECT_EQ(parse(rich.packet, parsed), std::nullopt);
  TestPacket plain(eth().payload(46).build());
  EXPECT_EQ(parse(plain.packet, parsed), std::nullopt);
  const Parsed fresh = parse_good(eth().payload(46).build());
  EXPECT_EQ(parsed.key, fresh.key);
  EXPECT_EQ(parsed.l4_offset, 0);
  EXPECT_FALSE(parsed.source_routed);
}

TEST(Parse, RefusesFramesThatEndWithinTheirHeaders) {
  for (const Kind& kind : kinds()) {
    for (size_t length = 0; length < kind.headers; ++length) {
      const Frame cut(kind.frame.begin(), kind.frame.begin() + static_cast<long>(length));
      ASSERT_TRUE(verdict(cut).starts_with("malformed_")) << kind.name << " cut to " << length;
    }
    EXPECT_EQ(
        verdict(Frame(kind.frame.begin(), kind.frame.begin() + static_cast<long>(kind.headers))),
        "good")
        << kind.name;
  }
}

TEST(Parse, ReadsOnlyTheFirstSegment) {
  for (const Kind& kind : kinds()) {
    for (size_t head = 0; head <= kind.frame.size(); ++head) {
      TestPacket test(kind.frame, head, 0);
      Parsed parsed;
      (void)parse(test.packet, parsed);  // AddressSanitizer reports reads out of bounds
    }
  }
}

TEST(Parse, AcceptsChecksumRequestForL4AndUnreadBytesOnly) {
  struct Request {
    const char* what;
    Frame frame;
    uint16_t start;
    uint16_t offset;
    const char* expected;
  };
  const Frame tcp = eth().ipv4().tcp(1, 2, 2, 3).payload(20).build();
  const Frame tunnel = eth().ipv4().udp(1, 4789).vxlan(4).eth().ipv4().tcp(1, 2).build();
  const Frame flagless =
      eth().ipv4().udp(1, 4789).payload(40, 0).build();  // the port of VXLAN, but flag I is clear
  const auto size = static_cast<uint16_t>(tcp.size());
  const Request requests[] = {
      {"TCP's", tcp, 34, 16, "good"},
      {"TCP's ports", tcp, 34, 0, "bad_offload"},
      {"TCP's flags", tcp, 34, 12, "bad_offload"},
      {"TCP's checksum from within its header", tcp, 36, 14, "bad_offload"},
      {"a byte beside TCP's", tcp, 34, 17, "bad_offload"},
      {"TCP's options", tcp, 34, 24, "bad_offload"},
      {"the IP header's source", tcp, 14, 12, "bad_offload"},
      {"from the IP header, of TCP's", tcp, 14, 36, "bad_offload"},
      {"the Ethernet header's", tcp, 0, 0, "bad_offload"},
      {"from the Ethernet header, into the payload", tcp, 0, 70, "bad_offload"},
      {"from the IP header's end, into the payload", tcp, 33, 40, "bad_offload"},
      {"within the payload", tcp, 34, 32, "good"},
      {"the payload's last two bytes", tcp, 34, static_cast<uint16_t>(size - 36), "good"},
      {"half outside", tcp, 34, static_cast<uint16_t>(size - 35), "bad_offload"},
      {"outside", tcp, size, 0, "bad_offload"},
      {"far outside", tcp, 0xffff, 0xffff, "bad_offload"},
      {"UDP's", eth().ipv6().udp(1, 2).build(), 54, 6, "good"},
      {"UDP's length", eth().ipv6().udp(1, 2).build(), 54, 4, "bad_offload"},
      {"ICMPv6's", eth().ipv6().icmp6(128, 0).build(), 54, 2, "good"},
      {"ICMP's", eth().ipv4().icmp(8, 0).build(), 34, 2, "good"},
      {"ICMP's type", eth().ipv4().icmp(8, 0).build(), 34, 0, "bad_offload"},
      {"a tunnel's inner TCP's", tunnel, 14 + 36 + 34, 16, "good"},
      {"a tunnel's VNI", tunnel, 34, 12, "bad_offload"},
      {"the flags that say a VNI is there", flagless, 34, 8, "bad_offload"},
      {"a VNI that is not valid yet", flagless, 34, 12, "bad_offload"},
      {"behind a VXLAN header without a VNI", flagless, 34, 16, "good"},
      {"an extension header's", eth().ipv6().dest_options().udp(1, 2).build(), 54, 4,
       "bad_offload"},
      {"UDP's behind an extension header", eth().ipv6().dest_options().udp(1, 2).build(), 62, 6,
       "good"},
      {"an ARP address",
       eth().arp(1, testing::kMacOne, "10.0.0.1", testing::kMacTwo, "10.0.0.2").padding(18).build(),
       14, 14, "bad_offload"},
      {"a tag", eth().vlan(1).payload(40).build(), 14, 0, "bad_offload"},
      {"an unknown protocol's", eth().ipv4().payload(40).build(), 34, 8, "good"},
  };
  for (const Request& request : requests) {
    TestPacket test(request.frame);
    test.packet.flags = Packet::kPartialChecksum;
    test.packet.csum_start = request.start;
    test.packet.csum_offset = request.offset;
    EXPECT_EQ(verdict(test.packet), request.expected) << request.what;
    test.packet.flags = 0;
    EXPECT_EQ(verdict(test.packet), "good") << request.what << ": without the flag";
  }
}

TEST(Parse, MutatedFramesAreReadWithinBounds) {
  constexpr unsigned kSeed = 20240229;
  SCOPED_TRACE(::testing::Message() << "seed " << kSeed);
  std::mt19937 random(kSeed);
  const std::vector<Kind> all = kinds();
  int good = 0;
  for (int round = 0; round < 60000; ++round) {
    Frame frame = all[random() % all.size()].frame;
    const unsigned changes = 1 + random() % 4;
    for (unsigned i = 0; i < changes; ++i)
      frame[random() % frame.size()] = static_cast<uint8_t>(random());
    if (random() % 3 == 0) frame.resize(random() % (frame.size() + 1));
    const size_t l3 = frame.size() > 34 ? 14 : 0;
    if (l3 != 0 && random() % 2 == 0 && (frame[l3] >> 4) == 4) {
      // Corrects the header checksum, so that the parser reads on.
      const size_t header =
          std::min<size_t>((frame[l3] & 15u) * 4u, frame.size() - l3) & ~size_t{1};
      frame[l3 + 10] = frame[l3 + 11] = 0;
      const uint32_t sum = ~testing::sum_range(frame, l3, header);
      frame[l3 + 10] = static_cast<uint8_t>(sum >> 8);
      frame[l3 + 11] = static_cast<uint8_t>(sum);
    }
    const size_t head = random() % 4 == 0 ? random() % (frame.size() + 1) : frame.size();
    TestPacket test(frame, head, 0);
    if (random() % 2 == 0) {
      test.packet.flags = Packet::kPartialChecksum;
      test.packet.csum_start = static_cast<uint16_t>(random() % 90);
      test.packet.csum_offset = static_cast<uint16_t>(random() % 30);
    }
    Parsed parsed;
    if (parse(test.packet, parsed)) continue;
    ++good;
    ASSERT_EQ(test.bytes(), Frame(frame.begin(), frame.begin() + static_cast<long>(head)))
        << "parse() wrote to the frame";
    ASSERT_LE(parsed.l3_offset, head);
    ASSERT_LE(parsed.l4_offset, head);
    ASSERT_LE(parsed.l4_offset + parsed.l4_length, frame.size());
    ASSERT_TRUE(parsed.key.has(kLayerEth));
    const uint16_t layers = parsed.key.layers.host();
    const int l3s =
        std::popcount(static_cast<unsigned>(layers & (kLayerArp | kLayerIpv4 | kLayerIpv6)));
    const int l4s = std::popcount(static_cast<unsigned>(
        layers & (kLayerTcp | kLayerUdp | kLayerIcmp | kLayerIcmp6 | kLayerSctp)));
    ASSERT_LE(l3s, 1);
    ASSERT_LE(l4s, 1);
    ASSERT_TRUE(l4s == 0 || parsed.l4_offset > parsed.l3_offset);
    (void)flow_hash(parsed.key);
  }
  EXPECT_GT(good, 5000) << "most rounds fail at the first check";
}

uint32_t hash_of(const Frame& frame) { return flow_hash(parse_good(frame).key); }

TEST(FlowHash, IsEqualWithinFlowAndDiffersBetweenFlows) {
  const uint32_t flow = hash_of(eth().ipv4().tcp(1000, 80).build());
  EXPECT_EQ(hash_of(eth().ipv4("10.0.0.1", "10.0.0.2", 3).tcp(1000, 80, 1).payload(99).build()),
            flow);
  EXPECT_NE(hash_of(eth().ipv4().tcp(1001, 80).build()), flow);
  EXPECT_NE(hash_of(eth().ipv4("10.0.0.3").tcp(1000, 80).build()), flow);
  EXPECT_NE(hash_of(eth().ipv4().udp(1000, 80).build()), flow);
  EXPECT_NE(hash_of(eth().ipv6().tcp(1000, 80).build()),
            hash_of(eth().ipv6("fd00::1", "fd00::3").tcp(1000, 80).build()));
}

TEST(FlowHash, IsEqualForAllFragmentsOfDatagram) {
  EXPECT_EQ(hash_of(eth().ipv4().fragment4(0, true).udp(7, 8).payload(8).build()),
            hash_of(eth().ipv4().fragment4(2, false).set8(9, 17).payload(8).build()));
  EXPECT_EQ(hash_of(eth().ipv6().fragment6(0, true).dest_options().udp(7, 8).payload(8).build()),
            hash_of(eth().ipv6().fragment6(2, false).set8(0, 60).payload(8).build()))
      << "later fragments do not have the protocol behind the options";
}

TEST(FlowHash, SpreadsFlowsEvenlyOverQueues) {
  for (const uint32_t queues : {2u, 3u, 4u, 8u}) {
    std::vector<int> hits(queues);
    constexpr int kFlows = 4000;
    for (int i = 0; i < kFlows; ++i) {
      ++hits[hash_of(eth().ipv4().udp(static_cast<uint16_t>(1024 + i), 53).build()) % queues];
    }
    for (const int hit : hits)
      EXPECT_NEAR(hit, kFlows / static_cast<int>(queues), kFlows / static_cast<int>(queues) / 3);
  }
}

// The fast path for common frames agrees with the walk over all headers, also after any byte is
// changed and wherever the frame is cut.
TEST(ParseFastPath, AgreesWithWalkOverAllHeaders) {
  const uint64_t seed = std::random_device{}();
  SCOPED_TRACE("seed " + std::to_string(seed));
  std::mt19937_64 random(seed);
  const testing::Frame frames[] = {eth().ipv4().udp(1000, 53).payload(30).build(),
                                   eth().ipv4().udp(1000, 4789).payload(30).build(),
                                   eth().ipv4().tcp(1000, 53, 0x12, 2).payload(30).build(),
                                   eth().ipv4().tcp(1000, 53).padding(9).build(),
                                   eth().ipv4().udp(1, 2).padding(20).build()};
  size_t parsed = 0;
  for (int n = 0; n < 200'000; ++n) {
    testing::Frame frame = frames[random() % std::size(frames)];
    for (uint64_t changes = random() % 3; changes > 0; --changes)
      frame[random() % frame.size()] ^= static_cast<uint8_t>(1u << random() % 8);
    if (random() % 2 == 0) {  // correct the header checksum, which a change made wrong
      frame[24] = frame[25] = 0;
      const auto sum = static_cast<uint16_t>(~ones_sum({frame.data() + 14, 20}));
      frame[24] = static_cast<uint8_t>(sum >> 8);
      frame[25] = static_cast<uint8_t>(sum);
    }
    if (random() % 8 == 0) frame.resize(random() % frame.size());
    TestPacket test(frame);
    test.packet.mark = static_cast<uint32_t>(random() % 3);
    Parsed fast, slow;
    const auto fast_says = parse(test.packet, fast);
    const auto slow_says = parse_headers(test.packet, slow);
    ASSERT_EQ(fast_says, slow_says);
    if (fast_says) continue;
    ++parsed;
    ASSERT_EQ(fast.key, slow.key);
    ASSERT_EQ(fast.l3_offset, slow.l3_offset);
    ASSERT_EQ(fast.l4_offset, slow.l4_offset);
    ASSERT_EQ(fast.l4_length, slow.l4_length);
    ASSERT_EQ(fast.vlan_tags, slow.vlan_tags);
    ASSERT_EQ(fast.source_routed, slow.source_routed);
  }
  EXPECT_GT(parsed, 50'000u);
}

}  // namespace
}  // namespace godwit::dataplane
