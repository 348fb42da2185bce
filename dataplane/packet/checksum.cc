// SPDX-License-Identifier: Apache-2.0
#include "dataplane/packet/checksum.h"

#include <cstring>

#include "dataplane/packet/headers.h"

namespace godwit::dataplane {

namespace {

uint32_t fold(uint64_t sum) {
  sum = (sum & 0xffffffff) + (sum >> 32);
  sum = (sum & 0xffffffff) + (sum >> 32);
  sum = (sum & 0xffff) + (sum >> 16);
  sum = (sum & 0xffff) + (sum >> 16);
  return static_cast<uint32_t>(sum);
}

}  // namespace

uint16_t ones_sum(std::span<const uint8_t> bytes, uint32_t initial) {
  // Sums 32-bit words in memory order. The byte order of a one's-complement sum may be swapped at
  // the end (RFC 1071, 2.B).
  const uint8_t* p = bytes.data();
  size_t left = bytes.size();
  uint64_t sum = 0;
  for (; left >= 16; left -= 16, p += 16) {
    uint32_t words[4];
    std::memcpy(words, p, sizeof(words));
    sum += static_cast<uint64_t>(words[0]) + words[1];
    sum += static_cast<uint64_t>(words[2]) + words[3];
  }
  for (; left >= 4; left -= 4, p += 4) {
    uint32_t word;
    std::memcpy(&word, p, sizeof(word));
    sum += word;
  }
  if (left > 0) {
    uint8_t rest[4] = {};
    for (size_t i = 0; i < left; ++i) rest[i] = p[i];
    uint32_t word;
    std::memcpy(&word, rest, sizeof(word));
    sum += word;
  }
  const uint16_t swapped = internal::swap_if_little(static_cast<uint16_t>(fold(sum)));
  return static_cast<uint16_t>(fold(static_cast<uint64_t>(swapped) + initial));
}

uint16_t checksum_update(uint16_t checksum, std::span<const uint8_t> old_bytes,
                         std::span<const uint8_t> new_bytes) {
  // RFC 1624, equation 3: ~(~HC + ~m + m').
  const size_t bytes = old_bytes.size() < new_bytes.size() ? old_bytes.size() : new_bytes.size();
  uint64_t sum = static_cast<uint16_t>(~checksum);
  for (size_t i = 0; i + 1 < bytes; i += 2) {
    sum += static_cast<uint16_t>(~headers::load16(&old_bytes[i]));
    sum += headers::load16(&new_bytes[i]);
  }
  return static_cast<uint16_t>(~fold(sum));
}

std::optional<Drop> finish_partial_checksum(Packet& packet) {
  if ((packet.flags & Packet::kPartialChecksum) == 0) return std::nullopt;
  const uint32_t field = static_cast<uint32_t>(packet.csum_start) + packet.csum_offset;
  if (packet.head_len != packet.len || field + 2 > packet.len) return Drop::k_bad_offload;

  auto checksum = static_cast<uint16_t>(~ones_sum(packet.head().subspan(packet.csum_start)));
  if (checksum == 0 && packet.csum_offset == headers::kUdpChecksum)
    checksum = 0xffff;  // zero means "no checksum" (RFC 768)
  headers::store16(packet.data + field, checksum);
  packet.flags = static_cast<uint8_t>(packet.flags & ~Packet::kPartialChecksum);
  return std::nullopt;
}

}  // namespace godwit::dataplane
