// SPDX-License-Identifier: Apache-2.0
//
// Match: the compiled pattern of a rule: a masked value of the flow key, and a range for each field
// written with `last`. A key matches if (key & mask) == value and each range holds. Ranges are not
// part of mask and value.
#pragma once

#include <cstdint>
#include <cstring>
#include <string>
#include <vector>

#include "base/result.h"
#include "dataplane/packet/flow_key.h"
#include "dataplane/rules/rule.h"

namespace godwit::dataplane {

struct KeyRange {
  uint8_t offset = 0;  // byte in FlowKey
  uint8_t size = 0;    // bytes, 1..16
  FieldBytes mask{};   // applied to the key's bytes before the comparison
  FieldBytes low{};    // inclusive, big-endian, already masked
  FieldBytes high{};   // inclusive, already masked

  [[nodiscard]] bool contains(const FlowKey& key) const {
    uint8_t masked[16];
    for (uint8_t i = 0; i < size; ++i) masked[i] = key.bytes()[offset + i] & mask[i];
    return std::memcmp(masked, low.data(), size) >= 0 &&
           std::memcmp(masked, high.data(), size) <= 0;
  }
  bool operator==(const KeyRange&) const = default;
};

struct Match {
  FlowKey value;  // already masked
  FlowKey mask;
  std::vector<KeyRange> ranges;
  // The endpoint from which the packet must come, as named by represented_port, port_representor or
  // port_id. Empty matches any.
  std::string origin;

  [[nodiscard]] bool matches(const FlowKey& key) const {
    for (size_t i = 0; i < kFlowKeyWords; ++i) {
      if ((key.word(i) & mask.word(i)) != value.word(i)) return false;
    }
    for (const KeyRange& range : ranges) {
      if (!range.contains(key)) return false;
    }
    return true;
  }
};

// Compiles the pattern of a rule. Returns an error that names the item for items out of order, for
// a range whose low end is above its high end, for an origin item outside a transfer rule, for more
// items of a kind than the parser reads, and for a pattern that no packet can match.
Result<Match> compile_match(const Rule& rule);

}  // namespace godwit::dataplane
