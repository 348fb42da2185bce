// SPDX-License-Identifier: Apache-2.0
//
// Bounds of a JSON text, checked before it is parsed. A parser recurses for each level of nesting,
// and a parsed element takes about 160 bytes where its text may take 2. The check reads each byte
// once and allocates nothing.
//
// The text need not be valid JSON; a parser finds that out. Pure functions.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace godwit {

struct JsonBounds {
  size_t depth = 64;           // nested objects and arrays
  size_t elements = 1u << 20;  // values, objects and arrays in the whole text
};

// Returns which bound the text exceeds, such as "nested deeper than 64 levels". Returns an empty
// text if it exceeds none. An empty object or array counts twice.
std::string excess_of_json(std::string_view text, const JsonBounds& bounds = {});

}  // namespace godwit
