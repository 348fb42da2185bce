// SPDX-License-Identifier: Apache-2.0
//
// The text forms of field values, which the parser, the printer and the reference page share.
//
// Thread safety: pure functions.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "dataplane/rules/field_bytes.h"
#include "dataplane/rules/vocabulary.h"

namespace godwit::dataplane {

// Reads a number as strtoumax() with base 0 does, without a sign except `+`. Returns false unless
// the whole text is a number below 2^64.
bool read_number(std::string_view text, uint64_t& out);

// Reads a value of this format and width. Returns false if the text is not one.
bool read_value(std::string_view text, Format format, uint8_t width, FieldBytes& out);

// Formats a value; read_value() accepts the result.
std::string value_text(Format format, uint8_t width, const FieldBytes& value);

// Describes the values of this format and width, such as "a number up to 65535".
std::string value_help(Format format, uint8_t width);

}  // namespace godwit::dataplane
