// SPDX-License-Identifier: Apache-2.0
//
// Packets that carry a number: UDP over IPv4 or IPv6, whose payload holds the stream's id, a
// sequence number from 0 on, the time of sending, and filler bytes derived from the sequence
// number. A receiver therefore knows exactly which packets were lost, duplicated, reordered or
// damaged, and how long no packet arrived.
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

namespace godwit::vhost_frontend {

struct NumberedTemplate {
  uint32_t stream = 0;
  std::array<uint8_t, 6> source_mac{};
  std::array<uint8_t, 6> destination_mac{};
  bool ipv6 = false;
  std::array<uint8_t, 16> source_ip{};  // IPv4 uses the first four bytes.
  std::array<uint8_t, 16> destination_ip{};
  uint16_t source_port = 40000;
  uint16_t destination_port = 40001;
  uint16_t flows = 1;  // Source ports source_port to source_port + flows - 1, in turn.
  int vlan = -1;       // Negative for no tag.
  uint8_t ttl = 64;
  size_t bytes = 64;  // The size of the frame without FCS.
};

// Returns the size of the shortest frame of a template.
size_t numbered_minimum(const NumberedTemplate& shape);

// Builds frames in place. NumberedTemplate::bytes must lie between the minimum and kMaxFrame.
class NumberedBuilder {
 public:
  explicit NumberedBuilder(const NumberedTemplate& shape);
  // Returns the frame with that number and a UDP checksum. It is valid until the next call.
  std::span<const uint8_t> build(uint64_t sequence, int64_t now_ns);

 private:
  NumberedTemplate shape_;
  std::vector<uint8_t> frame_;
  size_t ip_ = 0;
  size_t udp_ = 0;
  uint32_t pseudo_ = 0;  // The sum of the pseudo header.
};

struct NumberedPacket {
  uint32_t stream = 0;
  uint64_t sequence = 0;
  int64_t sent_ns = 0;
  bool intact = false;
};

// Returns false if the frame is not a numbered packet.
bool parse_numbered(std::span<const uint8_t> frame, NumberedPacket* packet);

// The account of the packets that arrived from one stream.
class StreamAccount {
 public:
  static constexpr uint64_t kMaxSequence = uint64_t{1} << 27;

  // Sequence numbers below `start_sequence` belong to an earlier account.
  explicit StreamAccount(uint64_t start_sequence = 0)
      : start(start_sequence), highest(start_sequence) {}

  void add(const NumberedPacket& packet, int64_t now_ns);

  uint64_t start = 0;
  uint64_t received = 0;  // Distinct sequence numbers.
  uint64_t duplicates = 0;
  uint64_t out_of_order = 0;  // Arrived after a later one. Legitimate between flows of a stream.
  uint64_t corrupt = 0;
  uint64_t beyond = 0;  // Sequence numbers above kMaxSequence.
  uint64_t before_start = 0;
  uint64_t highest = 0;
  int64_t first_ns = 0;
  int64_t last_ns = 0;
  int64_t longest_gap_ns = 0;
  uint64_t longest_gap_before = 0;  // The sequence number that ended the gap.
  int64_t longest_gap_end_ns = 0;
  int64_t max_latency_ns = 0;
  int64_t sum_latency_ns = 0;

  bool any() const { return seen_any_; }
  // Returns how many numbers between `start` and the highest seen never arrived.
  uint64_t lost() const { return seen_any_ ? highest + 1 - start - received : 0; }
  // Returns the first missing numbers as at most `max_ranges` ranges.
  std::vector<std::pair<uint64_t, uint64_t>> missing(size_t max_ranges) const;

 private:
  std::vector<uint64_t> seen_;
  bool seen_any_ = false;
};

// Stores the sum of the pseudo header as the checksum, as a guest does that leaves the checksum to
// its NIC. Returns false if the frame is neither TCP nor UDP.
bool make_partial_checksum(std::span<uint8_t> frame, uint16_t* start, uint16_t* offset);

}  // namespace godwit::vhost_frontend
