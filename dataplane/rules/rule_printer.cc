// SPDX-License-Identifier: Apache-2.0
#include <optional>

#include "dataplane/rules/flow_command.h"
#include "dataplane/rules/value_text.h"
#include "dataplane/rules/vocabulary.h"

namespace godwit::dataplane {

namespace {

bool is_address(Format format) {
  return format == Format::kMac || format == Format::kIpv4 || format == Format::kIpv6;
}

// Returns the prefix length of an address mask, or nullopt if the mask is not a prefix.
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

}  // namespace godwit::dataplane
