// SPDX-License-Identifier: Apache-2.0
#include "dataplane/packet/checksum.h"

#include <gtest/gtest.h>

#include <random>

#include "dataplane/packet/parse.h"
#include "tests/builders/packet_builder.h"
#include "tests/oracles/frame_check.h"

namespace godwit::dataplane {
namespace {

using testing::Frame;
using testing::PacketBuilder;
using testing::TestPacket;

Frame random_bytes(std::mt19937& random, size_t size) {
  Frame bytes(size);
  for (uint8_t& byte : bytes) byte = static_cast<uint8_t>(random());
  return bytes;
}

TEST(Checksum, SumsExampleOfRfc1071) {
  const Frame bytes = {0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7};
  EXPECT_EQ(ones_sum(bytes), 0xddf2);
  EXPECT_EQ(ones_sum({}), 0);
  EXPECT_EQ(ones_sum(Frame{0xab}), 0xab00);
  EXPECT_EQ(ones_sum(Frame{0xff, 0xff, 0x00, 0x01}), 0x0001);
}

TEST(Checksum, SumsAllLengthsAndAlignments) {
  constexpr unsigned kSeed = 1071;
  SCOPED_TRACE(::testing::Message() << "seed " << kSeed);
  std::mt19937 random(kSeed);
  const Frame bytes = random_bytes(random, 2000);
  for (size_t from = 0; from < 9; ++from) {
    for (size_t length = 0; length < 200; ++length) {
      const auto part = std::span(bytes).subspan(from, length);
      ASSERT_EQ(ones_sum(part), testing::sum_range(bytes, from, length)) << from << " " << length;
      ASSERT_EQ(ones_sum(part, 0x1fffe), testing::sum_range(bytes, from, length, 0xffff));
    }
  }
  ASSERT_EQ(ones_sum(bytes), testing::sum_range(bytes, 0, bytes.size()));
  const Frame ones(65536, 0xff);
  ASSERT_EQ(ones_sum(ones), 0xffff);
}

TEST(Checksum, UpdateEqualsChecksumOfNewBytes) {
  constexpr unsigned kSeed = 1624;
  SCOPED_TRACE(::testing::Message() << "seed " << kSeed);
  std::mt19937 random(kSeed);
  for (int round = 0; round < 20000; ++round) {
    Frame bytes = random_bytes(random, 40);
    if (round % 3 == 0) std::fill(bytes.begin() + 8, bytes.end(), uint8_t{0});  // sums near zero
    bytes[39] = 0x11;  // never all zero, like an IP header
    const size_t at = random() % 16 * 2;
    const size_t length = (1 + random() % 4) * 2;
    Frame to = random_bytes(random, length);
    if (round % 5 == 0)
      std::fill(to.begin(), to.end(), static_cast<uint8_t>(round % 2 == 0 ? 0 : 0xff));
    const auto before = static_cast<uint16_t>(~testing::sum_range(bytes, 0, bytes.size()));
    const Frame from(bytes.begin() + static_cast<long>(at),
                     bytes.begin() + static_cast<long>(at + length));
    std::copy(to.begin(), to.end(), bytes.begin() + static_cast<long>(at));
    const uint32_t sum = testing::sum_range(bytes, 0, bytes.size());
    const uint16_t after = checksum_update(before, from, to);
    // A receiver checks that the sum with the checksum is all ones.
    const uint32_t verified = sum + after;
    ASSERT_EQ((verified & 0xffff) + (verified >> 16), 0xffffu) << "round " << round;
  }
}

TEST(Checksum, UpdateHandlesCounterexampleOfRfc1624) {
  const Frame from = {0x55, 0x55};
  const Frame to = {0x32, 0x85};
  EXPECT_EQ(checksum_update(0xdd2f, from, to), 0x0000);
}

TEST(Checksum, FinishesPartialChecksum) {
  const Frame frames[] = {
      PacketBuilder().eth().ipv4().tcp(1000, 80).payload(101).build(),
      PacketBuilder().eth().vlan(7).ipv4().udp(1000, 53).payload(7).build(),
      PacketBuilder().eth().ipv6().tcp(1000, 80, 2, 3).build(),
      PacketBuilder().eth().ipv6().dest_options(1).udp(1000, 53).payload(1).build(),
  };
  for (const Frame& frame : frames) {
    TestPacket test(frame);
    leave_checksum_undone(test);
    ASSERT_NE(test.bytes(), frame);
    EXPECT_EQ(finish_partial_checksum(test.packet), std::nullopt);
    EXPECT_EQ(test.bytes(), frame);
    EXPECT_EQ(test.packet.flags & Packet::kPartialChecksum, 0);
    EXPECT_EQ(finish_partial_checksum(test.packet), std::nullopt) << "nothing is left to do";
    EXPECT_EQ(test.bytes(), frame);
  }
}

TEST(Checksum, WritesZeroUdpChecksumAsAllOnes) {
  // The payload makes the sum all ones. Its complement is zero, which would mean "no checksum".
  Frame frame = PacketBuilder().eth().ipv4().udp(1000, 53).payload(Frame{0, 0}).build();
  const uint32_t checksum = testing::at16(frame, 40);
  frame = PacketBuilder()
              .eth()
              .ipv4()
              .udp(1000, 53)
              .payload(Frame{static_cast<uint8_t>(checksum >> 8), static_cast<uint8_t>(checksum)})
              .build();
  ASSERT_EQ(testing::at16(frame, 40), 0xffffu);
  TestPacket test(frame);
  leave_checksum_undone(test);
  EXPECT_EQ(finish_partial_checksum(test.packet), std::nullopt);
  EXPECT_EQ(test.bytes(), frame);
}

TEST(Checksum, RefusesRequestOutsideFrameUnchanged) {
  const Frame frame = PacketBuilder().eth().ipv4().udp(1000, 53).payload(7).build();
  const auto size = static_cast<uint16_t>(frame.size());
  const std::pair<uint16_t, uint16_t> requests[] = {{size, 0},
                                                    {static_cast<uint16_t>(size - 1), 0},
                                                    {34, static_cast<uint16_t>(size - 35)},
                                                    {0xffff, 0xffff},
                                                    {34, 0xffff}};
  for (const auto& [start, offset] : requests) {
    TestPacket test(frame);
    test.packet.flags = Packet::kPartialChecksum;
    test.packet.csum_start = start;
    test.packet.csum_offset = offset;
    EXPECT_EQ(finish_partial_checksum(test.packet), Drop::k_bad_offload) << start << " " << offset;
    EXPECT_EQ(test.bytes(), frame);
    EXPECT_EQ(test.packet.flags, Packet::kPartialChecksum);
  }
  TestPacket last(frame);
  last.packet.flags = Packet::kPartialChecksum;
  last.packet.csum_start = static_cast<uint16_t>(size - 2);
  EXPECT_EQ(finish_partial_checksum(last.packet), std::nullopt) << "the last two bytes are inside";
}

TEST(Checksum, RefusesFrameInSegments) {
  const Frame frame = PacketBuilder().eth().ipv4().udp(1000, 53).payload(70).build();
  TestPacket test(frame, 60, 64);
  test.packet.flags = Packet::kPartialChecksum;
  test.packet.csum_start = 34;
  test.packet.csum_offset = 6;
  EXPECT_EQ(finish_partial_checksum(test.packet), Drop::k_bad_offload);
}

TEST(Checksum, BuiltFramesPassSlowCheck) {
  EXPECT_EQ(testing::wrong_checksum(
                PacketBuilder().eth().vlan(1).vlan(2).ipv4().tcp(1, 2).payload(9).build()),
            "");
  EXPECT_EQ(testing::wrong_checksum(
                PacketBuilder().eth().ipv6().hop_by_hop().icmp6(128, 0, 1, 2).payload(9).build()),
            "");
  EXPECT_EQ(testing::wrong_checksum(
                PacketBuilder().eth().ipv6().routing(1, "fd00::9").udp(1, 2).payload(9).build()),
            "");
  EXPECT_EQ(
      testing::wrong_checksum(PacketBuilder().eth().ipv4().udp(1, 2).corrupt16(6, 0x1111).build()),
      "protocol 17");
  EXPECT_EQ(testing::wrong_checksum(PacketBuilder().eth().ipv4().corrupt8(8, 3).udp(1, 2).build()),
            "IPv4 header");
}

}  // namespace
}  // namespace godwit::dataplane
