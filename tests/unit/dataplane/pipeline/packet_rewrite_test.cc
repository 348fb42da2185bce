// SPDX-License-Identifier: Apache-2.0
//
// Compares each rewrite with a frame built from scratch with the changed field, and verifies all
// checksums by a slow, independent computation.
#include <gtest/gtest.h>

#include <functional>
#include <random>
#include <string>
#include <vector>

#include "dataplane/packet/checksum.h"
#include "dataplane/packet/parse.h"
#include "dataplane/pipeline/packet_rewrite.h"
#include "tests/builders/packet_builder.h"
#include "tests/oracles/frame_check.h"

namespace godwit::dataplane {
namespace {

using testing::Frame;
using testing::PacketBuilder;
using testing::TestPacket;

// The fields that a rewrite may change. Frames are built from them.
struct Fields {
  std::string mac_dst = "02:00:00:00:00:02";
  std::string mac_src = "02:00:00:00:00:01";
  std::string src4 = "10.0.0.1";
  std::string dst4 = "10.0.0.2";
  std::string src6 = "fd00::1";
  std::string dst6 = "fd00::2";
  uint16_t sport = 1000;
  uint16_t dport = 2000;
  uint8_t ttl = 64;
};

struct Shape {
  const char* name;
  std::function<PacketBuilder(const Fields&, PacketBuilder)> above_eth;
  bool partial = false;  // a guest may leave its checksum partial
};

const std::vector<Shape> kShapes = {
    {"ipv4 tcp",
     [](const Fields& f, PacketBuilder b) {
       return b.ipv4(f.src4, f.dst4, f.ttl).tcp(f.sport, f.dport).payload(101);
     },
     true},
    {"ipv4 options tcp options",
     [](const Fields& f, PacketBuilder b) {
       return b.ipv4(f.src4, f.dst4, f.ttl, 3).tcp(f.sport, f.dport, 2, 5);
     },
     true},
    {"ipv4 udp padded",
     [](const Fields& f, PacketBuilder b) {
       return b.ipv4(f.src4, f.dst4, f.ttl).udp(f.sport, f.dport).payload(1).padding(17);
     }},
    {"ipv4 udp",
     [](const Fields& f, PacketBuilder b) {
       return b.ipv4(f.src4, f.dst4, f.ttl).udp(f.sport, f.dport).payload(32);
     },
     true},
    {"ipv4 udp without checksum",
     [](const Fields& f, PacketBuilder b) {
       return b.ipv4(f.src4, f.dst4, f.ttl).udp_unsummed(f.sport, f.dport).payload(32);
     }},
    {"ipv4 udp vxlan",
     [](const Fields& f, PacketBuilder b) {
       return b.ipv4(f.src4, f.dst4, f.ttl).udp(f.sport, 4789).vxlan(7).eth().ipv4().tcp(1, 2);
     }},
    {"ipv4 udp-lite",
     [](const Fields& f, PacketBuilder b) {
       return b.ipv4(f.src4, f.dst4, f.ttl).udp_lite(5, 6).payload(9);
     }},
    {"ipv4 icmp",
     [](const Fields& f, PacketBuilder b) {
       return b.ipv4(f.src4, f.dst4, f.ttl).icmp(8, 0, 1, 2).payload(5);
     }},
    {"ipv4 sctp",
     [](const Fields& f, PacketBuilder b) {
       return b.ipv4(f.src4, f.dst4, f.ttl).sctp(5, 6).payload(5);
     }},
    {"ipv4 other",
     [](const Fields& f, PacketBuilder b) { return b.ipv4(f.src4, f.dst4, f.ttl).payload(30); }},
    {"ipv4 first fragment",
     [](const Fields& f, PacketBuilder b) {
       return b.ipv4(f.src4, f.dst4, f.ttl).fragment4(0, true).udp(f.sport, f.dport).payload(16);
     }},
    {"ipv4 later fragment",
     [](const Fields& f, PacketBuilder b) {
       return b.ipv4(f.src4, f.dst4, f.ttl).fragment4(3, false).set8(9, 17).payload(16);
     }},
    {"ipv6 tcp",
     [](const Fields& f, PacketBuilder b) {
       return b.ipv6(f.src6, f.dst6, f.ttl).tcp(f.sport, f.dport).payload(101);
     },
     true},
    {"ipv6 udp",
     [](const Fields& f, PacketBuilder b) {
       return b.ipv6(f.src6, f.dst6, f.ttl).udp(f.sport, f.dport).payload(33);
     },
     true},
    {"ipv6 extensions udp",
     [](const Fields& f, PacketBuilder b) {
       return b.ipv6(f.src6, f.dst6, f.ttl)
           .hop_by_hop()
           .dest_options(1)
           .udp(f.sport, f.dport)
           .payload(33);
     },
     true},
    {"ipv6 source-routed tcp",
     [](const Fields& f, PacketBuilder b) {
       return b.ipv6(f.src6, f.dst6, f.ttl).routing(1, "fd00::99").tcp(f.sport, f.dport).payload(3);
     },
     true},
    {"ipv6 arrived by routing tcp",
     [](const Fields& f, PacketBuilder b) {
       return b.ipv6(f.src6, f.dst6, f.ttl).routing(0, "fd00::99").tcp(f.sport, f.dport).payload(3);
     },
     true},
    {"ipv6 icmp6",
     [](const Fields& f, PacketBuilder b) {
       return b.ipv6(f.src6, f.dst6, f.ttl).icmp6(135, 0).payload(16);
     },
     true},
    {"ipv6 first fragment",
     [](const Fields& f, PacketBuilder b) {
       return b.ipv6(f.src6, f.dst6, f.ttl).fragment6(0, true).tcp(f.sport, f.dport).payload(4);
     }},
    {"ipv6 later fragment",
     [](const Fields& f, PacketBuilder b) {
       return b.ipv6(f.src6, f.dst6, f.ttl).fragment6(3, true).set8(0, 6).payload(24);
     }},
    {"ipv6 other",
     [](const Fields& f, PacketBuilder b) { return b.ipv6(f.src6, f.dst6, f.ttl).payload(30); }},
    {"arp",
     [](const Fields&, PacketBuilder b) {
       return b.arp(1, "02:00:00:00:00:01", "10.0.0.1", "00:00:00:00:00:00", "10.0.0.2")
           .padding(18);
     }},
    {"other", [](const Fields&, PacketBuilder b) { return b.payload(46); }},
};

Frame build(const Shape& shape, const Fields& fields, int tags = 0) {
  PacketBuilder builder = PacketBuilder().eth(fields.mac_dst, fields.mac_src);
  if (tags == 2) builder.vlan(300, 4, true, 0x88a8);
  if (tags >= 1) builder.vlan(100, 3);
  return shape.above_eth(fields, builder).build();
}

Op number_op(OpCode code, uint32_t number = 0) {
  Op op;
  op.code = code;
  op.number = number;
  return op;
}
template <typename Address>
Op value_op(OpCode code, const Result<Address>& address) {
  Op op = number_op(code);
  std::copy(address.value().bytes.begin(), address.value().bytes.end(), op.value.begin());
  return op;
}

std::string run(const Op& op, TestPacket& test) {
  Parsed parsed;
  if (const auto drop = parse(test.packet, parsed))
    return "parse: " + std::string(drop_name(*drop));
  const auto drop = apply_rewrite(op, test.packet, parsed);
  return drop ? std::string(drop_name(*drop)) : "good";
}

enum class Needs { kNothing, kIpv4, kIpv6, kIp, kPorts };

struct Rewrite {
  const char* name;
  Op op;
  std::function<void(Fields&)> change;
  Needs needs;
};

const std::vector<Rewrite>& rewrites() {
  static const std::vector<Rewrite> all = {
      {"set_mac_src", value_op(OpCode::kSetMacSrc, parse_mac("02:aa:bb:cc:dd:ee")),
       [](Fields& f) { f.mac_src = "02:aa:bb:cc:dd:ee"; }, Needs::kNothing},
      {"set_mac_dst", value_op(OpCode::kSetMacDst, parse_mac("02:aa:bb:cc:dd:ee")),
       [](Fields& f) { f.mac_dst = "02:aa:bb:cc:dd:ee"; }, Needs::kNothing},
      {"mac_swap", number_op(OpCode::kMacSwap), [](Fields& f) { std::swap(f.mac_src, f.mac_dst); },
       Needs::kNothing},
      {"set_ipv4_src", value_op(OpCode::kSetIpv4Src, parse_ipv4("192.168.255.254")),
       [](Fields& f) { f.src4 = "192.168.255.254"; }, Needs::kIpv4},
      {"set_ipv4_dst", value_op(OpCode::kSetIpv4Dst, parse_ipv4("0.0.0.0")),
       [](Fields& f) { f.dst4 = "0.0.0.0"; }, Needs::kIpv4},
      {"set_ipv4_dst broadcast", value_op(OpCode::kSetIpv4Dst, parse_ipv4("255.255.255.255")),
       [](Fields& f) { f.dst4 = "255.255.255.255"; }, Needs::kIpv4},
      {"set_ipv6_src", value_op(OpCode::kSetIpv6Src, parse_ipv6("2001:db8:ffff::5")),
       [](Fields& f) { f.src6 = "2001:db8:ffff::5"; }, Needs::kIpv6},
      {"set_ipv6_dst",
       value_op(OpCode::kSetIpv6Dst, parse_ipv6("ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff")),
       [](Fields& f) { f.dst6 = "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"; }, Needs::kIpv6},
      {"set_tp_src", number_op(OpCode::kSetTpSrc, 65535), [](Fields& f) { f.sport = 65535; },
       Needs::kPorts},
      {"set_tp_dst", number_op(OpCode::kSetTpDst, 0), [](Fields& f) { f.dport = 0; },
       Needs::kPorts},
      {"set_ttl", number_op(OpCode::kSetTtl, 255), [](Fields& f) { f.ttl = 255; }, Needs::kIp},
      {"set_ttl zero", number_op(OpCode::kSetTtl, 0), [](Fields& f) { f.ttl = 0; }, Needs::kIp},
      {"dec_ttl", number_op(OpCode::kDecTtl), [](Fields& f) { --f.ttl; }, Needs::kIp},
  };
  return all;
}

bool has_needed(const Frame& frame, Needs needs) {
  TestPacket test(frame);
  Parsed parsed;
  EXPECT_EQ(parse(test.packet, parsed), std::nullopt);
  const uint16_t layers = parsed.key.layers.host();
  switch (needs) {
    case Needs::kIpv4: return (layers & kLayerIpv4) != 0;
    case Needs::kIpv6: return (layers & kLayerIpv6) != 0;
    case Needs::kIp: return (layers & (kLayerIpv4 | kLayerIpv6)) != 0;
    case Needs::kPorts: return (layers & (kLayerTcp | kLayerUdp)) != 0;
    default: return true;
  }
}

TEST(Rewrite, Apply_EachOp_EqualsFrameBuiltWithChangedField) {
  for (const Shape& shape : kShapes) {
    for (const Rewrite& rewrite : rewrites()) {
      for (int tags = 0; tags <= 2; ++tags) {
        SCOPED_TRACE(std::string(rewrite.name) + " on " + shape.name +
                     " with tags: " + std::to_string(tags));
        const Frame frame = build(shape, Fields{}, tags);
        TestPacket test(frame);
        if (!has_needed(frame, rewrite.needs)) {
          EXPECT_EQ(run(rewrite.op, test), "rewrite_impossible");
          EXPECT_EQ(test.bytes(), frame);
          continue;
        }
        Fields changed;
        rewrite.change(changed);
        Frame expected = build(shape, changed, tags);
        if (std::string(shape.name) == "ipv4 udp vxlan" && rewrite.op.code == OpCode::kSetTpDst) {
          // The port of this shape is fixed, so the frame is built by hand.
          expected =
              PacketBuilder().eth().ipv4().udp(1000, 0).vxlan(7).eth().ipv4().tcp(1, 2).build();
          if (tags != 0) continue;
        }
        ASSERT_EQ(run(rewrite.op, test), "good");
        EXPECT_EQ(test.bytes(), expected);
        EXPECT_EQ(testing::wrong_checksum(test.bytes()), "");
      }
    }
  }
}

TEST(Rewrite, Apply_PartialChecksum_IsCompletedCorrectly) {
  for (const Shape& shape : kShapes) {
    if (!shape.partial) continue;
    for (const Rewrite& rewrite : rewrites()) {
      SCOPED_TRACE(std::string(rewrite.name) + " on " + shape.name);
      const Frame frame = build(shape, Fields{}, 1);
      if (!has_needed(frame, rewrite.needs)) continue;
      TestPacket test(frame);
      leave_checksum_undone(test);
      ASSERT_EQ(run(rewrite.op, test), "good");
      if (rewrite.needs == Needs::kPorts) {
        EXPECT_EQ(test.packet.flags & Packet::kPartialChecksum, 0) << "completed";
      }
      if (rewrite.needs == Needs::kNothing || rewrite.needs == Needs::kIp) {
        EXPECT_NE(test.packet.flags & Packet::kPartialChecksum, 0)
            << "not covered by the rewrite, so still partial";
      }
      EXPECT_EQ(finish_partial_checksum(test.packet), std::nullopt);
      Fields changed;
      rewrite.change(changed);
      EXPECT_EQ(test.bytes(), build(shape, changed, 1));
    }
  }
}

TEST(Rewrite, SetPort_UdpChecksumOfZero_IsSentAsAllOnes) {
  for (const Frame& frame : {PacketBuilder().eth().ipv4().udp(1000, 53).build(),
                             PacketBuilder().eth().ipv6().udp(1000, 53).build()}) {
    const uint32_t checksum_at = testing::find_l4(frame).checksum_at;
    TestPacket test(frame);
    Parsed parsed;
    ASSERT_EQ(parse(test.packet, parsed), std::nullopt);
    int all_ones = 0;
    for (uint32_t port = 0; port <= 65535; ++port) {
      ASSERT_EQ(apply_rewrite(number_op(OpCode::kSetTpSrc, port), test.packet, parsed),
                std::nullopt);
      const Frame now = test.bytes();
      ASSERT_NE(testing::at16(now, checksum_at), 0u) << port;
      ASSERT_EQ(testing::wrong_checksum(now), "") << port;
      all_ones += testing::at16(now, checksum_at) == 0xffff ? 1 : 0;
    }
    EXPECT_GT(all_ones, 0) << "some port must lead to it";
  }
}

TEST(Rewrite, PushVlan_AddsOuterTagWithVidAndPriorityOfOldOne) {
  const Op push = number_op(OpCode::kPushVlan, 0x88a8);
  TestPacket plain(PacketBuilder().eth().ipv4().udp(1, 2).build());
  EXPECT_EQ(run(push, plain), "good");
  EXPECT_EQ(plain.bytes(),
            PacketBuilder().eth().vlan(0, 0, false, 0x88a8).ipv4().udp(1, 2).build());
  EXPECT_EQ(plain.packet.headroom, TestPacket::kHeadroom - 4);
  EXPECT_EQ(plain.packet.len, plain.packet.head_len);

  TestPacket tagged(PacketBuilder().eth().vlan(100, 5, true).ipv4().udp(1, 2).build());
  EXPECT_EQ(run(push, tagged), "good");
  EXPECT_EQ(tagged.bytes(), PacketBuilder()
                                .eth()
                                .vlan(100, 5, false, 0x88a8)
                                .vlan(100, 5, true)
                                .ipv4()
                                .udp(1, 2)
                                .build());
}

TEST(Rewrite, PopVlan_RemovesOuterTag) {
  TestPacket test(
      PacketBuilder().eth().vlan(7, 1, false, 0x88a8).vlan(100, 5).ipv4().udp(1, 2).build());
  EXPECT_EQ(run(number_op(OpCode::kPopVlan), test), "good");
  EXPECT_EQ(test.bytes(), PacketBuilder().eth().vlan(100, 5).ipv4().udp(1, 2).build());
  EXPECT_EQ(run(number_op(OpCode::kPopVlan), test), "good");
  const Frame plain = PacketBuilder().eth().ipv4().udp(1, 2).build();
  EXPECT_EQ(test.bytes(), plain);
  EXPECT_EQ(test.packet.headroom, TestPacket::kHeadroom + 8);
  EXPECT_EQ(run(number_op(OpCode::kPopVlan), test), "rewrite_impossible");
  EXPECT_EQ(test.bytes(), plain);
}

TEST(Rewrite, PushAndPopVlan_MovePartialChecksumOffset) {
  for (const Shape& shape : kShapes) {
    if (!shape.partial) continue;
    SCOPED_TRACE(shape.name);
    const Frame frame = build(shape, Fields{}, 0);
    TestPacket test(frame);
    leave_checksum_undone(test);
    const uint16_t start = test.packet.csum_start;
    EXPECT_EQ(run(number_op(OpCode::kPushVlan, 0x8100), test), "good");
    EXPECT_EQ(run(number_op(OpCode::kSetVlanVid, 100), test), "good");
    EXPECT_EQ(run(number_op(OpCode::kSetVlanPcp, 3), test), "good");
    EXPECT_EQ(test.packet.csum_start, start + 4);
    TestPacket popped(test.bytes());
    popped.packet.flags = test.packet.flags;
    popped.packet.csum_start = test.packet.csum_start;
    popped.packet.csum_offset = test.packet.csum_offset;
    EXPECT_EQ(finish_partial_checksum(test.packet), std::nullopt);
    EXPECT_EQ(test.bytes(), build(shape, Fields{}, 1));
    EXPECT_EQ(run(number_op(OpCode::kPopVlan), popped), "good");
    EXPECT_EQ(popped.packet.csum_start, start);
    EXPECT_EQ(finish_partial_checksum(popped.packet), std::nullopt);
    EXPECT_EQ(popped.bytes(), frame);
  }
}

TEST(Rewrite, SetVlan_ChangesOnlyItsBitsOfOuterTag) {
  TestPacket test(PacketBuilder().eth().vlan(100, 5, true).vlan(9).ipv4().udp(1, 2).build());
  EXPECT_EQ(run(number_op(OpCode::kSetVlanVid, 4094), test), "good");
  EXPECT_EQ(test.bytes(),
            PacketBuilder().eth().vlan(4094, 5, true).vlan(9).ipv4().udp(1, 2).build());
  EXPECT_EQ(run(number_op(OpCode::kSetVlanPcp, 2), test), "good");
  EXPECT_EQ(test.bytes(),
            PacketBuilder().eth().vlan(4094, 2, true).vlan(9).ipv4().udp(1, 2).build());
  for (const OpCode code : {OpCode::kSetVlanVid, OpCode::kSetVlanPcp}) {
    TestPacket plain(PacketBuilder().eth().ipv4().udp(1, 2).build());
    EXPECT_EQ(run(number_op(code, 1), plain), "rewrite_impossible");
  }
}

TEST(Rewrite, PushVlan_NoHeadroom_IsRefused) {
  for (uint16_t headroom = 0; headroom < 4; ++headroom) {
    const Frame frame = PacketBuilder().eth().ipv4().udp(1, 2).build();
    TestPacket test(frame, headroom);
    EXPECT_EQ(run(number_op(OpCode::kPushVlan, 0x8100), test), "rewrite_impossible");
    EXPECT_EQ(test.bytes(), frame);
  }
  TestPacket test(PacketBuilder().eth().ipv4().udp(1, 2).build(), 4);
  EXPECT_EQ(run(number_op(OpCode::kPushVlan, 0x8100), test), "good");
  EXPECT_EQ(test.packet.headroom, 0);
}

TEST(Rewrite, DecTtl_LastHop_IsRefused) {
  for (const uint8_t ttl : {uint8_t{0}, uint8_t{1}}) {
    for (const Frame& frame :
         {PacketBuilder().eth().ipv4("10.0.0.1", "10.0.0.2", ttl).udp(1, 2).build(),
          PacketBuilder().eth().ipv6("fd00::1", "fd00::2", ttl).udp(1, 2).build()}) {
      TestPacket test(frame);
      EXPECT_EQ(run(number_op(OpCode::kDecTtl), test), "ttl_exceeded");
      EXPECT_EQ(test.bytes(), frame);
    }
  }
  TestPacket test(PacketBuilder().eth().ipv4("10.0.0.1", "10.0.0.2", 2).udp(1, 2).build());
  EXPECT_EQ(run(number_op(OpCode::kDecTtl), test), "good");
  EXPECT_EQ(test.bytes(), PacketBuilder().eth().ipv4("10.0.0.1", "10.0.0.2", 1).udp(1, 2).build());
}

TEST(Rewrite, Apply_WrongL4Checksum_StaysWrongByTheSameAmount) {
  // A switch must not hide damage done before the frame reached it.
  const Frame frame =
      PacketBuilder().eth().ipv4().tcp(1, 2).corrupt16(16, 0x1234).payload(20).build();
  TestPacket test(frame);
  EXPECT_EQ(run(number_op(OpCode::kSetTpDst, 99), test), "good");
  EXPECT_EQ(testing::wrong_checksum(test.bytes()), "protocol 6");
}

TEST(Rewrite, Apply_SegmentedFrameWithPartialChecksum_IsRefusedUnchanged) {
  const Frame frame = PacketBuilder().eth().ipv4().tcp(1, 2).payload(200).build();
  TestPacket test(frame, 80, 64);
  test.packet.flags = Packet::kPartialChecksum;
  test.packet.csum_start = 34;
  test.packet.csum_offset = 16;
  const Frame before = test.bytes();
  EXPECT_EQ(run(value_op(OpCode::kSetIpv4Src, parse_ipv4("10.9.9.9")), test), "bad_offload");
  EXPECT_EQ(test.bytes(), before);
}

TEST(Rewrite, Apply_OpThatIsNoRewrite_IsRefused) {
  TestPacket test(PacketBuilder().eth().ipv4().udp(1, 2).build());
  for (const OpCode code :
       {OpCode::kInvalid, OpCode::kDrop, OpCode::kOutput, OpCode::kNormal, OpCode::kMark}) {
    EXPECT_EQ(run(number_op(code), test), "rewrite_impossible");
  }
  EXPECT_EQ(run(number_op(OpCode::kPushVlan, 0x9100), test), "rewrite_impossible");
  EXPECT_EQ(run(number_op(OpCode::kPushVlan, 0x18100), test), "rewrite_impossible");
}

Op random_op(std::mt19937& random) {
  constexpr unsigned kRewrites =
      static_cast<unsigned>(OpCode::kDecTtl) - static_cast<unsigned>(OpCode::kPushVlan) + 1;
  Op op = number_op(
      static_cast<OpCode>(static_cast<unsigned>(OpCode::kPushVlan) + random() % kRewrites));
  op.number = op.code == OpCode::kPushVlan ? (random() % 2 == 0 ? 0x8100 : 0x88a8)
                                           : static_cast<uint32_t>(random() % 70000);
  for (uint8_t& byte : op.value) byte = static_cast<uint8_t>(random() % 3 == 0 ? 0xff : random());
  return op;
}

TEST(Rewrite, RandomChains_KeepChecksumsRightAndRefusedFramesUnchanged) {
  constexpr unsigned kSeed = 20240301;
  SCOPED_TRACE(::testing::Message() << "seed " << kSeed);
  std::mt19937 random(kSeed);
  int applied = 0;
  for (int round = 0; round < 6000; ++round) {
    const Shape& shape = kShapes[random() % kShapes.size()];
    TestPacket test(build(shape, Fields{}, static_cast<int>(random() % 3)),
                    static_cast<uint16_t>(random() % 12));
    if (shape.partial && random() % 2 == 0) leave_checksum_undone(test);
    for (int step = 0; step < 12; ++step) {
      const Op op = random_op(random);
      const Frame before = test.bytes();
      const Packet packet = test.packet;
      const std::string verdict = run(op, test);
      if (verdict.starts_with("parse: ")) break;  // a port became that of VXLAN
      if (verdict != "good") {
        ASSERT_EQ(test.bytes(), before) << shape.name;
        ASSERT_EQ(test.packet.data, packet.data);
        ASSERT_EQ(test.packet.flags, packet.flags);
        continue;
      }
      ++applied;
      TestPacket finished(test.bytes());
      finished.packet.flags = test.packet.flags;
      finished.packet.csum_start = test.packet.csum_start;
      finished.packet.csum_offset = test.packet.csum_offset;
      ASSERT_EQ(finish_partial_checksum(finished.packet), std::nullopt);
      ASSERT_EQ(testing::wrong_checksum(finished.bytes()), "")
          << shape.name << " round " << round << " op " << static_cast<int>(op.code);
    }
  }
  EXPECT_GT(applied, 20000);
}

TEST(Rewrite, MutatedFrames_AreRewrittenWithinBounds) {
  constexpr unsigned kSeed = 20240302;
  SCOPED_TRACE(::testing::Message() << "seed " << kSeed);
  std::mt19937 random(kSeed);
  int applied = 0;
  for (int round = 0; round < 60000; ++round) {
    Frame frame =
        build(kShapes[random() % kShapes.size()], Fields{}, static_cast<int>(random() % 3));
    const size_t l3 = testing::l3_offset_of(frame);
    for (unsigned i = 0; i < 3; ++i) {
      const size_t at = 12 + random() % (frame.size() - 12);
      if (at < l3 || at >= l3 + 12 || random() % 4 == 0) frame[at] = static_cast<uint8_t>(random());
    }
    TestPacket test(frame, frame.size() - random() % 8 % frame.size(),
                    static_cast<uint16_t>(random() % 6));
    if (random() % 2 == 0) {
      test.packet.flags = Packet::kPartialChecksum;
      test.packet.csum_start = static_cast<uint16_t>(random() % 100);
      test.packet.csum_offset = static_cast<uint16_t>(random() % 20);
    }
    if (run(random_op(random), test) == "good") ++applied;  // AddressSanitizer checks the bounds
  }
  EXPECT_GT(applied, 5000);
}

}  // namespace
}  // namespace godwit::dataplane
