// SPDX-License-Identifier: Apache-2.0
//
// Packets that count themselves: UDP over IPv4 or IPv6, whose payload carries the stream's id, a
// sequence number from 0 on and the time it was sent, followed by bytes that follow from the
// sequence number. From them a receiver knows exactly what was lost, repeated, reordered or
// damaged, and how long nothing came.
//
// Payload, big endian: magic (2), stream (4), sequence (8), CLOCK_MONOTONIC ns (8), filler. A frame
// of 64 bytes (without FCS) holds it over IPv4 without a tag.
//
// Not thread safe. Times are nanoseconds.
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <vector>

namespace godwit::support {

struct NumberedTemplate {
  uint32_t stream = 0;
  std::array<uint8_t, 6> source_mac{};
  std::array<uint8_t, 6> destination_mac{};
  bool ipv6 = false;
  std::array<uint8_t, 16> source_ip{};  // the first four bytes where IPv4
  std::array<uint8_t, 16> destination_ip{};
  uint16_t source_port = 40000;
  uint16_t destination_port = 40001;
  uint16_t flows = 1;  // source ports source_port .. source_port + flows - 1, in turn
  int vlan = -1;       // -1: no tag
  uint8_t ttl = 64;
  size_t bytes = 64;  // of the frame, without FCS
};

// The shortest frame that a template can make.
size_t numbered_minimum(const NumberedTemplate& shape);

// Makes frames in place. `bytes` must lie between the minimum and kMaxFrame.
class NumberedBuilder {
 public:
  explicit NumberedBuilder(const NumberedTemplate& shape);
  // The frame with that number, valid until the next call. UDP checksum included.
  std::span<const uint8_t> build(uint64_t sequence, int64_t now_ns);

 private:
  NumberedTemplate shape_;
  std::vector<uint8_t> frame_;
  size_t ip_ = 0;
  size_t udp_ = 0;
  uint32_t pseudo_ = 0;  // sum of the pseudo header
};

struct NumberedPacket {
  uint32_t stream = 0;
  uint64_t sequence = 0;
  int64_t sent_ns = 0;
  bool intact = false;
};

// False when the frame isn't a numbered packet.
bool parse_numbered(std::span<const uint8_t> frame, NumberedPacket* packet);

// What came of one stream.
class StreamAccount {
 public:
  static constexpr uint64_t kMaxSequence = uint64_t{1} << 27;

  // Sequence numbers below `start` belong to an account before this one.
  explicit StreamAccount(uint64_t start_sequence = 0)
      : start(start_sequence), highest(start_sequence) {}

  void add(const NumberedPacket& packet, int64_t now_ns);

  uint64_t start = 0;
  uint64_t received = 0;  // different ones
  uint64_t duplicates = 0;
  uint64_t out_of_order = 0;  // came after a later one; across flows of a stream that isn't wrong
  uint64_t corrupt = 0;
  uint64_t beyond = 0;  // sequence numbers too high to account for
  uint64_t before_start = 0;
  uint64_t highest = 0;
  int64_t first_ns = 0;
  int64_t last_ns = 0;
  int64_t longest_gap_ns = 0;
  uint64_t longest_gap_before = 0;  // sequence number that ended it
  int64_t longest_gap_end_ns = 0;
  int64_t max_latency_ns = 0;
  int64_t sum_latency_ns = 0;

  bool any() const { return seen_any_; }
  // Numbers from `start` to the highest seen that never came.
  uint64_t lost() const { return seen_any_ ? highest + 1 - start - received : 0; }
  // The first few missing numbers, as ranges.
  std::vector<std::pair<uint64_t, uint64_t>> missing(size_t max_ranges) const;

 private:
  std::vector<uint64_t> seen_;
  bool seen_any_ = false;
};

// Fills in the pseudo header's sum, the way a guest leaves a checksum to its NIC. False when the
// frame is no TCP or UDP.
bool make_partial_checksum(std::span<uint8_t> frame, uint16_t* start, uint16_t* offset);

}  // namespace godwit::support
