// SPDX-License-Identifier: Apache-2.0
#include "dataplane/rules/vocabulary.h"

#include <gtest/gtest.h>

#include <set>
#include <string>

namespace godwit::dataplane {
namespace {

TEST(Vocabulary, EnumsMatchRows) {
  const std::pair<ItemKind, std::string_view> rows[] = {
      {ItemKind::kVoid, "void"},
      {ItemKind::kEth, "eth"},
      {ItemKind::kVlan, "vlan"},
      {ItemKind::kArpEthIpv4, "arp_eth_ipv4"},
      {ItemKind::kIpv4, "ipv4"},
      {ItemKind::kIpv6, "ipv6"},
      {ItemKind::kIpv6Ext, "ipv6_ext"},
      {ItemKind::kIpv6FragExt, "ipv6_frag_ext"},
      {ItemKind::kTcp, "tcp"},
      {ItemKind::kUdp, "udp"},
      {ItemKind::kSctp, "sctp"},
      {ItemKind::kIcmp, "icmp"},
      {ItemKind::kIcmp6, "icmp6"},
      {ItemKind::kVxlan, "vxlan"},
      {ItemKind::kRepresentedPort, "represented_port"},
      {ItemKind::kPortRepresentor, "port_representor"},
      {ItemKind::kPortId, "port_id"},
      {ItemKind::kMark, "mark"},
  };
  EXPECT_EQ(std::size(rows), items().size());
  for (const auto& [kind, name] : rows) {
    EXPECT_EQ(item_info(kind).name, name);
    EXPECT_EQ(find_item(name), static_cast<uint16_t>(kind));
  }
  const std::pair<ActionKind, std::pair<std::string_view, OpCode>> action_rows[] = {
      {ActionKind::kVoid, {"void", OpCode::kInvalid}},
      {ActionKind::kPassthru, {"passthru", OpCode::kPassthru}},
      {ActionKind::kJump, {"jump", OpCode::kJump}},
      {ActionKind::kMark, {"mark", OpCode::kMark}},
      {ActionKind::kDrop, {"drop", OpCode::kDrop}},
      {ActionKind::kCountPackets, {"count", OpCode::kCount}},
      {ActionKind::kPortId, {"port_id", OpCode::kOutput}},
      {ActionKind::kRepresentedPort, {"represented_port", OpCode::kOutput}},
      {ActionKind::kPortRepresentor, {"port_representor", OpCode::kOutput}},
      {ActionKind::kOfPopVlan, {"of_pop_vlan", OpCode::kPopVlan}},
      {ActionKind::kOfPushVlan, {"of_push_vlan", OpCode::kPushVlan}},
      {ActionKind::kOfSetVlanVid, {"of_set_vlan_vid", OpCode::kSetVlanVid}},
      {ActionKind::kOfSetVlanPcp, {"of_set_vlan_pcp", OpCode::kSetVlanPcp}},
      {ActionKind::kSetMacSrc, {"set_mac_src", OpCode::kSetMacSrc}},
      {ActionKind::kSetMacDst, {"set_mac_dst", OpCode::kSetMacDst}},
      {ActionKind::kMacSwap, {"mac_swap", OpCode::kMacSwap}},
      {ActionKind::kSetIpv4Src, {"set_ipv4_src", OpCode::kSetIpv4Src}},
      {ActionKind::kSetIpv4Dst, {"set_ipv4_dst", OpCode::kSetIpv4Dst}},
      {ActionKind::kSetIpv6Src, {"set_ipv6_src", OpCode::kSetIpv6Src}},
      {ActionKind::kSetIpv6Dst, {"set_ipv6_dst", OpCode::kSetIpv6Dst}},
      {ActionKind::kSetTpSrc, {"set_tp_src", OpCode::kSetTpSrc}},
      {ActionKind::kSetTpDst, {"set_tp_dst", OpCode::kSetTpDst}},
      {ActionKind::kSetTtl, {"set_ttl", OpCode::kSetTtl}},
      {ActionKind::kDecTtl, {"dec_ttl", OpCode::kDecTtl}},
      {ActionKind::kNormal, {"normal", OpCode::kNormal}},
  };
  EXPECT_EQ(std::size(action_rows), actions().size());
  for (const auto& [kind, row] : action_rows) {
    EXPECT_EQ(action_info(kind).name, row.first);
    EXPECT_EQ(action_info(kind).op, row.second);
    EXPECT_EQ(find_action(row.first), static_cast<uint16_t>(kind));
  }
}

TEST(Vocabulary, NamesAreUniqueAndHaveHelp) {
  std::set<std::string_view> names;
  for (const ItemInfo& item : items()) {
    EXPECT_TRUE(names.insert(item.name).second) << item.name;
    EXPECT_FALSE(item.help.empty()) << item.name;
    std::set<std::string_view> fields;
    for (const FieldInfo& field : item.fields) {
      EXPECT_TRUE(fields.insert(field.name).second) << item.name << " " << field.name;
      EXPECT_FALSE(field.help.empty()) << item.name << " " << field.name;
    }
  }
  names.clear();
  for (const ActionInfo& action : actions()) {
    EXPECT_TRUE(names.insert(action.name).second) << action.name;
    EXPECT_FALSE(action.help.empty()) << action.name;
    EXPECT_EQ(action.argument.empty(), action.format == Format::kNone) << action.name;
    EXPECT_EQ(action.width == 0, action.format == Format::kNone) << action.name;
  }
}

TEST(Vocabulary, FieldsFitIntoFlowKey) {
  for (const ItemInfo& item : items()) {
    if (names_origin(item)) continue;
    for (const FieldInfo& field : item.fields) {
      EXPECT_LE(field.key_offset + field.key_size, kFlowKeyBytes) << item.name << " " << field.name;
      EXPECT_LE(field.width + field.shift, field.key_size * 8) << item.name << " " << field.name;
      EXPECT_LE(field.default_mask_bits, field.width) << item.name << " " << field.name;
    }
  }
}

TEST(Vocabulary, PutFieldRoundTripsAndChangesNothingElse) {
  for (const ItemInfo& item : items()) {
    if (names_origin(item)) continue;
    for (const FieldInfo& field : item.fields) {
      for (const uint8_t fill : {uint8_t{0x00}, uint8_t{0xff}}) {
        std::array<uint8_t, kFlowKeyBytes> key;
        key.fill(fill);
        const FieldBytes value =
            low_bits_mask(static_cast<uint8_t>((field.width + 1) / 2), field.width);
        put_field(field, value, key);
        EXPECT_EQ(get_field(field, key), value) << item.name << " " << field.name;
        put_field(field, fill == 0 ? FieldBytes{} : full_mask(field), key);
        for (const uint8_t byte : key) EXPECT_EQ(byte, fill) << item.name << " " << field.name;
      }
    }
  }
}

TEST(Vocabulary, IndicesPastEndAreVoid) {
  EXPECT_EQ(item_info(uint16_t{0xffff}).name, "void");
  EXPECT_EQ(action_info(uint16_t{0xffff}).name, "void");
  EXPECT_FALSE(find_item("").has_value());
  EXPECT_FALSE(find_action("end").has_value());
}

TEST(Vocabulary, MasksAndNumbersAreBigEndian) {
  EXPECT_EQ(number_value(5, 12)[0], 0);
  EXPECT_EQ(number_value(5, 12)[1], 5);
  EXPECT_EQ(value_number(number_value(0xabcdef, 24), 24), 0xabcdefu);
  EXPECT_EQ(value_number(prefix_mask(24, 32), 32), 0xffffff00u);
  EXPECT_EQ(value_number(prefix_mask(4, 12), 12), 0xf00u);
  EXPECT_EQ(value_number(prefix_mask(0, 32), 32), 0u);
  EXPECT_EQ(value_number(low_bits_mask(12, 16), 16), 0x0fffu);
}

}  // namespace
}  // namespace godwit::dataplane
