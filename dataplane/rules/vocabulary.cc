// SPDX-License-Identifier: Apache-2.0
#include "dataplane/rules/vocabulary.h"

#include <cassert>
#include <iterator>

namespace godwit::dataplane {

namespace {

// The place of a field that is a whole member of FlowKey.
#define KEY_FIELD(member) offsetof(FlowKey, member), sizeof(FlowKey::member), 0
// The place of a field that is a bit of FlowKey::layers.
#define LAYER_BIT(layer) \
  offsetof(FlowKey, layers), sizeof(FlowKey::layers), std::countr_zero<unsigned>(layer)

constexpr FieldInfo kEthFields[] = {
    {"dst", 48, KEY_FIELD(eth.dst), Format::kMac, 48, "destination MAC"},
    {"src", 48, KEY_FIELD(eth.src), Format::kMac, 48, "source MAC"},
    {"type", 16, KEY_FIELD(eth.type), Format::kHex, 0, "EtherType, or TPID where tagged"},
    {"has_vlan", 1, LAYER_BIT(kLayerVlan), Format::kNumber, 0, "1: tagged, 0: untagged"},
};

// `tci` covers the bits of pcp, dei and vid.
constexpr FieldInfo kVlanFields[] = {
    {"tci", 16, KEY_FIELD(eth.vlan_tci), Format::kHex, 12, "tag control information"},
    {"pcp", 3, offsetof(FlowKey, eth.vlan_tci), 2, 13, Format::kNumber, 0, "priority code point"},
    {"dei", 1, offsetof(FlowKey, eth.vlan_tci), 2, 12, Format::kNumber, 0,
     "drop eligible indicator"},
    {"vid", 12, offsetof(FlowKey, eth.vlan_tci), 2, 0, Format::kNumber, 12, "VLAN identifier"},
    {"inner_type", 16, KEY_FIELD(eth.vlan_inner_type), Format::kHex, 0,
     "EtherType or TPID after the tag"},
    {"has_more_vlan", 1, LAYER_BIT(kLayerVlan2), Format::kNumber, 0, "1: another tag follows"},
};

constexpr FieldInfo kArpFields[] = {
    {"sha", 48, KEY_FIELD(arp.sha), Format::kMac, 48, "sender hardware address"},
    {"spa", 32, KEY_FIELD(ipv4.src), Format::kIpv4, 32, "sender IPv4 address"},
    {"tha", 48, KEY_FIELD(arp.tha), Format::kMac, 48, "target hardware address"},
    {"tpa", 32, KEY_FIELD(ipv4.dst), Format::kIpv4, 32, "target IPv4 address"},
};

constexpr FieldInfo kIpv4Fields[] = {
    {"tos", 8, KEY_FIELD(ip.tos), Format::kHex, 0, "type of service (DSCP and ECN)"},
    {"fragment_offset", 16, KEY_FIELD(ip.fragment), Format::kHex, 0, "flags and fragment offset"},
    {"ttl", 8, KEY_FIELD(ip.ttl), Format::kNumber, 0, "time to live"},
    {"proto", 8, KEY_FIELD(ip.proto), Format::kNumber, 0, "next protocol"},
    {"src", 32, KEY_FIELD(ipv4.src), Format::kIpv4, 32, "source address"},
    {"dst", 32, KEY_FIELD(ipv4.dst), Format::kIpv4, 32, "destination address"},
};

constexpr FieldInfo kIpv6Fields[] = {
    {"tc", 8, KEY_FIELD(ip.tos), Format::kHex, 0, "traffic class"},
    {"flow", 20, KEY_FIELD(ip.ipv6_flow), Format::kHex, 0, "flow label"},
    {"proto", 8, KEY_FIELD(ip.ipv6_next), Format::kNumber, 0, "next header of the fixed header"},
    {"hop", 8, KEY_FIELD(ip.ttl), Format::kNumber, 0, "hop limit"},
    {"src", 128, KEY_FIELD(ipv6.src), Format::kIpv6, 128, "source address"},
    {"dst", 128, KEY_FIELD(ipv6.dst), Format::kIpv6, 128, "destination address"},
    {"has_frag_ext", 1, LAYER_BIT(kLayerFragment), Format::kNumber, 0, "1: has a fragment header"},
};

constexpr FieldInfo kIpv6FragFields[] = {
    {"frag_data", 16, KEY_FIELD(ip.fragment), Format::kHex, 0, "fragment offset and M flag"},
};

constexpr FieldInfo kTcpFields[] = {
    {"src", 16, KEY_FIELD(l4.src), Format::kNumber, 16, "source port"},
    {"dst", 16, KEY_FIELD(l4.dst), Format::kNumber, 16, "destination port"},
    {"flags", 8, KEY_FIELD(l4.tcp_flags), Format::kHex, 0, "flags"},
};

constexpr FieldInfo kPortFields[] = {
    {"src", 16, KEY_FIELD(l4.src), Format::kNumber, 16, "source port"},
    {"dst", 16, KEY_FIELD(l4.dst), Format::kNumber, 16, "destination port"},
};

constexpr FieldInfo kIcmpFields[] = {
    {"type", 8, KEY_FIELD(l4.icmp_type), Format::kNumber, 8, "type"},
    {"code", 8, KEY_FIELD(l4.icmp_code), Format::kNumber, 8, "code"},
    {"ident", 16, KEY_FIELD(l4.icmp_ident), Format::kNumber, 0, "identifier"},
    {"seq", 16, KEY_FIELD(l4.icmp_seq), Format::kNumber, 0, "sequence number"},
};

constexpr FieldInfo kIcmp6Fields[] = {
    {"type", 8, KEY_FIELD(l4.icmp_type), Format::kNumber, 8, "type"},
    {"code", 8, KEY_FIELD(l4.icmp_code), Format::kNumber, 8, "code"},
};

constexpr FieldInfo kVxlanFields[] = {
    {"vni", 24, offsetof(FlowKey, l4.vxlan_vni), 3, 0, Format::kNumber, 24,
     "VXLAN network identifier"},
};

constexpr FieldInfo kMarkFields[] = {
    {"id", 32, KEY_FIELD(mark), Format::kNumber, 32, "value that action `mark` has set"},
};

constexpr FieldInfo kRepresentedPortFields[] = {
    {"ethdev_port_id", 16, 0, 0, 0, Format::kEndpoint, 16, "port number or endpoint name"},
};
constexpr FieldInfo kPortRepresentorFields[] = {
    {"port_id", 16, 0, 0, 0, Format::kEndpoint, 16, "port number or endpoint name"},
};
constexpr FieldInfo kPortIdFields[] = {
    {"id", 32, 0, 0, 0, Format::kEndpoint, 32, "port number or endpoint name"},
};

#undef KEY_FIELD
#undef LAYER_BIT

constexpr ItemInfo kItems[] = {
    {"void", ItemRank::kMeta, 0, {}, "anything; the item is ignored"},
    {"eth", ItemRank::kLink, kLayerEth, kEthFields, "Ethernet header"},
    {"vlan", ItemRank::kTag, kLayerVlan, kVlanFields, "802.1Q tag; twice: outer, then inner"},
    {"arp_eth_ipv4", ItemRank::kNetwork, kLayerArp, kArpFields, "ARP for IPv4 over Ethernet"},
    {"ipv4", ItemRank::kNetwork, kLayerIpv4, kIpv4Fields, "IPv4 header"},
    {"ipv6", ItemRank::kNetwork, kLayerIpv6, kIpv6Fields, "IPv6 header"},
    {"ipv6_ext", ItemRank::kExtension, kLayerIpv6 | kLayerIpv6Ext, {}, "any IPv6 extension header"},
    {"ipv6_frag_ext", ItemRank::kExtension, kLayerIpv6 | kLayerFragment, kIpv6FragFields,
     "IPv6 fragment header"},
    {"tcp", ItemRank::kTransport, kLayerTcp, kTcpFields, "TCP header"},
    {"udp", ItemRank::kTransport, kLayerUdp, kPortFields, "UDP header"},
    {"sctp", ItemRank::kTransport, kLayerSctp, kPortFields, "SCTP header"},
    {"icmp", ItemRank::kTransport, kLayerIcmp, kIcmpFields, "ICMP header"},
    {"icmp6", ItemRank::kTransport, kLayerIcmp6, kIcmp6Fields, "ICMPv6 header"},
    {"vxlan", ItemRank::kTunnel, kLayerVxlan, kVxlanFields, "VXLAN header"},
    {"represented_port", ItemRank::kMeta, 0, kRepresentedPortFields,
     "packets from this endpoint, in transfer rules only"},
    {"port_representor", ItemRank::kMeta, 0, kPortRepresentorFields,
     "packets from this endpoint, in transfer rules only"},
    {"port_id", ItemRank::kMeta, 0, kPortIdFields,
     "packets from this endpoint, in transfer rules only"},
    {"mark", ItemRank::kMeta, 0, kMarkFields, "packets that an earlier rule has marked"},
};
static_assert(std::size(kItems) == static_cast<size_t>(ItemKind::kCount));

constexpr ActionInfo kActions[] = {
    {"void", OpCode::kInvalid, 0, "", Format::kNone, false, "does nothing"},
    {"passthru", OpCode::kPassthru, 0, "", Format::kNone, false,
     "continue with the next matching rule"},
    {"jump", OpCode::kJump, 32, "group", Format::kNumber, false, "continue in a higher group"},
    {"mark", OpCode::kMark, 32, "id", Format::kNumber, false, "attach a number to the packet"},
    {"drop", OpCode::kDrop, 0, "", Format::kNone, false, "drop the packet"},
    {"count", OpCode::kCount, 32, "identifier", Format::kNumber, true, "count packets and bytes"},
    {"port_id", OpCode::kOutput, 32, "id", Format::kEndpoint, false, "send to an endpoint"},
    {"represented_port", OpCode::kOutput, 16, "ethdev_port_id", Format::kEndpoint, false,
     "send to an endpoint"},
    {"port_representor", OpCode::kOutput, 16, "port_id", Format::kEndpoint, false,
     "send to an endpoint"},
    {"of_pop_vlan", OpCode::kPopVlan, 0, "", Format::kNone, false, "remove the outer VLAN tag"},
    {"of_push_vlan", OpCode::kPushVlan, 16, "ethertype", Format::kHex, false,
     "add a VLAN tag with this TPID"},
    {"of_set_vlan_vid", OpCode::kSetVlanVid, 16, "vlan_vid", Format::kNumber, false,
     "set the outer tag's VLAN"},
    {"of_set_vlan_pcp", OpCode::kSetVlanPcp, 8, "vlan_pcp", Format::kNumber, false,
     "set the outer tag's priority"},
    {"set_mac_src", OpCode::kSetMacSrc, 48, "mac_addr", Format::kMac, false, "set the source MAC"},
    {"set_mac_dst", OpCode::kSetMacDst, 48, "mac_addr", Format::kMac, false,
     "set the destination MAC"},
    {"mac_swap", OpCode::kMacSwap, 0, "", Format::kNone, false, "swap source and destination MAC"},
    {"set_ipv4_src", OpCode::kSetIpv4Src, 32, "ipv4_addr", Format::kIpv4, false,
     "set the IPv4 source"},
    {"set_ipv4_dst", OpCode::kSetIpv4Dst, 32, "ipv4_addr", Format::kIpv4, false,
     "set the IPv4 destination"},
    {"set_ipv6_src", OpCode::kSetIpv6Src, 128, "ipv6_addr", Format::kIpv6, false,
     "set the IPv6 source"},
    {"set_ipv6_dst", OpCode::kSetIpv6Dst, 128, "ipv6_addr", Format::kIpv6, false,
     "set the IPv6 destination"},
    {"set_tp_src", OpCode::kSetTpSrc, 16, "port", Format::kNumber, false,
     "set the TCP or UDP source port"},
    {"set_tp_dst", OpCode::kSetTpDst, 16, "port", Format::kNumber, false,
     "set the TCP or UDP destination port"},
    {"set_ttl", OpCode::kSetTtl, 8, "ttl_value", Format::kNumber, false, "set TTL or hop limit"},
    {"dec_ttl", OpCode::kDecTtl, 0, "", Format::kNone, false, "decrement TTL or hop limit"},
    {"normal", OpCode::kNormal, 0, "", Format::kNone, false,
     "L2 learning and forwarding (Godwit's own)"},
};
static_assert(std::size(kActions) == static_cast<size_t>(ActionKind::kCount));

// The fields of the second tag have a fixed distance from those of the first.
static_assert(offsetof(FlowKey, eth.vlan2_tci) - offsetof(FlowKey, eth.vlan_tci) == kInnerVlan);
static_assert(offsetof(FlowKey, eth.vlan2_inner_type) - offsetof(FlowKey, eth.vlan_inner_type) ==
              kInnerVlan);

}  // namespace

std::span<const ItemInfo> items() { return kItems; }
std::span<const ActionInfo> actions() { return kActions; }

const ItemInfo& item_info(uint16_t item) {
  return item < std::size(kItems) ? kItems[item] : kItems[0];
}
const ActionInfo& action_info(uint16_t action) {
  return action < std::size(kActions) ? kActions[action] : kActions[0];
}

namespace {
template <typename Table>
std::optional<uint16_t> find_name(const Table& table, std::string_view name) {
  for (size_t i = 0; i < std::size(table); ++i) {
    if (table[i].name == name) return static_cast<uint16_t>(i);
  }
  return std::nullopt;
}
}  // namespace

std::optional<uint16_t> find_item(std::string_view name) { return find_name(kItems, name); }
std::optional<uint16_t> find_action(std::string_view name) { return find_name(kActions, name); }
std::optional<uint16_t> find_field(const ItemInfo& item, std::string_view name) {
  return find_name(item.fields, name);
}

bool names_origin(const ItemInfo& item) {
  return !item.fields.empty() && item.fields[0].format == Format::kEndpoint;
}

// Fields of up to 64 bits may be shifted. Wider fields are in the key without a shift.
void put_field(const FieldInfo& field, const FieldBytes& value, std::span<uint8_t> key,
               uint8_t displacement) {
  const size_t offset = static_cast<size_t>(field.key_offset) + displacement;
  assert(offset + field.key_size <= key.size());
  if (field.width > 64) {
    for (size_t i = 0; i < field.key_size; ++i) key[offset + i] = value[i];
    return;
  }
  const uint64_t all = field.width == 64 ? ~uint64_t{0} : (uint64_t{1} << field.width) - 1;
  uint64_t number = (value_number(value, field.width) & all) << field.shift;
  uint64_t mask = all << field.shift;
  for (size_t i = field.key_size; i-- > 0; number >>= 8, mask >>= 8) {
    key[offset + i] = static_cast<uint8_t>((key[offset + i] & ~mask) | (number & 0xff));
  }
}

FieldBytes get_field(const FieldInfo& field, std::span<const uint8_t> key, uint8_t displacement) {
  const size_t offset = static_cast<size_t>(field.key_offset) + displacement;
  assert(offset + field.key_size <= key.size());
  FieldBytes value{};
  if (field.width > 64) {
    for (size_t i = 0; i < field.key_size; ++i) value[i] = key[offset + i];
    return value;
  }
  uint64_t number = 0;
  for (size_t i = 0; i < field.key_size; ++i) number = number << 8 | key[offset + i];
  const uint64_t all = field.width == 64 ? ~uint64_t{0} : (uint64_t{1} << field.width) - 1;
  return number_value(number >> field.shift & all, field.width);
}

}  // namespace godwit::dataplane
