// SPDX-License-Identifier: Apache-2.0
//
// What a rule's pattern means on a flow key: a masked value, and ranges for fields written with
// `last`. A key matches when (key & mask) == value and each range holds. Ranges are not part of
// mask and value.
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
  FieldBytes mask{};   // applied to the key's bytes before the compare
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
  std::string
      origin;  // endpoint the packet must come from (represented_port & co. items); empty = any

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

// Refuses what cannot be matched here, naming the item: items out of order, a range whose low end
// is above its high end, an origin item outside a transfer rule, more items of a kind than are
// parsed.
Result<Match> compile_match(const Rule& rule);

}  // namespace godwit::dataplane
