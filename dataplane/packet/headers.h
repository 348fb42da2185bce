// SPDX-License-Identifier: Apache-2.0
//
// Protocol numbers (IANA), header sizes, and unchecked loads and stores of fields in network order.
// The caller of a load or a store has checked the length before.
//
// Units: sizes and offsets are bytes. Thread safety: constants and pure functions.
#pragma once

#include <bit>
#include <cstdint>
#include <cstring>

#include "base/bytes.h"

namespace godwit::dataplane::headers {

inline constexpr uint16_t kEtherTypeIpv4 = 0x0800;
inline constexpr uint16_t kEtherTypeArp = 0x0806;
inline constexpr uint16_t kEtherTypeVlan = 0x8100;
inline constexpr uint16_t kEtherTypeQinq = 0x88a8;
inline constexpr uint16_t kEtherTypeIpv6 = 0x86dd;

inline constexpr uint8_t kProtoHopByHop = 0;
inline constexpr uint8_t kProtoIcmp = 1;
inline constexpr uint8_t kProtoTcp = 6;
inline constexpr uint8_t kProtoUdp = 17;
inline constexpr uint8_t kProtoDccp = 33;
inline constexpr uint8_t kProtoRouting = 43;
inline constexpr uint8_t kProtoFragment = 44;
inline constexpr uint8_t kProtoAuth = 51;
inline constexpr uint8_t kProtoIcmp6 = 58;
inline constexpr uint8_t kProtoDestOptions = 60;
inline constexpr uint8_t kProtoSctp = 132;
inline constexpr uint8_t kProtoUdpLite = 136;

inline constexpr uint16_t kVxlanPort = 4789;
inline constexpr uint8_t kVxlanFlagVni = 0x08;  // flag I: the VNI is valid

inline constexpr uint32_t kEthBytes = 14;
inline constexpr uint32_t kMacsBytes = 12;
inline constexpr uint32_t kVlanBytes = 4;
inline constexpr uint32_t kArpFixedBytes = 8;
inline constexpr uint32_t kArpEthIpv4Bytes = 28;
inline constexpr uint32_t kIpv4MinBytes = 20;
inline constexpr uint32_t kIpv6Bytes = 40;
inline constexpr uint32_t kTcpMinBytes = 20;
inline constexpr uint32_t kUdpBytes = 8;
inline constexpr uint32_t kIcmpBytes = 8;
inline constexpr uint32_t kIcmp6MinBytes = 4;
inline constexpr uint32_t kSctpBytes = 12;
inline constexpr uint32_t kVxlanBytes = 8;

// Offsets of checksum fields from the start of their header.
inline constexpr uint32_t kIpv4Checksum = 10;
inline constexpr uint32_t kTcpChecksum = 16;
inline constexpr uint32_t kUdpChecksum = 6;   // UDP, UDP-Lite and DCCP
inline constexpr uint32_t kIcmpChecksum = 2;  // ICMP and ICMPv6

inline constexpr uint16_t kFragmentMore4 = 0x2000;
inline constexpr uint16_t kFragmentOffset4 = 0x1fff;
inline constexpr uint16_t kFragmentMore6 = 0x0001;
inline constexpr uint16_t kFragmentOffset6 = 0xfff8;

[[nodiscard]] inline uint16_t load16(const uint8_t* p) {
  uint16_t raw;
  std::memcpy(&raw, p, sizeof(raw));
  return internal::swap_if_little(raw);
}
[[nodiscard]] inline uint32_t load32(const uint8_t* p) {
  uint32_t raw;
  std::memcpy(&raw, p, sizeof(raw));
  return internal::swap_if_little(raw);
}
inline void store16(uint8_t* p, uint16_t value) {
  const uint16_t raw = internal::swap_if_little(value);
  std::memcpy(p, &raw, sizeof(raw));
}
// Copies a field without a change of byte order.
template <typename Field>
inline void copy_field(Field& out, const uint8_t* p) {
  std::memcpy(&out, p, sizeof(Field));
}

[[nodiscard]] constexpr bool is_vlan_tpid(uint16_t type) {
  return type == kEtherTypeVlan || type == kEtherTypeQinq;
}

}  // namespace godwit::dataplane::headers
