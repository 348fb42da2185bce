// SPDX-License-Identifier: Apache-2.0
//
// What a person sees of answers and errors, and of completions. Pure functions.
#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace godwit::cli {

// {"code","message","data":{"column","token","expected"}} of a local error.
nlohmann::json to_json(const Error& error);

// With a column: the line, a caret under it, and what was expected there. Ends with a newline.
// `place` ("FILE:LINE") comes first where given.
std::string error_text(const nlohmann::json& error, std::string_view line,
                       std::string_view place = {});

// A command's answer: its text, or its data where there is none; `json`: its data.
std::string result_text(const nlohmann::json& result, bool json);

// What a completion does to a line.
struct Insertion {
  std::string text;                  // to put at the cursor
  std::vector<std::string> choices;  // else, what could be put there
};
// `result`: {"candidates": [word or {"word": ...}, ...], "value": "a number"} for the word before
// the cursor.
Insertion complete(std::string_view line, size_t cursor, const nlohmann::json& result);

}  // namespace godwit::cli
