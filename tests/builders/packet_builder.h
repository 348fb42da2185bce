// SPDX-License-Identifier: Apache-2.0
//
// Frames for tests, built layer by layer:
//   PacketBuilder().eth().vlan(5).ipv4("10.0.0.1", "10.0.0.2").udp(1, 2).payload(10).build()
//
// build() derives types, next headers and lengths from the layers. It then applies the values of
// set8() and set16(), computes the checksums from the innermost layer outward, and applies the
// values of corrupt8() and corrupt16(). These four refer to the layer added last, with offsets from
// its first byte. An address that does not parse is an error of the test and asserts.
//
// TestPacket is a Packet whose buffer has exactly its headroom and its readable bytes, so
// AddressSanitizer detects any access beyond them.
#pragma once

#include <cassert>
#include <cstdint>
#include <cstring>
#include <memory>
#include <span>
#include <string_view>
#include <utility>
#include <vector>

#include "base/net.h"
#include "dataplane/packet/packet.h"

namespace godwit::testing {

using Frame = std::vector<uint8_t>;

inline constexpr std::string_view kMacOne = "02:00:00:00:00:01";
inline constexpr std::string_view kMacTwo = "02:00:00:00:00:02";

class PacketBuilder {
 public:
  PacketBuilder& eth(std::string_view dst = kMacTwo, std::string_view src = kMacOne) {
    Frame bytes;
    append(bytes, parse_mac(dst).value().bytes);
    append(bytes, parse_mac(src).value().bytes);
    bytes.resize(14);
    return add(Kind::kEth, std::move(bytes));
  }
  PacketBuilder& vlan(uint16_t vid, uint8_t pcp = 0, bool dei = false, uint16_t tpid = 0x8100) {
    Frame bytes(4);
    put16(bytes, 0, static_cast<uint16_t>(pcp << 13 | (dei ? 0x1000 : 0) | vid));
    add(Kind::kVlan, std::move(bytes));
    layers_.back().tpid = tpid;
    return *this;
  }
  PacketBuilder& arp(uint16_t opcode, std::string_view sha, std::string_view spa,
                     std::string_view tha, std::string_view tpa) {
    Frame bytes = {
        0, 1, 8, 0, 6, 4, static_cast<uint8_t>(opcode >> 8), static_cast<uint8_t>(opcode)};
    append(bytes, parse_mac(sha).value().bytes);
    append(bytes, parse_ipv4(spa).value().bytes);
    append(bytes, parse_mac(tha).value().bytes);
    append(bytes, parse_ipv4(tpa).value().bytes);
    return add(Kind::kArp, std::move(bytes));
  }
  // `option_words` is the number of 32-bit words of no-operation options.
  PacketBuilder& ipv4(std::string_view src = "10.0.0.1", std::string_view dst = "10.0.0.2",
                      uint8_t ttl = 64, uint8_t option_words = 0) {
    Frame bytes = {static_cast<uint8_t>(0x45 + option_words),
                   0x2e,
                   0,
                   0,
                   0x12,
                   0x34,
                   0,
                   0,
                   ttl,
                   kExperimental,
                   0,
                   0};
    append(bytes, parse_ipv4(src).value().bytes);
    append(bytes, parse_ipv4(dst).value().bytes);
    bytes.resize(bytes.size() + option_words * 4u, 1);
    return add(Kind::kIpv4, std::move(bytes));
  }
  // Makes the IPv4 layer added last a fragment, with the offset in units of 8 bytes.
  PacketBuilder& fragment4(uint16_t offset, bool more) {
    return set16(6, static_cast<uint16_t>((more ? 0x2000 : 0) | offset));
  }
  PacketBuilder& ipv6(std::string_view src = "fd00::1", std::string_view dst = "fd00::2",
                      uint8_t hop_limit = 64, uint8_t traffic_class = 0x2e,
                      uint32_t flow_label = 0xabcde) {
    Frame bytes(8);
    put16(bytes, 0, static_cast<uint16_t>(0x6000 | traffic_class << 4 | flow_label >> 16));
    put16(bytes, 2, static_cast<uint16_t>(flow_label));
    bytes[6] = kExperimental;
    bytes[7] = hop_limit;
    append(bytes, parse_ipv6(src).value().bytes);
    append(bytes, parse_ipv6(dst).value().bytes);
    return add(Kind::kIpv6, std::move(bytes));
  }
  // `words` is the number of 8-byte words after the first.
  PacketBuilder& hop_by_hop(uint8_t words = 0) { return options(0, words); }
  PacketBuilder& dest_options(uint8_t words = 0) { return options(60, words); }
  // Adds a segment routing header (RFC 8754) with one segment. While segments are left, the segment
  // is the packet's final destination.
  PacketBuilder& routing(uint8_t segments_left, std::string_view segment) {
    Frame bytes = {kExperimental, 2, 4, segments_left, 0, 0, 0, 0};
    append(bytes, parse_ipv6(segment).value().bytes);
    return extension(43, std::move(bytes));
  }
  // The offset is in units of 8 bytes.
  PacketBuilder& fragment6(uint16_t offset, bool more) {
    Frame bytes = {kExperimental, 0, 0, 0, 0x11, 0x22, 0x33, 0x44};
    put16(bytes, 2, static_cast<uint16_t>(offset << 3 | (more ? 1 : 0)));
    return extension(44, std::move(bytes));
  }
  PacketBuilder& auth() {
    return extension(
        51,
        {kExperimental, 4, 0, 0, 0, 0, 0, 9, 0, 0, 0, 1, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12});
  }
  // `option_words` is the number of 32-bit words of no-operation options.
  PacketBuilder& tcp(uint16_t source, uint16_t destination, uint8_t flags = 0x10,
                     uint8_t option_words = 0) {
    Frame bytes(20);
    put16(bytes, 0, source);
    put16(bytes, 2, destination);
    put16(bytes, 6, 0x1001);
    put16(bytes, 10, 0x2002);
    bytes[12] = static_cast<uint8_t>((5 + option_words) << 4);
    bytes[13] = flags;
    put16(bytes, 14, 0xfaf0);
    bytes.resize(bytes.size() + option_words * 4u, 1);
    return transport(6, 16, std::move(bytes));
  }
  PacketBuilder& udp(uint16_t source, uint16_t destination) {
    return datagram(17, source, destination);
  }
  // Adds UDP without a checksum (zero).
  PacketBuilder& udp_unsummed(uint16_t source, uint16_t destination) {
    udp(source, destination);
    layers_.back().checksum_at = 0;
    return *this;
  }
  PacketBuilder& udp_lite(uint16_t source, uint16_t destination) {
    return datagram(136, source, destination);
  }
  PacketBuilder& icmp(uint8_t type, uint8_t code, uint16_t ident = 0, uint16_t seq = 0) {
    return transport(1, 2, echo(type, code, ident, seq));
  }
  PacketBuilder& icmp6(uint8_t type, uint8_t code, uint16_t ident = 0, uint16_t seq = 0) {
    return transport(58, 2, echo(type, code, ident, seq));
  }
  // Leaves out the CRC32c, which no test reads.
  PacketBuilder& sctp(uint16_t source, uint16_t destination) {
    Frame bytes(12);
    put16(bytes, 0, source);
    put16(bytes, 2, destination);
    put16(bytes, 8, 0xc3c2);
    return transport(132, 0, std::move(bytes));
  }
  PacketBuilder& vxlan(uint32_t vni) {
    return add(Kind::kVxlan, {8, 0, 0, 0, static_cast<uint8_t>(vni >> 16),
                              static_cast<uint8_t>(vni >> 8), static_cast<uint8_t>(vni), 0});
  }
  PacketBuilder& payload(size_t bytes, uint8_t first = 1) {
    Frame data(bytes);
    for (size_t i = 0; i < bytes; ++i) data[i] = static_cast<uint8_t>(first + i * 7);
    return add(Kind::kPayload, std::move(data));
  }
  PacketBuilder& payload(Frame bytes) { return add(Kind::kPayload, std::move(bytes)); }
  // Adds bytes at the end of the frame that no length field includes.
  PacketBuilder& padding(size_t bytes) {
    padding_ = bytes;
    return *this;
  }

  PacketBuilder& set8(size_t offset, uint8_t value) {
    return patch(layers_.back().sets, offset, {value});
  }
  PacketBuilder& set16(size_t offset, uint16_t value) {
    return patch(layers_.back().sets, offset, two(value));
  }
  PacketBuilder& corrupt8(size_t offset, uint8_t value) {
    return patch(layers_.back().corrupts, offset, {value});
  }
  PacketBuilder& corrupt16(size_t offset, uint16_t value) {
    return patch(layers_.back().corrupts, offset, two(value));
  }

  [[nodiscard]] Frame build() const {
    std::vector<Layer> layers = layers_;
    size_t behind = 0;  // The bytes of the inner layers.
    for (size_t i = layers.size(); i-- > 0;) {
      fill_in(layers[i], i + 1 < layers.size() ? &layers[i + 1] : nullptr, behind);
      for (const Patch& set : layers[i].sets) apply(set, layers[i].bytes);
      behind += layers[i].bytes.size();
    }
    for (size_t i = layers.size(); i-- > 0;) sum(layers, i);
    Frame frame;
    for (Layer& layer : layers) {
      for (const Patch& corrupt : layer.corrupts) apply(corrupt, layer.bytes);
      frame.insert(frame.end(), layer.bytes.begin(), layer.bytes.end());
    }
    frame.insert(frame.end(), padding_, 0xee);
    return frame;
  }

 private:
  enum class Kind : uint8_t {
    kEth,
    kVlan,
    kArp,
    kIpv4,
    kIpv6,
    kExtension,
    kTransport,
    kVxlan,
    kPayload
  };
  static constexpr uint8_t kExperimental = 253;  // Reserved for experiments (RFC 3692).

  struct Patch {
    size_t offset;
    Frame bytes;
  };
  struct Layer {
    Kind kind;
    Frame bytes;
    uint16_t tpid = 0;       // The type of a kVlan layer.
    uint8_t proto = 0;       // The number of a kExtension or kTransport layer.
    size_t checksum_at = 0;  // The offset of a kTransport layer's checksum, or zero.
    std::vector<Patch> sets = {};
    std::vector<Patch> corrupts = {};
  };

  static void put16(Frame& bytes, size_t at, uint16_t value) {
    bytes.at(at) = static_cast<uint8_t>(value >> 8);
    bytes.at(at + 1) = static_cast<uint8_t>(value);
  }
  static Frame two(uint16_t value) {
    return {static_cast<uint8_t>(value >> 8), static_cast<uint8_t>(value)};
  }
  template <typename Bytes>
  static void append(Frame& out, const Bytes& bytes) {
    for (const uint8_t byte : bytes) out.push_back(byte);
  }
  static Frame echo(uint8_t type, uint8_t code, uint16_t ident, uint16_t seq) {
    Frame bytes(8);
    bytes[0] = type;
    bytes[1] = code;
    put16(bytes, 4, ident);
    put16(bytes, 6, seq);
    return bytes;
  }
  static void apply(const Patch& patch, Frame& bytes) {
    assert(patch.offset + patch.bytes.size() <= bytes.size());
    for (size_t i = 0; i < patch.bytes.size(); ++i) bytes.at(patch.offset + i) = patch.bytes[i];
  }

  PacketBuilder& add(Kind kind, Frame bytes) {
    layers_.push_back({.kind = kind, .bytes = std::move(bytes)});
    return *this;
  }
  PacketBuilder& extension(uint8_t proto, Frame bytes) {
    add(Kind::kExtension, std::move(bytes));
    layers_.back().proto = proto;
    return *this;
  }
  PacketBuilder& options(uint8_t proto, uint8_t words) {
    Frame bytes((words + 1u) * 8u);
    bytes[0] = kExperimental;
    bytes[1] = words;
    bytes[2] = 1;  // PadN
    bytes[3] = static_cast<uint8_t>(bytes.size() - 4 > 255 ? 255 : bytes.size() - 4);
    return extension(proto, std::move(bytes));
  }
  PacketBuilder& transport(uint8_t proto, size_t checksum_at, Frame bytes) {
    add(Kind::kTransport, std::move(bytes));
    layers_.back().proto = proto;
    layers_.back().checksum_at = checksum_at;
    return *this;
  }
  PacketBuilder& datagram(uint8_t proto, uint16_t source, uint16_t destination) {
    Frame bytes(8);
    put16(bytes, 0, source);
    put16(bytes, 2, destination);
    return transport(proto, 6, std::move(bytes));
  }
  PacketBuilder& patch(std::vector<Patch>& patches, size_t offset, Frame bytes) {
    patches.push_back({offset, std::move(bytes)});
    return *this;
  }

  static uint16_t ether_type(const Layer* layer) {
    if (layer == nullptr) return 0x88b5;  // For local experiments.
    switch (layer->kind) {
      case Kind::kVlan: return layer->tpid;
      case Kind::kArp: return 0x0806;
      case Kind::kIpv4: return 0x0800;
      case Kind::kIpv6: return 0x86dd;
      default: return 0x88b5;
    }
  }
  static void fill_in(Layer& layer, const Layer* next, size_t behind) {
    const bool next_has_number =
        next != nullptr && (next->kind == Kind::kExtension || next->kind == Kind::kTransport);
    Frame& bytes = layer.bytes;
    switch (layer.kind) {
      case Kind::kEth: put16(bytes, 12, ether_type(next)); break;
      case Kind::kVlan: put16(bytes, 2, ether_type(next)); break;
      case Kind::kIpv4:
        put16(bytes, 2, static_cast<uint16_t>(bytes.size() + behind));
        if (next_has_number) bytes[9] = next->proto;
        break;
      case Kind::kIpv6:
        put16(bytes, 4, static_cast<uint16_t>(behind));
        if (next_has_number) bytes[6] = next->proto;
        break;
      case Kind::kExtension:
        if (next_has_number) bytes[0] = next->proto;
        break;
      case Kind::kTransport:
        if (layer.proto == 17 || layer.proto == 136)
          put16(bytes, 4, static_cast<uint16_t>(bytes.size() + behind));
        break;
      default: break;
    }
  }

  static uint32_t slow_sum(uint32_t sum, std::span<const uint8_t> bytes) {
    for (size_t i = 0; i < bytes.size(); ++i) {
      sum += i % 2 == 0 ? static_cast<uint32_t>(bytes[i]) << 8 : bytes[i];
      if (sum > 0xffff) sum -= 0xffff;
    }
    return sum;
  }
  // Computes the checksum of layer `i`. The inner layers already have theirs.
  static void sum(std::vector<Layer>& layers, size_t i) {
    Layer& layer = layers[i];
    if (layer.kind == Kind::kIpv4) {
      put16(layer.bytes, 10, 0);
      put16(layer.bytes, 10, static_cast<uint16_t>(~slow_sum(0, layer.bytes)));
      return;
    }
    if (layer.kind != Kind::kTransport || layer.checksum_at == 0) return;
    Frame whole = layer.bytes;
    for (size_t k = i + 1; k < layers.size(); ++k) append(whole, layers[k].bytes);
    uint32_t sum = layer.proto == 1 ? 0 : pseudo_sum(layers, i, whole.size());
    sum = slow_sum(sum, whole);
    auto checksum = static_cast<uint16_t>(~sum);
    if (checksum == 0 && layer.proto != 6) checksum = 0xffff;
    put16(layer.bytes, layer.checksum_at, checksum);
  }
  static uint32_t pseudo_sum(const std::vector<Layer>& layers, size_t i, size_t length) {
    Frame pseudo;
    for (size_t k = i; k-- > 0;) {
      const Frame& bytes = layers[k].bytes;
      if (layers[k].kind == Kind::kIpv4) {
        pseudo.insert(pseudo.end(), bytes.begin() + 12, bytes.begin() + 20);
        break;
      }
      if (layers[k].kind == Kind::kIpv6) {
        pseudo.insert(pseudo.begin(), bytes.begin() + 8, bytes.begin() + 24);
        if (pseudo.size() == 16)
          pseudo.insert(pseudo.end(), bytes.begin() + 24, bytes.begin() + 40);
        break;
      }
      // While segments are left, the last one is the destination (RFC 8200, 8.1).
      if (layers[k].kind == Kind::kExtension && layers[k].proto == 43 && bytes[3] > 0)
        pseudo.assign(bytes.end() - 16, bytes.end());
    }
    assert(!pseudo.empty());
    append(pseudo, two(layers[i].proto));
    append(pseudo, two(static_cast<uint16_t>(length)));
    return slow_sum(0, pseudo);
  }

  std::vector<Layer> layers_;
  size_t padding_ = 0;
};

class TestPacket {
 public:
  static constexpr uint16_t kHeadroom = 64;

  explicit TestPacket(const Frame& frame, uint16_t headroom = kHeadroom)
      : TestPacket(frame, frame.size(), headroom) {}
  // Makes only the first `head_len` bytes readable.
  TestPacket(const Frame& frame, size_t head_len, uint16_t headroom)
      : buffer_(std::make_unique<uint8_t[]>(headroom + head_len)) {
    assert(head_len <= frame.size());
    if (head_len > 0) std::memcpy(buffer_.get() + headroom, frame.data(), head_len);
    packet.data = buffer_.get() + headroom;
    packet.len = static_cast<uint32_t>(frame.size());
    packet.head_len = static_cast<uint32_t>(head_len);
    packet.headroom = headroom;
  }

  [[nodiscard]] Frame bytes() const { return {packet.data, packet.data + packet.head_len}; }

  dataplane::Packet packet;

 private:
  std::unique_ptr<uint8_t[]> buffer_;
};

}  // namespace godwit::testing
