// SPDX-License-Identifier: Apache-2.0
#include "dataplane/classifier/record.h"

#include <bit>

namespace godwit::dataplane::classifier {

namespace {

// Adds a native range: as the prefix that its ends have in common, and as a range if the prefix
// does not say it all.
void add_range(Record& record, uint8_t at, uint16_t low, uint16_t high) {
  const int common = std::countl_zero(static_cast<uint16_t>(low ^ high));
  const auto prefix = static_cast<uint16_t>(0xffff0000u >> common);
  const auto fresh = static_cast<uint16_t>(prefix & ~record.mask.be16_at(at));
  record.mask.or_be16_at(at, fresh);
  record.value.or_be16_at(at, low & fresh);
  if ((low & ~prefix) == 0 && (high | prefix) == 0xffff &&
      (low & prefix) == (record.value.be16_at(at) & prefix))
    return;
  record.range_at[record.ranges] = at;
  record.low[record.ranges] = low;
  record.high[record.ranges++] = high;
}

}  // namespace

Record make_record(const RuleEntry& entry, const Layout& layout) {
  Record record;
  record.entry = &entry;
  record.priority = entry.order.priority;
  record.age = age_of(entry.order);
  record.mask = layout.compact(entry.match.mask);
  record.value = layout.compact(entry.match.value);
  uint64_t outside = 0;
  for (size_t i = 0; i < kFlowKeyWords; ++i)
    outside |= entry.match.mask.word(i) & layout.outside.word(i);
  record.verify = outside != 0;
  for (const KeyRange& range : entry.match.ranges) {
    const bool whole = range.size == 2 && range.offset + 1u < kFlowKeyBytes &&
                       range.mask[0] == 0xff && range.mask[1] == 0xff;
    if (!whole || record.ranges == 2 || layout.place[range.offset] == Layout::kNone ||
        layout.place[range.offset + 1u] != layout.place[range.offset] + 1) {
      record.verify = true;
      continue;
    }
    add_range(record, layout.place[range.offset],
              static_cast<uint16_t>(range.low[0] << 8 | range.low[1]),
              static_cast<uint16_t>(range.high[0] << 8 | range.high[1]));
  }
  return record;
}

}  // namespace godwit::dataplane::classifier
