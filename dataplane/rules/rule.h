// SPDX-License-Identifier: Apache-2.0
//
// Rule: a rule as its author wrote it, with the attributes, pattern items and actions of rte_flow
// and with endpoints by name. Text is parsed to it and printed from it (flow_command.h), and it
// travels between hosts. Workers never see it: it is compiled to a Match (match.h) and an
// ActionProgram (action_program.h).
//
// A value is a FieldBytes with the width that the vocabulary gives the field (vocabulary.h).
//
// The parser returns rules in normal form, so that items of equal meaning have equal bytes: spec
// and last are masked; a `last` that is zero or equal to spec is not stored as a range; fields with
// an empty mask are left out; the default masks of rte_flow are stored in full.
//
// Thread safety: plain data, which the control thread copies.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "dataplane/rules/field_bytes.h"

namespace godwit::dataplane {

enum class Direction : uint8_t {
  kInvalid = 0,
  kIngress = 1,   // packets that the endpoint sends
  kEgress = 2,    // packets that are delivered to the endpoint
  kTransfer = 3,  // packets from anywhere, or from the origin that the pattern names
};

struct RuleAttributes {
  uint32_t group = 0;
  uint32_t priority = 0;  // the lowest wins
  Direction direction = Direction::kInvalid;
  bool operator==(const RuleAttributes&) const = default;
};

// A condition on one field of an item: (spec & mask) <= (packet & mask) <= (last & mask). Without
// has_last the upper end is spec.
struct FieldMatch {
  uint16_t field = 0;  // index into ItemInfo::fields
  FieldBytes spec{};
  FieldBytes last{};
  FieldBytes mask{};
  bool has_last = false;
  bool operator==(const FieldMatch&) const = default;
};

struct PatternItem {
  uint16_t item = 0;               // index into items(), vocabulary.h
  std::vector<FieldMatch> fields;  // in the order of ItemInfo::fields, each at most once
  // For items that name an endpoint: represented_port, port_representor and port_id.
  std::string endpoint;
  bool operator==(const PatternItem&) const = default;
};

struct Action {
  uint16_t action = 0;   // index into actions(), vocabulary.h
  FieldBytes value{};    // the argument, if the action has one
  std::string endpoint;  // for actions that name an endpoint
  bool operator==(const Action&) const = default;
};

struct Rule {
  RuleAttributes attributes;
  std::vector<PatternItem> pattern;
  std::vector<Action> actions;
  bool operator==(const Rule&) const = default;
};

// Calls fn with each endpoint name of the rule. The argument is a reference, so fn can rewrite the
// names of a rule that is not const.
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
