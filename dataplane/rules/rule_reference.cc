// SPDX-License-Identifier: Apache-2.0
// The reference page of the rule language, docs/user/rules.md.
#include <string>
#include <string_view>

#include "dataplane/rules/flow_command.h"
#include "dataplane/rules/value_text.h"
#include "dataplane/rules/vocabulary.h"

namespace godwit::dataplane {

namespace {

constexpr std::string_view kReferenceHead = R"(# Rules

Rules are written in testpmd's `flow` grammar (DPDK 22.11). `flow_parse --reference` generates this
page from the tables that the parser uses.

    flow validate|create {port} [group N] [priority N] ingress|egress|transfer
         pattern ITEM [FIELD is|spec|last|mask|prefix VALUE]... / ... / end
         actions ACTION [ARGUMENT VALUE]... / ... / end
    flow destroy {port} rule N [rule N]...
    flow flush {port}
    flow query {port} N count
    flow list {port} [group N]...
    flow dump {port} all [FILE]
    flow dump {port} rule N [FILE]

`{port}`, and each port in a rule, is a number or an endpoint's name (`vm7/net0`). Numbers are
decimal, `0x` hexadecimal or `0` octal. Words cannot be abbreviated. Blanks separate words; `/` is a
word too. A word that begins with `#` starts a comment, which ends with the line.

## Attributes

- Exactly one of `ingress` (packets that the endpoint sends), `egress` (packets that are delivered
  to it) and `transfer` (packets from anywhere, or from the endpoint that an item names).
- `group N`: packets start in group 0; other groups are reached by `jump`.
- `priority N`: the rule with the lowest number wins; then `ingress` wins over `transfer`; then the
  older rule wins.

## Matching a field

| word | meaning |
|---|---|
| `is V` | the field is V |
| `spec V`, `mask M` | the field is V in the bits of M |
| `spec V`, `prefix N` | the field is V in the N leading bits |
| `spec V`, `last W` | the field is in V to W, under the mask; no range if W is zero or V |

An item without fields matches each packet that has its header. If nothing in an item has a mask (no
`is`, `mask` or `prefix`), the item has rte_flow's default mask for all of its fields. So
`tcp dst spec 80` alone also requires source port 0, as in testpmd. `flow list` prints rules in
full, in a form that can be pasted back.

Items are in the order of the headers. Lower headers may be left out: `pattern tcp / end` matches
TCP on IPv4 and on IPv6. `eth / ipv4` also matches tagged packets; `eth has_vlan is 0 / ipv4` does
not. Nothing behind a VXLAN header can be matched. A pattern that no packet can match
(`eth type is 0x0806 / ipv4`) is refused.

An action without its argument has the argument zero, as in testpmd.

## Differences from testpmd

- A port may be a name.
- A rule with both `ingress` and `egress`, or without a direction, is refused. So is a `mask`,
  `prefix` or `last` in an item that has no value.
- A number that does not fit into a bit field (`vid is 4096`) is refused; testpmd truncates it.
- Items, fields and actions that are not listed here are refused. So are `port_id original`, and
  `flow query` of anything except `count`.
- Items and actions that name a port use the whole number: its mask is all or nothing, and there is
  no `last`.
- The action `normal` is Godwit's own.
- A rule has at most 32 items, 64 actions and 64 KiB of text.
)";

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

}  // namespace

std::string rule_reference_markdown() {
  std::string out(kReferenceHead);
  append_items_reference(out);
  append_actions_reference(out);
  return out;
}

}  // namespace godwit::dataplane
