// SPDX-License-Identifier: Apache-2.0
#include "dataplane/classifier/layout.h"

#include <algorithm>

namespace godwit::dataplane::classifier {

Layout::Layout() {
  place.fill(kNone);
  for (size_t i = 0; i < kFlowKeyWords; ++i) outside.set_word(i, ~uint64_t{0});
}

void Layout::add(uint8_t byte) {
  if (lane_count == 0 || lanes[lane_count - 1].at != byte / 16 * 16) {
    lanes[lane_count].at = static_cast<uint8_t>(byte / 16 * 16);
    lanes[lane_count++].control.fill(0x80);
  }
  lanes[lane_count - 1].control[used] = byte % 16;
  index[used] = byte < 64 ? byte : static_cast<uint8_t>(byte + 64 - (kFlowKeyBytes - 64));
  present = static_cast<uint16_t>(present | 1u << used);
  place[byte] = static_cast<uint8_t>(used);
  outside.bytes()[byte] = 0;
  offset[used++] = byte;
}

Layout choose_layout(std::span<const RuleEntry* const> entries) {
  std::array<size_t, kFlowKeyBytes> cared{};
  std::array<std::array<size_t, 8>, kFlowKeyBytes> ones{}, care{};
  const auto count_bits = [&](size_t byte, uint8_t mask, uint8_t value) {
    cared[byte] += mask != 0;
    for (size_t bit = 0; mask >> bit != 0; ++bit) {
      care[byte][bit] += (mask >> bit) & 1u;
      ones[byte][bit] += (mask & value) >> bit & 1u;
    }
  };
  const size_t stride = entries.size() / 8192 + 1;
  for (size_t i = 0; i < entries.size(); i += stride) {
    const Match& match = entries[i]->match;
    for (size_t w = 0; w < kFlowKeyWords; ++w) {
      if (match.mask.word(w) == 0) continue;
      for (size_t b = w * 8; b < w * 8 + 8; ++b)
        count_bits(b, match.mask.bytes()[b], match.value.bytes()[b]);
    }
    for (const KeyRange& range : match.ranges) {
      for (size_t b = 0; b < range.size && range.offset + b < kFlowKeyBytes; ++b) {
        count_bits(range.offset + b, range.mask[b], range.low[b]);
      }
    }
  }
  std::array<uint8_t, kFlowKeyBytes> bytes{};
  std::array<size_t, kFlowKeyBytes> score{};
  for (uint8_t b = 0; b < kFlowKeyBytes; ++b) {
    bytes[b] = b;
    score[b] = cared[b];
    for (size_t bit = 0; bit < 8; ++bit)
      score[b] += 16 * std::min(ones[b][bit], care[b][bit] - ones[b][bit]);
  }
  std::stable_sort(bytes.begin(), bytes.end(),
                   [&](uint8_t a, uint8_t b) { return score[a] > score[b]; });
  std::sort(bytes.begin(), bytes.begin() + kCompactBytes);
  Layout layout;
  for (size_t i = 0; i < kCompactBytes; ++i) {
    if (score[bytes[i]] > 0) layout.add(bytes[i]);
  }
  return layout;
}

}  // namespace godwit::dataplane::classifier
