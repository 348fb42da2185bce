// SPDX-License-Identifier: Apache-2.0
//
// A rule as its author wrote it: rte_flow's attributes, pattern items and actions, with endpoints
// by name. This is what text is parsed to and printed from (flow_command.h), what travels between
// hosts, and what is compiled to a Match (match.h) and an ActionProgram (action_program.h).
//
// Values are in network byte order, left-aligned in 16 bytes at the width the field has in the item
// table (rule_table.h). Plain data, copied freely on the control thread; never seen by a worker.
//
// The parser leaves a rule in normal form, so that equal meaning in an item is equal bytes: spec
// and last are masked, a `last` that is zero or equal to spec is no range, fields with an empty
// mask are left out, and rte_flow's default masks are written out in full.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <vector>

namespace godwit::dataplane {

enum class Direction : uint8_t {
  kInvalid = 0,
  kIngress = 1,   // packets that the endpoint sends
  kEgress = 2,    // packets that are delivered to the endpoint
  kTransfer = 3,  // packets from anywhere, or from the origin that the pattern names
};

struct RuleAttributes {
  uint32_t group = 0;
  uint32_t priority = 0;  // lowest wins
  Direction direction = Direction::kInvalid;
  bool operator==(const RuleAttributes&) const = default;
};

using FieldBytes = std::array<uint8_t, 16>;

// One field of an item: matches when (spec & mask) <= (packet & mask) <= (last & mask); last ==
// spec unless has_last. `field` indexes the item's fields in rule_table.h.
struct FieldMatch {
  uint16_t field = 0;
  FieldBytes spec{};
  FieldBytes last{};
  FieldBytes mask{};
  bool has_last = false;
  bool operator==(const FieldMatch&) const = default;
};

struct PatternItem {
  uint16_t item = 0;               // index into rule_table.h's items
  std::vector<FieldMatch> fields;  // in the table's order, each at most once
  std::string
      endpoint;  // items that name an endpoint (represented_port, port_representor, port_id)
  bool operator==(const PatternItem&) const = default;
};

struct Action {
  uint16_t action = 0;   // index into rule_table.h's actions
  FieldBytes value{};    // its argument, if it has one: number or address, at the table's width
  std::string endpoint;  // actions that name an endpoint
  bool operator==(const Action&) const = default;
};

struct Rule {
  RuleAttributes attributes;
  std::vector<PatternItem> pattern;
  std::vector<Action> actions;
  bool operator==(const Rule&) const = default;
};

// Calls fn with each endpoint that the rule names: `std::string&` of a Rule, to rewrite it, or
// `const std::string&`.
template <typename AnyRule, typename Function>
void for_each_endpoint_name(AnyRule& rule, Function&& fn) {
  for (auto& item : rule.pattern) {
    if (!item.endpoint.empty()) fn(item.endpoint);
  }
  for (auto& action : rule.actions) {
    if (!action.endpoint.empty()) fn(action.endpoint);
  }
}

}  // namespace godwit::dataplane
