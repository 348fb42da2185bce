// SPDX-License-Identifier: Apache-2.0
//
// The one table of the rule language: every pattern item with its fields, every action with its
// argument. The parser, the printer, completion, the reference page and the compiler of matches all
// read it, so that an item or action exists in all of them or in none. Names and widths are
// testpmd's (DPDK 22.11); `normal` is ours.
//
// Values. A field of `width` bits is held in the first value_bytes(width) bytes of a FieldBytes, as
// one big-endian number (a 12-bit 5 is 00 05). In the flow key it lies in key_size bytes at
// key_offset, shifted left by `shift`. Items and actions that name an endpoint (Format::kEndpoint)
// have no value: the name is in PatternItem::endpoint or Action::endpoint.
//
// Everything here is constant: safe from any thread.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string_view>

#include "dataplane/packet/flow_key.h"
#include "dataplane/rules/action_program.h"
#include "dataplane/rules/rule.h"

namespace godwit::dataplane {

// Limits of one rule and one line; longer ones are refused before anything is allocated for them.
inline constexpr size_t kMaxRuleText = 64 * 1024;
inline constexpr size_t kMaxItems = 32;
inline constexpr size_t kMaxActions = 64;
inline constexpr size_t kMaxEndpointName = 63;

// How a value is written. Each is read in all the ways testpmd reads it.
enum class Format : uint8_t {
  kNone = 0,  // no value
  kNumber,    // decimal
  kHex,       // 0x and hex digits
  kMac,       // 02:00:00:00:00:01
  kIpv4,      // 10.0.0.1
  kIpv6,      // fd00::1
  kEndpoint,  // a port's number or an endpoint's name
};

// Values of PatternItem::item. The order is the table's.
enum class ItemKind : uint16_t {
  kVoid = 0,
  kEth,
  kVlan,
  kArpEthIpv4,
  kIpv4,
  kIpv6,
  kIpv6Ext,
  kIpv6FragExt,
  kTcp,
  kUdp,
  kSctp,
  kIcmp,
  kIcmp6,
  kVxlan,
  kRepresentedPort,
  kPortRepresentor,
  kPortId,
  kMark,
  kCount
};

// Values of Action::action. The order is the table's.
enum class ActionKind : uint16_t {
  kVoid = 0,
  kPassthru,
  kJump,
  kMark,
  kDrop,
  kCountPackets,  // `count`
  kPortId,
  kRepresentedPort,
  kPortRepresentor,
  kOfPopVlan,
  kOfPushVlan,
  kOfSetVlanVid,
  kOfSetVlanPcp,
  kSetMacSrc,
  kSetMacDst,
  kMacSwap,
  kSetIpv4Src,
  kSetIpv4Dst,
  kSetIpv6Src,
  kSetIpv6Dst,
  kSetTpSrc,
  kSetTpDst,
  kSetTtl,
  kDecTtl,
  kNormal,
  kCount
};

// Where an item may stand: the rank may not fall along a pattern. Meta items stand anywhere.
enum class ItemRank : uint8_t { kMeta = 0, kLink, kTag, kNetwork, kExtension, kTransport, kTunnel };

struct FieldInfo {
  std::string_view name;
  uint8_t width;       // bits, 1..128
  uint8_t key_offset;  // first byte in FlowKey
  uint8_t key_size;    // bytes there
  uint8_t shift;       // bits to the left of the key's lowest bit
  Format format;
  uint8_t default_mask_bits;  // low bits set in rte_flow's default mask: 0 none, width all
  std::string_view help;
};

struct ItemInfo {
  std::string_view name;
  ItemRank rank;
  uint16_t layers;  // bits of FlowKey::layers that a packet needs to match; for a second `vlan`:
                    // kLayerVlan2
  std::span<const FieldInfo> fields;
  std::string_view help;
};

struct ActionInfo {
  std::string_view name;
  OpCode op;      // kInvalid: nothing to do (`void`)
  uint8_t width;  // bits of the argument (of an endpoint: of a port's number), 0 = no argument
  std::string_view argument;  // its name, empty = takes none
  Format format;
  bool argument_optional;  // printed only when it is not zero
  std::string_view help;
};

std::span<const ItemInfo> items();
std::span<const ActionInfo> actions();

// `item`, `action`: an index from a Rule; one past the end gives `void`.
const ItemInfo& item_info(uint16_t item);
const ActionInfo& action_info(uint16_t action);
inline const ItemInfo& item_info(ItemKind kind) { return item_info(static_cast<uint16_t>(kind)); }
inline const ActionInfo& action_info(ActionKind kind) {
  return action_info(static_cast<uint16_t>(kind));
}

std::optional<uint16_t> find_item(std::string_view name);
std::optional<uint16_t> find_action(std::string_view name);
std::optional<uint16_t> find_field(const ItemInfo& item, std::string_view name);

// True for items whose only field names the endpoint that a packet comes from.
bool names_origin(const ItemInfo& item);

// Bytes that a value of `width` bits takes at the start of a FieldBytes.
constexpr size_t value_bytes(uint8_t width) { return (static_cast<size_t>(width) + 7) / 8; }

// The number in `value`, for widths up to 64.
uint64_t value_number(const FieldBytes& value, uint8_t width);
FieldBytes number_value(uint64_t number, uint8_t width);
// The low `bits` of `width` set.
FieldBytes low_bits_mask(uint8_t bits, uint8_t width);
// The high `bits` of `width` set: a prefix.
FieldBytes prefix_mask(uint8_t bits, uint8_t width);
// All of the field.
inline FieldBytes full_mask(const FieldInfo& field) {
  return low_bits_mask(field.width, field.width);
}

// Moves a field's value between a FieldBytes and its place in a flow key's bytes. `displacement` is
// added to key_offset: kInnerVlan for the second `vlan` item's fields.
inline constexpr uint8_t kInnerVlan = 4;
void put_field(const FieldInfo& field, const FieldBytes& value, std::span<uint8_t> key,
               uint8_t displacement = 0);
FieldBytes get_field(const FieldInfo& field, std::span<const uint8_t> key,
                     uint8_t displacement = 0);

}  // namespace godwit::dataplane
