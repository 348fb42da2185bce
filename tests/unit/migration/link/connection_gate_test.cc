// SPDX-License-Identifier: Apache-2.0
#include "migration/link/connection_gate.h"

#include <gtest/gtest.h>

#include <vector>

#include "base/log_limit.h"
#include "migration/link/message_reader.h"

namespace godwit::migration {
namespace {

class GateTest : public ::testing::Test {
 protected:
  // The number of the connection that came in, -1: none did.
  int come(const std::string& address, uint64_t now_ms) {
    if (!gate_.make_room(address, now_ms).empty()) return -1;
    const int number = static_cast<int>(tickets_.size());
    tickets_.push_back(gate_.add({address, now_ms, false, [this, number](const std::string&) {
                                    gone_.push_back(number);
                                    gate_.remove(tickets_[static_cast<size_t>(number)]);
                                  }}));
    return number;
  }
  ConnectionGate gate_{{8, 4, 6}};
  std::vector<ConnectionGate::Ticket> tickets_;
  std::vector<int> gone_;
};

TEST_F(GateTest, NewLimits_CountForTheNextConnection) {
  for (int i = 0; i < 4; ++i) EXPECT_EQ(come("a", 0), i);
  EXPECT_EQ(come("a", 1), -1);
  gate_.set_limits({8, 5, 6});
  EXPECT_EQ(come("a", 1), 4);
  gate_.set_limits({8, 2, 6});
  EXPECT_EQ(come("a", 1), -1);
  EXPECT_TRUE(gone_.empty()) << "connections beyond a new limit stay";
  EXPECT_EQ(come("b", 1), 5);
}

TEST_F(GateTest, AtTheLimit_EvictsThePendingConnectionPastItsGrace) {
  for (int i = 0; i < 4; ++i) EXPECT_EQ(come("a", 0), i);
  EXPECT_EQ(come("a", ConnectionGate::kGraceMs - 1), -1) << "one address has its share";
  EXPECT_EQ(come("b", 1), 4);
  EXPECT_EQ(come("b", 1), 5);
  EXPECT_EQ(come("c", 2), -1) << "six strangers";
  EXPECT_EQ(come("c", ConnectionGate::kGraceMs), 6);
  EXPECT_EQ(gone_, std::vector<int>{0}) << "the oldest of the address that has the most";
  EXPECT_EQ(come("a", ConnectionGate::kGraceMs), 7);
  EXPECT_EQ(gone_, (std::vector<int>{0, 1}));
  EXPECT_EQ(gate_.pending(), 6u);
}

TEST_F(GateTest, AtTheLimit_KeepsConnectionsOfMoves) {
  for (int i = 0; i < 4; ++i) {
    come("a", 0);
    gate_.know(tickets_[static_cast<size_t>(i)]);
  }
  EXPECT_EQ(gate_.pending(), 0u);
  EXPECT_EQ(come("a", 5000), -1);
  for (int i = 0; i < 4; ++i) EXPECT_GE(come("b", 5000), 0);
  EXPECT_EQ(come("c", 5001), -1) << "all eight, and the strangers are young";
  EXPECT_EQ(come("c", 6000), 8);
  EXPECT_EQ(gone_, std::vector<int>{4});
  gate_.remove(tickets_[0]);
  EXPECT_EQ(gate_.size(), 7u);
}

TEST(LogLimit, OverTheRate_ReportsTheOmittedLines) {
  std::vector<std::string> lines;
  LogLimit log([&](const std::string& line) { lines.push_back(line); });
  for (int i = 0; i < 1000; ++i) log.write("x", 10);
  EXPECT_EQ(lines.size(), LogLimit::kBurst);
  log.write("y", 1010);
  ASSERT_EQ(lines.size(), LogLimit::kBurst + 2);
  EXPECT_EQ(lines[LogLimit::kBurst], "peer: 900 lines like the following were left out");
  EXPECT_EQ(lines.back(), "y");
}

TEST(MessageReader, SplitStream_YieldsWholeMessages) {
  std::string stream;
  std::vector<std::string> sent;
  for (size_t size : {1u, 3u, 250u, 70000u, 5u, 300000u, 2u}) {
    sent.emplace_back(size, static_cast<char>('a' + sent.size()));
    for (int shift = 24; shift >= 0; shift -= 8) stream.push_back(static_cast<char>(size >> shift));
    stream += sent.back();
  }
  for (size_t step : {1u, 7u, 4096u, 1000000u}) {
    MessageReader reader(kMaxMessageBytes);
    std::vector<std::string> got;
    for (size_t at = 0; at < stream.size();) {
      const auto room = reader.room();
      ASSERT_FALSE(room.empty());
      const size_t n = std::min({step, room.size(), stream.size() - at});
      std::copy_n(stream.begin() + static_cast<std::ptrdiff_t>(at), n, room.begin());
      at += n;
      reader.took(n);
      for (;;) {
        auto next = reader.next();
        ASSERT_TRUE(next);
        if (!*next) break;
        got.emplace_back((*next)->begin(), (*next)->end());
      }
    }
    EXPECT_EQ(got, sent) << step;
    EXPECT_EQ(reader.waiting(), 0u);
  }
}

TEST(MessageReader, ClaimedLength_AllocatesNothing) {
  MessageReader reader(kMaxMessageBytes);
  const uint8_t length[] = {0x03, 0xff, 0xff, 0xff};  // 64 MB
  std::copy_n(length, 4, reader.room().begin());
  reader.took(4);
  auto next = reader.next();
  ASSERT_TRUE(next);
  EXPECT_FALSE(*next);
  EXPECT_LE(reader.room().size(), 128u << 10);
  EXPECT_LE(reader.capacity(), 256u << 10);
}

TEST(MessageReader, BeforeHello_OffersRoomForAHelloOnly) {
  MessageReader reader;
  EXPECT_EQ(reader.room().size(), kLengthBytes + kMaxHelloBytes);
  reader.took(200);
  EXPECT_EQ(reader.room().size(), kLengthBytes + kMaxHelloBytes - 200);
}

}  // namespace
}  // namespace godwit::migration
