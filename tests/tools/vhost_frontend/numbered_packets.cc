// SPDX-License-Identifier: Apache-2.0
#include "tests/tools/vhost_frontend/numbered_packets.h"

#include <algorithm>
#include <cstring>
#include <utility>

namespace godwit::vhost_frontend {
namespace {

constexpr uint16_t kMagic = 0x47d7;
constexpr size_t kPayload = 22;
constexpr size_t kUdp = 8;
constexpr uint8_t kProtocolTcp = 6;
constexpr uint8_t kProtocolUdp = 17;

void put(uint8_t* to, uint64_t value, size_t bytes) {
  for (size_t i = 0; i < bytes; ++i) {
    to[i] = static_cast<uint8_t>(value >> (8 * (bytes - 1 - i)));
  }
}

uint64_t get(const uint8_t* from, size_t bytes) {
  uint64_t value = 0;
  for (size_t i = 0; i < bytes; ++i) {
    value = value << 8 | from[i];
  }
  return value;
}

uint32_t sum_words(const uint8_t* from, size_t bytes, uint32_t sum = 0) {
  for (size_t i = 0; i + 1 < bytes; i += 2) {
    sum += static_cast<uint32_t>(from[i] << 8 | from[i + 1]);
  }
  return bytes % 2 == 0 ? sum : sum + static_cast<uint32_t>(from[bytes - 1] << 8);
}

uint16_t fold(uint32_t sum) {
  while (sum > 0xffff) {
    sum = (sum & 0xffff) + (sum >> 16);
  }
  return static_cast<uint16_t>(sum);
}

size_t header_bytes(const NumberedTemplate& shape) {
  return 14 + (shape.vlan >= 0 ? 4u : 0u) + (shape.ipv6 ? 40u : 20u) + kUdp;
}

struct Layers {
  size_t ip = 0;
  size_t transport = 0;
  size_t end = 0;
  uint8_t protocol = 0;
  bool ipv6 = false;
};

// Finds the headers of an unfragmented TCP or UDP packet without IPv6 extensions. Returns false for
// any other frame.
bool find_layers(std::span<const uint8_t> frame, Layers* layers) {
  size_t at = 12;
  uint64_t type = 0;
  for (int tags = 0; tags <= 2; ++tags) {
    if (frame.size() < at + 2) {
      return false;
    }
    type = get(&frame[at], 2);
    at += 2;
    if (type != 0x8100 && type != 0x88a8) {
      break;
    }
    at += 2;
  }
  layers->ip = at;
  layers->ipv6 = type == 0x86dd;
  if (type == 0x0800 && frame.size() >= at + 20) {
    const size_t header = (frame[at] & 15u) * 4u;
    const size_t total = get(&frame[at + 2], 2);
    const bool fragment = (get(&frame[at + 6], 2) & 0x3fff) != 0;
    if (header < 20 || fragment) {
      return false;
    }
    layers->protocol = frame[at + 9];
    layers->transport = at + header;
    layers->end = at + total;
  } else if (layers->ipv6 && frame.size() >= at + 40) {
    layers->protocol = frame[at + 6];
    layers->transport = at + 40;
    layers->end = at + 40 + get(&frame[at + 4], 2);
  } else {
    return false;
  }
  const size_t least = layers->protocol == kProtocolTcp ? 20 : kUdp;
  return (layers->protocol == kProtocolTcp || layers->protocol == kProtocolUdp) &&
         layers->end <= frame.size() && layers->end >= layers->transport + least;
}

uint32_t pseudo_sum(std::span<const uint8_t> frame, const Layers& layers) {
  const size_t addresses = layers.ipv6 ? 8 : 12;
  const uint32_t sum = sum_words(&frame[layers.ip + addresses], layers.ipv6 ? 32 : 8);
  return sum + layers.protocol + static_cast<uint32_t>(layers.end - layers.transport);
}

}  // namespace

size_t numbered_minimum(const NumberedTemplate& shape) { return header_bytes(shape) + kPayload; }

NumberedBuilder::NumberedBuilder(const NumberedTemplate& shape) : shape_(shape) {
  frame_.resize(std::max(shape.bytes, numbered_minimum(shape)));
  uint8_t* at = frame_.data();
  std::memcpy(at, shape.destination_mac.data(), 6);
  std::memcpy(at + 6, shape.source_mac.data(), 6);
  at += 12;
  if (shape.vlan >= 0) {
    put(at, 0x8100, 2);
    put(at + 2, static_cast<uint64_t>(shape.vlan), 2);
    at += 4;
  }
  put(at, shape.ipv6 ? 0x86dd : 0x0800, 2);
  at += 2;
  ip_ = static_cast<size_t>(at - frame_.data());
  udp_ = ip_ + (shape.ipv6 ? 40u : 20u);
  const size_t udp_bytes = frame_.size() - udp_;
  if (shape.ipv6) {
    put(at, 0x60000000, 4);
    put(at + 4, udp_bytes, 2);
    at[6] = kProtocolUdp;
    at[7] = shape.ttl;
    std::memcpy(at + 8, shape.source_ip.data(), 16);
    std::memcpy(at + 24, shape.destination_ip.data(), 16);
  } else {
    at[0] = 0x45;
    put(at + 2, 20 + udp_bytes, 2);
    put(at + 6, 0x4000, 2);
    at[8] = shape.ttl;
    at[9] = kProtocolUdp;
    std::memcpy(at + 12, shape.source_ip.data(), 4);
    std::memcpy(at + 16, shape.destination_ip.data(), 4);
    put(at + 10, static_cast<uint16_t>(~fold(sum_words(at, 20))), 2);
  }
  put(&frame_[udp_ + 2], shape.destination_port, 2);
  put(&frame_[udp_ + 4], udp_bytes, 2);
  pseudo_ = pseudo_sum(frame_, {ip_, udp_, frame_.size(), kProtocolUdp, shape.ipv6});
}

std::span<const uint8_t> NumberedBuilder::build(uint64_t sequence, int64_t now_ns) {
  uint8_t* udp = &frame_[udp_];
  const uint64_t flow = shape_.flows > 1 ? sequence % shape_.flows : 0;
  put(udp, static_cast<uint16_t>(shape_.source_port + flow), 2);
  uint8_t* payload = udp + kUdp;
  put(payload, kMagic, 2);
  put(payload + 2, shape_.stream, 4);
  put(payload + 6, sequence, 8);
  put(payload + 14, static_cast<uint64_t>(now_ns), 8);
  std::memset(payload + kPayload, static_cast<int>(sequence & 0xff),
              frame_.size() - udp_ - kUdp - kPayload);
  put(udp + 6, 0, 2);
  const uint16_t checksum =
      static_cast<uint16_t>(~fold(sum_words(udp, frame_.size() - udp_, pseudo_)));
  put(udp + 6, checksum == 0 ? 0xffff : checksum, 2);
  return frame_;
}

bool parse_numbered(std::span<const uint8_t> frame, NumberedPacket* packet) {
  Layers layers;
  if (!find_layers(frame, &layers) || layers.protocol != kProtocolUdp ||
      layers.end - layers.transport < kUdp + kPayload) {
    return false;
  }
  const uint8_t* payload = &frame[layers.transport + kUdp];
  if (get(payload, 2) != kMagic) {
    return false;
  }
  packet->stream = static_cast<uint32_t>(get(payload + 2, 4));
  packet->sequence = get(payload + 6, 8);
  packet->sent_ns = static_cast<int64_t>(get(payload + 14, 8));
  const uint8_t fill = static_cast<uint8_t>(packet->sequence & 0xff);
  packet->intact = std::all_of(payload + kPayload, frame.data() + layers.end,
                               [fill](uint8_t byte) { return byte == fill; });
  return true;
}

void StreamAccount::add(const NumberedPacket& packet, int64_t now_ns) {
  if (!packet.intact) {
    ++corrupt;
  }
  if (packet.sequence >= kMaxSequence) {
    ++beyond;
    return;
  }
  if (packet.sequence < start) {
    ++before_start;
    return;
  }
  const size_t word = packet.sequence / 64;
  const uint64_t mask = uint64_t{1} << (packet.sequence % 64);
  if (word >= seen_.size()) {
    seen_.resize(std::max(word + 1, seen_.size() * 2), 0);
  }
  if ((seen_[word] & mask) != 0) {
    ++duplicates;
    return;
  }
  seen_[word] |= mask;
  ++received;
  if (seen_any_) {
    out_of_order += packet.sequence < highest ? 1 : 0;
    if (now_ns - last_ns > longest_gap_ns) {
      longest_gap_ns = now_ns - last_ns;
      longest_gap_before = packet.sequence;
      longest_gap_end_ns = now_ns;
    }
  } else {
    first_ns = now_ns;
  }
  seen_any_ = true;
  last_ns = now_ns;
  highest = std::max(highest, packet.sequence);
  const int64_t latency = now_ns - packet.sent_ns;
  max_latency_ns = std::max(max_latency_ns, latency);
  sum_latency_ns += latency;
}

std::vector<std::pair<uint64_t, uint64_t>> StreamAccount::missing(size_t max_ranges) const {
  std::vector<std::pair<uint64_t, uint64_t>> ranges;
  if (!seen_any_) {
    return ranges;
  }
  for (uint64_t i = start; i <= highest; ++i) {
    if (seen_[i / 64] == UINT64_MAX) {
      i |= 63;
      continue;
    }
    if ((seen_[i / 64] >> (i % 64) & 1) != 0) {
      continue;
    }
    if (!ranges.empty() && ranges.back().second + 1 == i) {
      ranges.back().second = i;
    } else if (ranges.size() == max_ranges) {
      break;
    } else {
      ranges.emplace_back(i, i);
    }
  }
  return ranges;
}

bool make_partial_checksum(std::span<uint8_t> frame, uint16_t* start, uint16_t* offset) {
  Layers layers;
  if (!find_layers(frame, &layers)) {
    return false;
  }
  *start = static_cast<uint16_t>(layers.transport);
  *offset = layers.protocol == kProtocolTcp ? 16 : 6;
  put(&frame[layers.transport + *offset], fold(pseudo_sum(frame, layers)), 2);
  return true;
}

}  // namespace godwit::vhost_frontend
