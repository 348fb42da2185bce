// SPDX-License-Identifier: Apache-2.0
//
// The vocabulary of the rule language: a table of all pattern items with their fields, and a table
// of all actions with their arguments. The parser, the printer, completion, the reference page and
// the compiler of matches read these tables, so an item or action exists in all of them or in none.
// Names and widths are testpmd's (DPDK 22.11); the action `normal` is Godwit's own.
//
// To add a field, add a row in vocabulary.cc and, if the flow key does not have the bytes yet, a
// member of FlowKey that the parser fills.
//
// Values. FieldBytes (field_bytes.h) holds a field's value. In the flow key a field occupies
// key_size bytes at key_offset, shifted left by `shift`. Items and actions that name an endpoint
// (Format::kEndpoint) have no value; the name is in PatternItem::endpoint or Action::endpoint.
//
// Thread safety: constants and pure functions.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string_view>

#include "dataplane/packet/flow_key.h"
#include "dataplane/rules/action_program.h"
#include "dataplane/rules/field_bytes.h"
#include "dataplane/rules/rule.h"

namespace godwit::dataplane {

// Limits of a rule and of a line. A longer text is refused before anything is allocated for it.
inline constexpr size_t kMaxRuleText = 64 * 1024;
inline constexpr size_t kMaxItems = 32;
inline constexpr size_t kMaxActions = 64;
inline constexpr size_t kMaxEndpointName = 63;

// How a value is printed. A value is read in each form that testpmd accepts.
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

// The layer of an item. Ranks do not decrease along a pattern; meta items may be anywhere.
enum class ItemRank : uint8_t { kMeta = 0, kLink, kTag, kNetwork, kExtension, kTransport, kTunnel };

struct FieldInfo {
  std::string_view name;
  uint8_t width;       // bits, 1..128
  uint8_t key_offset;  // first byte in FlowKey
  uint8_t key_size;    // bytes there
  uint8_t shift;       // distance of the field's lowest bit from the lowest bit of the bytes
  Format format;
  uint8_t default_mask_bits;  // low bits set in rte_flow's default mask
  std::string_view help;
};

struct ItemInfo {
  std::string_view name;
  ItemRank rank;
  // The bits of FlowKey::layers that a packet must have. A second `vlan` item needs kLayerVlan2.
  uint16_t layers;
  std::span<const FieldInfo> fields;
  std::string_view help;
};

struct ActionInfo {
  std::string_view name;
  OpCode op;                  // kInvalid for `void`, which does nothing
  uint8_t width;              // bits of the argument, or of a port's number; zero without argument
  std::string_view argument;  // name of the argument; empty if the action has none
  Format format;
  bool argument_optional;  // the argument is printed only if it is not zero
  std::string_view help;
};

std::span<const ItemInfo> items();
std::span<const ActionInfo> actions();

// Return the row of an index from a Rule. An index past the end returns the row of `void`.
const ItemInfo& item_info(uint16_t item);
const ActionInfo& action_info(uint16_t action);
inline const ItemInfo& item_info(ItemKind kind) { return item_info(static_cast<uint16_t>(kind)); }
inline const ActionInfo& action_info(ActionKind kind) {
  return action_info(static_cast<uint16_t>(kind));
}

// Return the index of a name, or nullopt.
std::optional<uint16_t> find_item(std::string_view name);
std::optional<uint16_t> find_action(std::string_view name);
std::optional<uint16_t> find_field(const ItemInfo& item, std::string_view name);

// Returns whether the item's only field names the endpoint from which a packet comes.
bool names_origin(const ItemInfo& item);

// Returns the mask of the whole field.
inline FieldBytes full_mask(const FieldInfo& field) {
  return low_bits_mask(field.width, field.width);
}

// The distance in the flow key between the fields of the second `vlan` item and those of the first.
inline constexpr uint8_t kInnerVlan = 4;
// Writes a field's value into the bytes of a flow key, or reads it. `displacement` is added to
// key_offset.
void put_field(const FieldInfo& field, const FieldBytes& value, std::span<uint8_t> key,
               uint8_t displacement = 0);
FieldBytes get_field(const FieldInfo& field, std::span<const uint8_t> key,
                     uint8_t displacement = 0);

}  // namespace godwit::dataplane
