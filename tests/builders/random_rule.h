// SPDX-License-Identifier: Apache-2.0
//
// Random rules in normal form (rule.h), for round trips and for comparisons of matches. A seed
// determines the rules.
#pragma once

#include <algorithm>
#include <random>
#include <string>

#include "dataplane/rules/rule.h"
#include "dataplane/rules/vocabulary.h"

namespace godwit::testing {

class RandomRule {
 public:
  explicit RandomRule(uint64_t seed) : random_(seed) {}

  uint64_t below(uint64_t bound) {
    return std::uniform_int_distribution<uint64_t>(0, bound - 1)(random_);
  }

  dataplane::FieldBytes bytes(uint8_t width) {
    dataplane::FieldBytes value{};
    const dataplane::FieldBytes full = dataplane::low_bits_mask(width, width);
    for (size_t i = 0; i < value.size(); ++i) value[i] = static_cast<uint8_t>(below(256) & full[i]);
    return value;
  }

  std::string endpoint() {
    if (below(3) == 0) return std::to_string(below(65536));
    static constexpr const char* kNames[] = {"vm7/net0", "physnet1", "a", "end", "A.b_c-d/e9"};
    return kNames[below(std::size(kNames))];
  }

  dataplane::FieldMatch field(const dataplane::FieldInfo& info, uint16_t index,
                              bool ordered_ranges) {
    dataplane::FieldMatch match;
    match.field = index;
    switch (below(4)) {
      case 0: match.mask = bytes(info.width); break;
      case 1:
        match.mask =
            dataplane::prefix_mask(static_cast<uint8_t>(below(info.width) + 1), info.width);
        break;
      default: match.mask = dataplane::full_mask(info);
    }
    if (match.mask == dataplane::FieldBytes{}) match.mask = dataplane::full_mask(info);
    match.spec = masked(bytes(info.width), match.mask);
    if (below(4) == 0) {
      dataplane::FieldBytes last = masked(bytes(info.width), match.mask);
      if (ordered_ranges && last < match.spec) std::swap(last, match.spec);
      match.has_last = last != match.spec && last != dataplane::FieldBytes{};
      if (match.has_last) match.last = last;
    }
    return match;
  }

  dataplane::PatternItem item(uint16_t kind, bool ordered_ranges = false) {
    dataplane::PatternItem out;
    out.item = kind;
    const dataplane::ItemInfo& info = dataplane::item_info(kind);
    if (dataplane::names_origin(info)) {
      if (below(4) != 0) out.endpoint = endpoint();
      return out;
    }
    // A VLAN item has the TCI (field 0) or its parts (fields 1 to 3), not both.
    const bool whole_tci = below(2) == 0;
    for (uint16_t i = 0; i < info.fields.size(); ++i) {
      const bool part = info.name == "vlan" && (whole_tci ? i >= 1 && i <= 3 : i == 0);
      if (!part && below(2) == 0) out.fields.push_back(field(info.fields[i], i, ordered_ranges));
    }
    return out;
  }

  dataplane::Action action() {
    dataplane::Action out;
    out.action = static_cast<uint16_t>(below(dataplane::actions().size()));
    const dataplane::ActionInfo& info = dataplane::action_info(out.action);
    if (info.format == dataplane::Format::kEndpoint) {
      out.endpoint = endpoint();
    } else {
      out.value = bytes(info.width);
    }
    return out;
  }

  dataplane::Rule rule() {
    dataplane::Rule out;
    out.attributes.direction = static_cast<dataplane::Direction>(below(3) + 1);
    if (below(2) == 0) out.attributes.group = static_cast<uint32_t>(random_());
    if (below(2) == 0) out.attributes.priority = static_cast<uint32_t>(random_());
    for (uint64_t n = below(6); n > 0; --n) {
      out.pattern.push_back(item(static_cast<uint16_t>(below(dataplane::items().size()))));
    }
    for (uint64_t n = below(5); n > 0; --n) out.actions.push_back(action());
    return out;
  }

 private:
  static dataplane::FieldBytes masked(dataplane::FieldBytes value,
                                      const dataplane::FieldBytes& mask) {
    for (size_t i = 0; i < value.size(); ++i) value[i] = static_cast<uint8_t>(value[i] & mask[i]);
    return value;
  }

  std::mt19937_64 random_;
};

}  // namespace godwit::testing
