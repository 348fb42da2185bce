// SPDX-License-Identifier: Apache-2.0
//
// Layout: which 16 of a FlowKey's 112 bytes a tree works on, and how each instruction set picks
// them from a key.
//
// Thread safety: constant once the Root that holds it is published.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>

#include "dataplane/classifier/bits.h"
#include "dataplane/classifier/rule_entry.h"
#include "dataplane/packet/flow_key.h"

namespace godwit::dataplane::classifier {

struct Layout {
  // The chosen bytes of the key in ascending order, so that a 16-bit field stays whole if both of
  // its bytes are chosen.
  std::array<uint8_t, kCompactBytes> offset{};
  size_t used = 0;
  std::array<uint8_t, kFlowKeyBytes> place;  // the inverse of `offset`; kNone for other bytes
  FlowKey outside;                           // all ones in the bytes that are not chosen

  // For AVX-512: indices into the first and the last 64 bytes of the key, side by side.
  alignas(16) std::array<uint8_t, kCompactBytes> index{};
  uint16_t present = 0;  // bit i is set if byte i is used

  // For AVX2: each 16-byte lane of the key that holds chosen bytes, with the shuffle that moves
  // them to their place.
  struct Lane {
    uint8_t at = 0;
    alignas(16) std::array<uint8_t, 16> control;
  };
  std::array<Lane, kFlowKeyBytes / 16> lanes;
  size_t lane_count = 0;

  static constexpr uint8_t kNone = 0xff;

  Layout();
  // Adds a byte of the key. Bytes are added in ascending order, each once.
  void add(uint8_t byte);
  // Returns the chosen bytes of `key`; the portable way.
  [[nodiscard]] Bits compact(const FlowKey& key) const {
    alignas(8) uint8_t bytes[kCompactBytes] = {};
    const uint8_t* from = key.bytes();
    for (size_t i = 0; i < used; ++i) bytes[i] = from[offset[i]];
    Bits bits;
    std::memcpy(bits.word.data(), bytes, kCompactBytes);
    return bits;
  }
};

// Returns the layout of the bytes that distinguish these entries best: bytes whose bits most rules
// match on, with both values.
[[nodiscard]] Layout choose_layout(std::span<const RuleEntry* const> entries);

}  // namespace godwit::dataplane::classifier
