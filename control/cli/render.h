// SPDX-License-Identifier: Apache-2.0
//
// Prints answers, errors and completions for people. Pure functions.
#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace godwit::cli {

// Returns a local error as {"code","message","data":{"column","token","expected"}}.
nlohmann::json to_json(const Error& error);

// Returns the error's message, behind `place` ("FILE:LINE") if that is given. With a column it adds
// the line, a caret under the column, and what was expected there. Ends with a newline.
std::string error_text(const nlohmann::json& error, std::string_view line,
                       std::string_view place = {});

// Returns the text of a command's answer, or its data if it has no text or with `json`.
std::string result_text(const nlohmann::json& result, bool json);

// The effect of a completion on a line.
struct Insertion {
  std::string text;                  // to insert at the cursor
  std::vector<std::string> choices;  // to show instead, if `text` is empty
};
// Completes the word before the cursor with the daemon's candidates: {"candidates": [word or
// {"word": ...}, ...], "value": "a number"}.
Insertion complete(std::string_view line, size_t cursor, const nlohmann::json& result);

}  // namespace godwit::cli
