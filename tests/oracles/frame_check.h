// SPDX-License-Identifier: Apache-2.0
//
// A slow, independent check of the checksums of well-formed frames: the oracle for rewrites.
//
// It does not look into tunnels. An access beyond the frame throws std::out_of_range, which fails
// the test.
#pragma once

#include <cstdint>
#include <string>

#include "tests/builders/packet_builder.h"

namespace godwit::testing {

struct L4Place {
  uint32_t offset = 0;       // Zero if there is no L4 header.
  uint32_t length = 0;       // According to the IP header.
  uint32_t checksum_at = 0;  // From the start of the frame. Zero if there is no checksum.
  uint32_t pseudo_sum = 0;   // Not complemented.
  uint8_t proto = 0;
  bool fragment = false;
};

inline uint32_t at16(const Frame& frame, size_t at) {
  return static_cast<uint32_t>(frame.at(at) << 8 | frame.at(at + 1));
}

inline uint32_t sum_range(const Frame& frame, size_t from, size_t bytes, uint32_t sum = 0) {
  for (size_t i = 0; i < bytes; i += 2) {
    sum += static_cast<uint32_t>(frame.at(from + i) << 8 |
                                 (i + 1 < bytes ? frame.at(from + i + 1) : 0));
    sum = (sum & 0xffff) + (sum >> 16);
  }
  return sum;
}

inline size_t l3_offset_of(const Frame& frame) {
  size_t at = 12;
  while (at16(frame, at) == 0x8100 || at16(frame, at) == 0x88a8) at += 4;
  return at + 2;
}

inline L4Place find_l4(const Frame& frame) {
  const size_t l3 = l3_offset_of(frame);
  L4Place place;
  const uint32_t type = at16(frame, l3 - 2);
  size_t at = 0;
  uint32_t addresses = 0;
  if (type == 0x0800) {
    const uint32_t header = (frame.at(l3) & 15u) * 4;
    place.proto = frame.at(l3 + 9);
    place.fragment = (at16(frame, l3 + 6) & 0x3fff) != 0;
    if ((at16(frame, l3 + 6) & 0x1fff) != 0) return place;
    at = l3 + header;
    place.length = at16(frame, l3 + 2) - header;
    addresses = sum_range(frame, l3 + 12, 8);
  } else if (type == 0x86dd) {
    place.proto = frame.at(l3 + 6);
    at = l3 + 40;
    size_t destination = l3 + 24;
    for (;;) {
      size_t bytes = 0;
      if (place.proto == 0 || place.proto == 43 || place.proto == 60)
        bytes = (frame.at(at + 1) + 1u) * 8;
      if (place.proto == 44) bytes = 8;
      if (place.proto == 51) bytes = (frame.at(at + 1) + 2u) * 4;
      if (bytes == 0) break;
      if (place.proto == 43 && frame.at(at + 3) > 0) destination = at + 8;
      if (place.proto == 44) place.fragment = (at16(frame, at + 2) & 0xfff9) != 0;
      const bool later = place.proto == 44 && (at16(frame, at + 2) & 0xfff8) != 0;
      place.proto = frame.at(at);
      at += bytes;
      if (later) return place;
    }
    place.length = static_cast<uint32_t>(at16(frame, l3 + 4) - (at - l3 - 40));
    addresses = sum_range(frame, destination, 16, sum_range(frame, l3 + 8, 16));
  } else {
    return place;
  }
  place.offset = static_cast<uint32_t>(at);
  const bool icmp = type == 0x0800 && place.proto == 1;
  uint32_t inside = 0;
  if (place.proto == 6) inside = 16;
  if (place.proto == 17 || place.proto == 136) inside = 6;
  if (icmp || (type == 0x86dd && place.proto == 58)) inside = 2;
  if (inside == 0) return place;
  place.checksum_at = place.offset + inside;
  if (!icmp) place.pseudo_sum = (addresses + place.proto + place.length) % 0xffff;
  return place;
}

// Returns the name of the first wrong checksum, or an empty string. Does not verify the L4 checksum
// of a fragment, which covers the whole packet.
inline std::string wrong_checksum(const Frame& frame) {
  const size_t l3 = l3_offset_of(frame);
  if (at16(frame, l3 - 2) == 0x0800 && sum_range(frame, l3, (frame.at(l3) & 15u) * 4) != 0xffff)
    return "IPv4 header";
  const L4Place place = find_l4(frame);
  if (place.checksum_at == 0 || place.fragment) return {};
  if (place.proto == 17 && at16(frame, place.checksum_at) == 0) return {};
  if (sum_range(frame, place.offset, place.length, place.pseudo_sum) != 0xffff)
    return "protocol " + std::to_string(place.proto);
  return {};
}

// Makes the packet as a guest with checksum offload sends it: the checksum field holds the sum of
// the pseudo header.
inline void leave_checksum_undone(TestPacket& test) {
  const L4Place place = find_l4(test.bytes());
  assert(place.checksum_at != 0);
  test.packet.data[place.checksum_at] = static_cast<uint8_t>(place.pseudo_sum >> 8);
  test.packet.data[place.checksum_at + 1] = static_cast<uint8_t>(place.pseudo_sum);
  test.packet.flags |= dataplane::Packet::kPartialChecksum;
  test.packet.csum_start = static_cast<uint16_t>(place.offset);
  test.packet.csum_offset = static_cast<uint16_t>(place.checksum_at - place.offset);
}

}  // namespace godwit::testing
