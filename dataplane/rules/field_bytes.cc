// SPDX-License-Identifier: Apache-2.0
#include "dataplane/rules/field_bytes.h"

#include <cassert>

namespace godwit::dataplane {

uint64_t value_number(const FieldBytes& value, uint8_t width) {
  assert(width <= 64);
  uint64_t number = 0;
  for (size_t i = 0; i < value_bytes(width); ++i) number = number << 8 | value[i];
  return number;
}

FieldBytes number_value(uint64_t number, uint8_t width) {
  FieldBytes value{};
  for (size_t i = value_bytes(width); i-- > 0; number >>= 8)
    value[i] = static_cast<uint8_t>(number);
  return value;
}

FieldBytes low_bits_mask(uint8_t bits, uint8_t width) {
  FieldBytes mask{};
  const size_t size = value_bytes(width);
  for (size_t bit = 0; bit < bits; ++bit) {
    mask[size - 1 - bit / 8] = static_cast<uint8_t>(mask[size - 1 - bit / 8] | 1u << bit % 8);
  }
  return mask;
}

FieldBytes prefix_mask(uint8_t bits, uint8_t width) {
  FieldBytes mask = low_bits_mask(width, width);
  const FieldBytes host = low_bits_mask(static_cast<uint8_t>(width - bits), width);
  for (size_t i = 0; i < mask.size(); ++i) mask[i] = static_cast<uint8_t>(mask[i] & ~host[i]);
  return mask;
}

}  // namespace godwit::dataplane
