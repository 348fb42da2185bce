// SPDX-License-Identifier: Apache-2.0
#include "base/json_bounds.h"

namespace godwit {
namespace {

// Returns the position of the quote that ends the string which begins before `at`, or the end.
size_t end_of_string(std::string_view text, size_t at) {
  for (; at < text.size() && text[at] != '"'; ++at) {
    if (text[at] == '\\') ++at;
  }
  return at;
}

}  // namespace

std::string excess_of_json(std::string_view text, const JsonBounds& bounds) {
  size_t depth = 0;
  // Each element but the outermost follows a comma or the beginning of an object or array.
  size_t elements = 1;
  for (size_t i = 0; i < text.size(); ++i) {
    switch (text[i]) {
      case '"': i = end_of_string(text, i + 1); break;
      case '{':
      case '[':
        ++elements;
        if (++depth > bounds.depth)
          return "nested deeper than " + std::to_string(bounds.depth) + " levels";
        break;
      case '}':
      case ']':
        if (depth > 0) --depth;
        break;
      case ',': ++elements; break;
      default: break;
    }
    if (elements > bounds.elements)
      return "more than " + std::to_string(bounds.elements) + " elements";
  }
  return {};
}

}  // namespace godwit
