// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <cstdio>
#include <optional>

#include "base/net.h"
#include "dataplane/rules/flow_command.h"
#include "dataplane/rules/rule_parser.h"
#include "dataplane/rules/vocabulary.h"

namespace godwit::dataplane {

namespace {

template <typename Address>
std::string address_text(const FieldBytes& value) {
  Address address;
  std::copy_n(value.begin(), address.bytes.size(), address.bytes.begin());
  return to_string(address);
}

std::string value_text(Format format, uint8_t width, const FieldBytes& value) {
  switch (format) {
    case Format::kMac: return address_text<MacAddress>(value);
    case Format::kIpv4: return address_text<Ipv4Address>(value);
    case Format::kIpv6: return address_text<Ipv6Address>(value);
    case Format::kNumber: return std::to_string(value_number(value, width));
    case Format::kHex: {
      char text[20];
      std::snprintf(text, sizeof(text), "0x%0*llx", (width + 3) / 4,
                    static_cast<unsigned long long>(value_number(value, width)));
      return text;
    }
    case Format::kNone:
    case Format::kEndpoint: break;
  }
  return {};
}

bool is_address(Format format) {
  return format == Format::kMac || format == Format::kIpv4 || format == Format::kIpv6;
}

// The length of the prefix that the mask of an address is, if it is one.
std::optional<uint8_t> prefix_length(const FieldBytes& mask, uint8_t width) {
  uint8_t bits = 0;
  while (bits < width && (mask[bits / 8] & 0x80u >> bits % 8) != 0) ++bits;
  if (prefix_mask(bits, width) != mask) return std::nullopt;
  return bits;
}

void append_field(const FieldInfo& field, const FieldMatch& match, std::string& out) {
  const std::string name = " " + std::string(field.name);
  if (match.mask == full_mask(field) && !match.has_last) {
    out += name + " is " + value_text(field.format, field.width, match.spec);
    return;
  }
  out += name + " spec " + value_text(field.format, field.width, match.spec);
  if (match.has_last) out += name + " last " + value_text(field.format, field.width, match.last);
  const std::optional<uint8_t> prefix =
      is_address(field.format) ? prefix_length(match.mask, field.width) : std::nullopt;
  if (prefix) {
    out += name + " prefix " + std::to_string(*prefix);
  } else {
    const Format format = is_address(field.format) ? field.format : Format::kHex;
    out += name + " mask " + value_text(format, field.width, match.mask);
  }
}

void append_item(const PatternItem& item, std::string& out) {
  const ItemInfo& info = item_info(item.item);
  out += std::string(info.name);
  if (names_origin(info)) {
    if (!item.endpoint.empty())
      out += " " + std::string(info.fields[0].name) + " is " + item.endpoint;
  } else {
    for (const FieldMatch& match : item.fields) {
      if (match.field < info.fields.size()) append_field(info.fields[match.field], match, out);
    }
  }
  out += " / ";
}

void append_action(const Action& action, std::string& out) {
  const ActionInfo& info = action_info(action.action);
  out += std::string(info.name);
  if (info.format == Format::kEndpoint) {
    out += " " + std::string(info.argument) + " " + action.endpoint;
  } else if (!info.argument.empty() && !(info.argument_optional && action.value == FieldBytes{})) {
    out +=
        " " + std::string(info.argument) + " " + value_text(info.format, info.width, action.value);
  }
  out += " / ";
}

std::string_view direction_name(Direction direction) {
  switch (direction) {
    case Direction::kIngress: return "ingress ";
    case Direction::kEgress: return "egress ";
    case Direction::kTransfer: return "transfer ";
    case Direction::kInvalid: break;
  }
  return "";
}

std::string format_cell(const FieldInfo& field) {
  std::string cell = value_help(field.format, field.width);
  if (field.format == Format::kMac) cell += " or 0200:0000:0001";
  if (field.format == Format::kIpv4) cell += ", or a number";
  return cell;
}

void append_items_reference(std::string& out) {
  out += "\n## Pattern items\n";
  for (const ItemInfo& info : items()) {
    out += "\n### `" + std::string(info.name) + "`\n\nMatches: " + std::string(info.help) + ".\n";
    if (info.fields.empty()) continue;
    out += "\n| field | bits | value | default mask | meaning |\n|---|---|---|---|---|\n";
    for (const FieldInfo& field : info.fields) {
      const std::string mask = field.default_mask_bits == 0 ? "none"
                               : field.default_mask_bits == field.width
                                   ? "all"
                                   : "low " + std::to_string(field.default_mask_bits);
      out += "| `" + std::string(field.name) + "` | " + std::to_string(field.width) + " | " +
             format_cell(field) + " | " + mask + " | " + std::string(field.help) + " |\n";
    }
  }
}

void append_actions_reference(std::string& out) {
  out += "\n## Actions\n\n| action | argument | value | meaning |\n|---|---|---|---|\n";
  for (const ActionInfo& info : actions()) {
    const std::string argument =
        info.argument.empty() ? "" : "`" + std::string(info.argument) + "`";
    out += "| `" + std::string(info.name) + "` | " + argument + " | " +
           value_help(info.format, info.width) + " | " + std::string(info.help) + " |\n";
  }
}

constexpr std::string_view kReferenceHead = R"(# Rules

The language is testpmd's `flow` grammar (DPDK 22.11). This page is made from the table that the parser uses.

    flow validate|create {port} [group N] [priority N] ingress|egress|transfer
         pattern ITEM [FIELD is|spec|last|mask|prefix VALUE]... / ... / end
         actions ACTION [ARGUMENT VALUE]... / ... / end
    flow destroy {port} rule N [rule N]...
    flow flush {port}
    flow query {port} N count
    flow list {port} [group N]...
    flow dump {port} all [FILE]
    flow dump {port} rule N [FILE]

`{port}`, and every port in a rule, is a number or an endpoint's name (`vm7/net0`). Numbers are decimal, `0x` hex or
`0` octal. Words are exact, and separated by blanks, the `/` too. A word that begins with `#` ends the line.

## Attributes

- Exactly one of `ingress` (packets that the endpoint sends), `egress` (packets that are delivered to it) and
  `transfer` (packets from anywhere, or from the endpoint that an item names).
- `group N`: 0 is where packets start; others are reached by `jump`.
- `priority N`: the lowest wins; then `ingress` before `transfer`; then the older rule.

## Matching a field

| word | meaning |
|---|---|
| `is V` | the field is V |
| `spec V`, `mask M` | the field is V in the bits of M |
| `spec V`, `prefix N` | the same with the N leading bits |
| `spec V`, `last W` | from V to W, under the mask. Zero, or the same as V, is no range |

An item without fields matches any such header. An item in which nothing has a mask (no `is`, `mask` or `prefix`) has
rte_flow's default mask, for all of its fields: `tcp dst spec 80` alone also asks for source port 0, as it does in
testpmd. `flow list` prints what is matched in full, in a form that can be pasted back.

Items stand in the order of the headers; lower ones may be left out (`pattern tcp / end` is TCP on IPv4 and on IPv6).
`eth / ipv4` matches tagged packets too; `eth has_vlan is 0 / ipv4` does not. Nothing is matched behind VXLAN's header.
What can never match (`eth type is 0x0806 / ipv4`) is refused.

An action without its argument has zero for it, as in testpmd.

## Where Godwit differs from testpmd

- Ports may be names.
- Both `ingress` and `egress`, or neither, is refused. So is a `mask`, `prefix` or `last` in an item that has no value.
- A number that does not fit a bit field (`vid is 4096`) is refused; testpmd cuts it.
- Items, fields and actions not listed here are refused, `port_id original` and `flow query` of anything but `count` too.
- Items and actions that name a port take it whole: its mask is all or nothing, without `last`.
- The action `normal` is Godwit's.
- At most 32 items, 64 actions, 64 KiB.
)";

}  // namespace

std::string to_text(const Rule& rule) {
  std::string out(direction_name(rule.attributes.direction));
  if (rule.attributes.group != 0) out += "group " + std::to_string(rule.attributes.group) + " ";
  if (rule.attributes.priority != 0)
    out += "priority " + std::to_string(rule.attributes.priority) + " ";
  out += "pattern ";
  for (const PatternItem& item : rule.pattern) append_item(item, out);
  out += "end actions ";
  for (const Action& action : rule.actions) append_action(action, out);
  out += "end";
  return out;
}

std::string rule_reference_markdown() {
  std::string out(kReferenceHead);
  append_items_reference(out);
  append_actions_reference(out);
  return out;
}

}  // namespace godwit::dataplane
