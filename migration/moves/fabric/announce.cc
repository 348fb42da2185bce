// SPDX-License-Identifier: Apache-2.0
#include "migration/moves/fabric/announce.h"

#include <algorithm>
#include <array>
#include <cstring>

#include "base/bytes.h"
#include "dataplane/packet/checksum.h"

namespace godwit::migration {

namespace {

using Bytes = std::vector<uint8_t>;

using Magic = std::array<uint8_t, 4>;
constexpr Magic kAnnouncementMagic = {'G', 'D', 'W', 'T'};
constexpr Magic kProbeMagic = {'G', 'D', 'W', 'P'};
constexpr Magic kEchoMagic = {'G', 'D', 'W', 'E'};
constexpr size_t kRarpBody = 28;
constexpr size_t kMinFrame = 60;

template <typename Range>
void put(Bytes& out, const Range& bytes) {
  out.insert(out.end(), std::begin(bytes), std::end(bytes));
}
void put16(Bytes& out, uint16_t value) {
  out.push_back(static_cast<uint8_t>(value >> 8));
  out.push_back(static_cast<uint8_t>(value));
}

Bytes ethernet(const MacAddress& dst, const MacAddress& src, uint16_t vlan, uint16_t type) {
  Bytes out;
  put(out, dst.bytes);
  put(out, src.bytes);
  if (vlan != 0) {
    put16(out, 0x8100);
    put16(out, vlan);
  }
  put16(out, type);
  return out;
}

constexpr MacAddress kBroadcast{{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}};

Bytes rarp(const MacAddress& to, const MacAddress& from, const FabricAddress& about,
           const Magic& magic, uint64_t nonce) {
  const MacAddress& mac = about.mac;
  Bytes out = ethernet(to, from, about.vlan, 0x8035);
  put16(out, 1);       // Ethernet
  put16(out, 0x0800);  // IPv4
  put(out, std::array<uint8_t, 2>{6, 4});
  put16(out, 3);  // request reverse
  put(out, mac.bytes);
  put(out, std::array<uint8_t, 4>{});
  put(out, mac.bytes);
  put(out, std::array<uint8_t, 4>{});
  put(out, magic);
  for (int shift = 56; shift >= 0; shift -= 8) out.push_back(static_cast<uint8_t>(nonce >> shift));
  out.resize(std::max(out.size(), kMinFrame));
  return out;
}

Bytes gratuitous_arp(const MacAddress& mac, const Ipv4Address& ip, uint16_t vlan) {
  Bytes out = ethernet(kBroadcast, mac, vlan, 0x0806);
  put16(out, 1);
  put16(out, 0x0800);
  put(out, std::array<uint8_t, 2>{6, 4});
  put16(out, 1);  // request
  put(out, mac.bytes);
  put(out, ip.bytes);
  put(out, std::array<uint8_t, 6>{});
  put(out, ip.bytes);
  return out;
}

Bytes unsolicited_na(const MacAddress& mac, const Ipv6Address& ip, uint16_t vlan) {
  constexpr MacAddress kAllNodesMac{{0x33, 0x33, 0, 0, 0, 1}};
  constexpr Ipv6Address kAllNodes{{0xff, 0x02, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1}};
  Bytes icmp = {136, 0, 0, 0, 0x20, 0, 0, 0};  // override, neither solicited nor router
  put(icmp, ip.bytes);
  put(icmp, std::array<uint8_t, 2>{2, 1});  // target link-layer address
  put(icmp, mac.bytes);
  Bytes pseudo;
  put(pseudo, ip.bytes);
  put(pseudo, kAllNodes.bytes);
  put(pseudo, std::array<uint8_t, 8>{0, 0, 0, static_cast<uint8_t>(icmp.size()), 0, 0, 0, 58});
  put(pseudo, icmp);
  const auto sum = static_cast<uint16_t>(~dataplane::ones_sum(pseudo));
  icmp[2] = static_cast<uint8_t>(sum >> 8);
  icmp[3] = static_cast<uint8_t>(sum);
  Bytes out = ethernet(kAllNodesMac, mac, vlan, 0x86dd);
  put(out, std::array<uint8_t, 4>{0x60, 0, 0, 0});
  put16(out, static_cast<uint16_t>(icmp.size()));
  put(out, std::array<uint8_t, 2>{58, 255});
  put(out, ip.bytes);
  put(out, kAllNodes.bytes);
  put(out, icmp);
  return out;
}

}  // namespace

std::vector<FabricAddress> fabric_addresses(const dataplane::Profile& profile) {
  std::vector<uint16_t> vlans = profile.vlans;
  if (vlans.empty()) vlans.push_back(0);
  std::vector<FabricAddress> all;
  for (const uint16_t vlan : vlans) {
    for (const MacAddress& mac : profile.macs) all.push_back({vlan, mac});
  }
  return all;
}

std::vector<std::vector<uint8_t>> announcements(const dataplane::Profile& profile, uint64_t nonce) {
  std::vector<Bytes> frames;
  for (const FabricAddress& at : fabric_addresses(profile)) {
    frames.push_back(rarp(kBroadcast, at.mac, at, kAnnouncementMagic, nonce));
    for (const Ipv4Address& ip : profile.ipv4s)
      frames.push_back(gratuitous_arp(at.mac, ip, at.vlan));
    for (const Ipv6Address& ip : profile.ipv6s)
      frames.push_back(unsolicited_na(at.mac, ip, at.vlan));
  }
  for (Bytes& frame : frames) frame.resize(std::max(frame.size(), kMinFrame));
  return frames;
}

std::vector<uint8_t> probe(const FabricAddress& to, const MacAddress& sender, uint64_t nonce) {
  return rarp(to.mac, sender, to, kProbeMagic, nonce);
}

std::vector<uint8_t> echo(const FabricAddress& of, uint64_t nonce) {
  return rarp(kBroadcast, of.mac, of, kEchoMagic, nonce);
}

std::optional<FabricMessage> read_fabric_message(std::span<const uint8_t> frame) {
  FabricMessage out;
  size_t at = 12;
  while (frame.size() >= at + 6 && frame[at] == 0x81 && frame[at + 1] == 0x00) {
    if (at == 12)
      out.address.vlan = static_cast<uint16_t>((frame[at + 2] << 8 | frame[at + 3]) & 0xfff);
    at += 4;
  }
  if (frame.size() < at + 2 + kRarpBody + sizeof(Magic) + 8 || frame[at] != 0x80 ||
      frame[at + 1] != 0x35)
    return std::nullopt;
  std::copy_n(frame.begin() + static_cast<std::ptrdiff_t>(at) + 2 + 8, out.address.mac.bytes.size(),
              out.address.mac.bytes.begin());
  const auto padding = frame.subspan(at + 2 + kRarpBody);
  const auto is = [&](const Magic& magic) {
    return std::equal(magic.begin(), magic.end(), padding.begin());
  };
  using Kind = FabricMessage::Kind;
  out.kind = is(kAnnouncementMagic) ? Kind::kAnnouncement
             : is(kProbeMagic)      ? Kind::kProbe
             : is(kEchoMagic)       ? Kind::kEcho
                                    : Kind::kInvalid;
  if (out.kind == Kind::kInvalid) return std::nullopt;
  for (size_t i = 0; i < 8; ++i) out.nonce = out.nonce << 8 | padding[sizeof(Magic) + i];
  return out;
}

}  // namespace godwit::migration
