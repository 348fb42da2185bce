// SPDX-License-Identifier: Apache-2.0
//
// The front-end against wrong input, which no correct back-end produces: malformed rings, wrong
// replies, lost packets. tests/system/forwarding/test_front_end_with_testpmd.py runs it against a
// real back-end.
#include <array>
#include <cstring>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include <gtest/gtest.h>
#include <sys/socket.h>

#include "tests/tools/vhost_frontend/message_channel.h"
#include "tests/tools/vhost_frontend/numbered_packets.h"
#include "tests/tools/vhost_frontend/virtqueue.h"

namespace godwit::vhost_frontend {
namespace {

using vhost_user::MessageHeader;
using vhost_user::Request;

// Acts as the device of a ring by writing guest memory.
struct Device {
  static constexpr uint16_t kSize = 8;
  static constexpr uint32_t kBuffer = 256;

  explicit Device(uint64_t features) {
    Status status;
    memory = GuestMemory::create(1 << 20, 1, &status);
    EXPECT_TRUE(status.ok()) << status.error();
    EXPECT_TRUE(receive.place(*memory, kSize, kBuffer));
    EXPECT_TRUE(transmit.place(*memory, kSize, kBuffer));
    receive.initialise(features);
    transmit.initialise(features);
  }

  void put_used(const SplitRing& ring, uint16_t position, uint32_t id, uint32_t length) {
    const virtio::UsedElement element{id, length};
    std::memcpy(memory->base() + ring.used_offset() + 4 + 8 * (position % kSize), &element,
                sizeof(element));
  }
  void set_used_index(const SplitRing& ring, uint16_t index) {
    std::memcpy(memory->base() + ring.used_offset() + 2, &index, sizeof(index));
  }
  virtio::Desc descriptor(const SplitRing& ring, uint16_t id) {
    virtio::Desc found{};
    std::memcpy(&found, memory->base() + ring.desc_offset() + sizeof(found) * id, sizeof(found));
    return found;
  }
  uint8_t* at(uint64_t guest_address) {
    size_t offset = 0;
    EXPECT_TRUE(memory->offset_of(guest_address, &offset));
    return memory->base() + offset;
  }
  // Writes a frame of `length` bytes of `fill` into the buffer of `id`, with `buffers` in its
  // header.
  void write_frame(uint16_t id, uint16_t buffers, uint8_t fill, size_t length) {
    virtio::NetHeader header;
    header.num_buffers = buffers;
    uint8_t* to = at(descriptor(receive, id).address);
    std::memcpy(to, &header, sizeof(header));
    std::memset(to + sizeof(header), fill, length);
  }
  std::vector<std::vector<uint8_t>> poll() {
    std::vector<std::vector<uint8_t>> frames;
    receive.poll(64, 0, [&](const Frame& frame) {
      frames.emplace_back(frame.data.begin(), frame.data.end());
    });
    return frames;
  }

  std::unique_ptr<GuestMemory> memory;
  ReceiveRing receive;
  TransmitRing transmit;
};

constexpr uint64_t kMergeable = virtio::kVersion1 | virtio::kNetMrgRxbuf;

TEST(ReceiveRing, GathersFrameFromSeveralBuffers) {
  Device device(kMergeable);
  device.write_frame(3, 2, 0xaa, 244);
  std::memset(device.at(device.descriptor(device.receive, 5).address), 0xbb, 10);
  device.put_used(device.receive, 0, 3, 256);
  device.put_used(device.receive, 1, 5, 10);
  device.set_used_index(device.receive, 2);
  const auto frames = device.poll();
  ASSERT_EQ(frames.size(), 1u);
  ASSERT_EQ(frames[0].size(), 254u);
  EXPECT_EQ(frames[0][243], 0xaa);
  EXPECT_EQ(frames[0][244], 0xbb);
  EXPECT_EQ(device.receive.driver_avail_index(), Device::kSize + 2);
}

TEST(ReceiveRing, InvalidUsedEntry_BreaksRing) {
  struct Case {
    const char* name;
    std::function<void(Device&)> write;
  };
  const std::vector<Case> cases = {
      {"id out of range",
       [](Device& d) {
         d.put_used(d.receive, 0, Device::kSize, 64);
         d.set_used_index(d.receive, 1);
       }},
      {"length beyond the buffer",
       [](Device& d) {
         d.put_used(d.receive, 0, 0, 257);
         d.set_used_index(d.receive, 1);
       }},
      {"length below the header",
       [](Device& d) {
         d.put_used(d.receive, 0, 0, 11);
         d.set_used_index(d.receive, 1);
       }},
      {"index ahead", [](Device& d) { d.set_used_index(d.receive, Device::kSize + 1); }},
      {"index behind", [](Device& d) { d.set_used_index(d.receive, 0xffff); }},
      {"no buffers",
       [](Device& d) {
         d.write_frame(0, 0, 1, 64);
         d.put_used(d.receive, 0, 0, 76);
         d.set_used_index(d.receive, 1);
       }},
      {"more buffers than returned",
       [](Device& d) {
         d.write_frame(0, 2, 1, 64);
         d.put_used(d.receive, 0, 0, 76);
         d.set_used_index(d.receive, 1);
       }},
      {"the same buffer twice",
       [](Device& d) {
         d.write_frame(0, 2, 1, 64);
         d.put_used(d.receive, 0, 0, 76);
         d.put_used(d.receive, 1, 0, 76);
         d.set_used_index(d.receive, 2);
       }},
  };
  for (const Case& one : cases) {
    Device device(kMergeable);
    one.write(device);
    EXPECT_TRUE(device.poll().empty()) << one.name;
    EXPECT_NE(device.receive.broken(), "") << one.name;
    EXPECT_TRUE(device.poll().empty()) << one.name;
  }
}

TEST(TransmitRing, ChainsLongFramesAndRefusesFramesThatDoNotFit) {
  Device device(kMergeable);
  const std::vector<uint8_t> longest(8 * 256 - 12, 0x5a);
  const std::vector<uint8_t> longer(longest.size() + 1, 0x5a);
  EXPECT_EQ(device.transmit.send(std::array{Frame{.data = longer}}), 0u);
  EXPECT_EQ(device.transmit.send(std::array{Frame{.data = longest}}), 1u);
  EXPECT_EQ(device.transmit.send(std::array{Frame{.data = std::span(longest).first(1)}}), 0u);
  size_t bytes = 0;
  uint16_t id = 0;
  for (int hops = 0; hops < 8; ++hops) {
    const virtio::Desc descriptor = device.descriptor(device.transmit, id);
    bytes += descriptor.length;
    EXPECT_EQ((descriptor.flags & virtio::kDescNext) != 0, hops < 7);
    id = descriptor.next;
  }
  EXPECT_EQ(bytes, longest.size() + 12);
  device.put_used(device.transmit, 0, 0, 0);
  device.set_used_index(device.transmit, 1);
  EXPECT_EQ(device.transmit.reclaim(), Device::kSize);
  EXPECT_EQ(device.transmit.in_flight(), 0u);
}

TEST(TransmitRing, ReturnOfDescriptorNotPosted_BreaksRing) {
  Device device(kMergeable);
  const std::vector<uint8_t> frame(60, 1);
  ASSERT_EQ(device.transmit.send(std::array{Frame{.data = frame}}), 1u);
  device.put_used(device.transmit, 0, 4, 0);
  device.set_used_index(device.transmit, 1);
  EXPECT_EQ(device.transmit.reclaim(), 0u);
  EXPECT_NE(device.transmit.broken(), "");
  EXPECT_EQ(device.transmit.send(std::array{Frame{.data = frame}}), 0u);
}

TEST(Rings, CopyOfMemory_KeepsRingIndices) {
  Device device(kMergeable);
  device.write_frame(0, 1, 0x11, 60);
  device.put_used(device.receive, 0, 0, 72);
  device.set_used_index(device.receive, 1);
  ASSERT_EQ(device.poll().size(), 1u);
  Status status;
  const std::unique_ptr<GuestMemory> copy = device.memory->clone(&status);
  ASSERT_NE(copy, nullptr) << status.error();
  ReceiveRing moved = device.receive;
  moved.rebind(*copy);
  const virtio::UsedElement element{1, 72};
  const uint16_t two = 2;
  const uint16_t one = 1;
  std::memcpy(copy->base() + moved.used_offset() + 4 + 8, &element, sizeof(element));
  std::memcpy(copy->base() + moved.used_offset() + 2, &two, sizeof(two));
  uint8_t* header = copy->base() + (device.at(device.descriptor(device.receive, 1).address) -
                                    device.memory->base());
  std::memcpy(header + 10, &one, sizeof(one));
  EXPECT_EQ(moved.poll(64, 0, [](const Frame&) {}), 1u) << moved.broken();
  EXPECT_FALSE(device.receive.pending());
}

class ChannelTest : public ::testing::Test {
 protected:
  void SetUp() override {
    int pair[2];
    ASSERT_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
    channel_.open(UniqueFd(pair[0]));
    back_end_.reset(pair[1]);
    channel_.use_reply_ack(true);
  }

  Status answer(Request request, uint32_t flags, uint32_t size,
                const std::vector<uint8_t>& payload) {
    const MessageHeader header{static_cast<uint32_t>(request), flags, size};
    EXPECT_EQ(::send(back_end_.get(), &header, sizeof(header), 0),
              static_cast<ssize_t>(sizeof(header)));
    if (!payload.empty()) {
      EXPECT_EQ(::send(back_end_.get(), payload.data(), payload.size(), 0),
                static_cast<ssize_t>(payload.size()));
    }
    return channel_.pump(0);
  }

  static constexpr uint32_t kReply = vhost_user::kVersion | vhost_user::kFlagReply;
  MessageChannel channel_;
  UniqueFd back_end_;
};

TEST_F(ChannelTest, RefusedRequest_IsError) {
  channel_.request(Request::kSetOwner, {}, {}, true);
  ASSERT_TRUE(channel_.pump(0).ok());
  EXPECT_FALSE(answer(Request::kSetOwner, kReply, 8, {1, 0, 0, 0, 0, 0, 0, 0}).ok());
}

TEST_F(ChannelTest, AcknowledgedRequest_SendsNextRequest) {
  bool done = false;
  channel_.request(Request::kSetOwner, {}, {}, true, [&] {
    done = true;
    return Status();
  });
  ASSERT_TRUE(channel_.pump(0).ok());
  EXPECT_FALSE(done);
  EXPECT_TRUE(answer(Request::kSetOwner, kReply, 8, std::vector<uint8_t>(8, 0)).ok());
  EXPECT_TRUE(done);
  EXPECT_TRUE(channel_.idle());
}

TEST_F(ChannelTest, RefusesReplyToOtherRequest) {
  channel_.query(Request::kGetFeatures, {}, [](std::span<const uint8_t>) { return Status(); });
  ASSERT_TRUE(channel_.pump(0).ok());
  EXPECT_FALSE(answer(Request::kGetQueueNum, kReply, 8, {}).ok());
}

TEST_F(ChannelTest, RefusesOverlongReply) {
  channel_.query(Request::kGetFeatures, {}, [](std::span<const uint8_t>) { return Status(); });
  ASSERT_TRUE(channel_.pump(0).ok());
  EXPECT_FALSE(answer(Request::kGetFeatures, kReply, 0xffffffff, {}).ok());
}

TEST_F(ChannelTest, RefusesReplyWithoutPendingRequest) {
  EXPECT_FALSE(answer(Request::kGetFeatures, kReply, 0, {}).ok());
}

TEST_F(ChannelTest, MissingReply_IsErrorAfterTimeout) {
  channel_.query(Request::kGetFeatures, {}, [](std::span<const uint8_t>) { return Status(); });
  ASSERT_TRUE(channel_.pump(0).ok());
  EXPECT_TRUE(channel_.pump(MessageChannel::kReplyTimeoutNs).ok());
  EXPECT_FALSE(channel_.pump(MessageChannel::kReplyTimeoutNs + 1).ok());
}

TEST_F(ChannelTest, ReportsClosedConnection) {
  back_end_.reset();
  EXPECT_FALSE(channel_.pump(0).ok());
}

TEST(NumberedPackets, ParsedFrame_EqualsBuiltFrame) {
  for (const bool ipv6 : {false, true}) {
    for (const int vlan : {-1, 100}) {
      NumberedTemplate shape;
      shape.stream = 77;
      shape.ipv6 = ipv6;
      shape.vlan = vlan;
      shape.bytes = 200;
      NumberedBuilder builder(shape);
      const auto frame = builder.build(0x0102030405, 99);
      NumberedPacket packet;
      ASSERT_TRUE(parse_numbered(frame, &packet));
      EXPECT_EQ(packet.stream, 77u);
      EXPECT_EQ(packet.sequence, 0x0102030405u);
      EXPECT_EQ(packet.sent_ns, 99);
      EXPECT_TRUE(packet.intact);
      std::vector<uint8_t> damaged(frame.begin(), frame.end());
      damaged.back() ^= 1;
      ASSERT_TRUE(parse_numbered(damaged, &packet));
      EXPECT_FALSE(packet.intact);
      for (size_t length = 0; length < frame.size(); ++length) {
        EXPECT_FALSE(parse_numbered(frame.first(length), &packet)) << length;
      }
    }
  }
}

TEST(StreamAccount, CountsLossDuplicatesAndReorderingSeparately) {
  StreamAccount account;
  int64_t now = 1000;
  for (const uint64_t sequence : {0, 1, 3, 2, 2, 7}) {
    account.add({.stream = 1, .sequence = sequence, .sent_ns = now - 5, .intact = true}, now);
    now += sequence == 2 ? 500 : 10;
  }
  EXPECT_EQ(account.received, 5u);
  EXPECT_EQ(account.lost(), 3u);
  EXPECT_EQ(account.duplicates, 1u);
  EXPECT_EQ(account.out_of_order, 1u);
  EXPECT_EQ(account.max_latency_ns, 5);
  EXPECT_EQ(account.longest_gap_before, 7u);
  const std::vector<std::pair<uint64_t, uint64_t>> missing = {{4, 6}};
  EXPECT_EQ(account.missing(8), missing);
}

TEST(StreamAccount, CountsNoLossBeforeStartSequence) {
  StreamAccount account(100);
  account.add({.stream = 1, .sequence = 99, .sent_ns = 0, .intact = true}, 1);
  EXPECT_EQ(account.lost(), 0u);
  account.add({.stream = 1, .sequence = 101, .sent_ns = 0, .intact = true}, 2);
  EXPECT_EQ(account.before_start, 1u);
  EXPECT_EQ(account.lost(), 1u);
  account.add({.stream = 1, .sequence = StreamAccount::kMaxSequence, .sent_ns = 0, .intact = true},
              3);
  EXPECT_EQ(account.beyond, 1u);
}

}  // namespace
}  // namespace godwit::vhost_frontend
