// SPDX-License-Identifier: Apache-2.0
//
// FieldBytes: the value of one field of a rule. A field of `width` bits occupies the first
// value_bytes(width) bytes as one big-endian number; a 12-bit 5 is 00 05.
//
// Thread safety: pure functions.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

namespace godwit::dataplane {

using FieldBytes = std::array<uint8_t, 16>;

// Returns how many bytes a value of `width` bits occupies.
constexpr size_t value_bytes(uint8_t width) { return (static_cast<size_t>(width) + 7) / 8; }

// Returns the number in `value`. `width` is at most 64.
[[nodiscard]] uint64_t value_number(const FieldBytes& value, uint8_t width);
// Returns the value of a number.
[[nodiscard]] FieldBytes number_value(uint64_t number, uint8_t width);
// Returns a mask with the low `bits` of `width` set.
[[nodiscard]] FieldBytes low_bits_mask(uint8_t bits, uint8_t width);
// Returns a mask with the high `bits` of `width` set: a prefix.
[[nodiscard]] FieldBytes prefix_mask(uint8_t bits, uint8_t width);

}  // namespace godwit::dataplane
