// SPDX-License-Identifier: Apache-2.0
//
// Formats answers, errors and completions for the terminal. Pure functions.
#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace godwit::cli {

// Returns an error of the client in the JSON form of the daemon's errors: {"code": 0, "message",
// "data": {"column", "token", "expected"}}. Leaves out members that the error does not have.
nlohmann::json to_json(const Error& error);

// Returns the error's message, with `place` ("FILE:LINE") before it if that is not empty. If the
// error has a column of `line`, a copy of the line and a caret under the column follow. If the
// error has an expectation, a line with it follows. The text ends with a newline. A malformed error
// is tolerated.
std::string error_text(const nlohmann::json& error, std::string_view line,
                       std::string_view place = {});

// Returns the text of a command's answer. With `json`, or if the answer has no text, returns the
// answer's data as JSON.
std::string result_text(const nlohmann::json& result, bool json);

// The effect of a completion on a line.
struct Insertion {
  std::string text;                  // to insert at the cursor
  std::vector<std::string> choices;  // to show instead, if `text` is empty
};
// Completes the word before the cursor. `result` has the daemon's candidates, each a word or an
// object with a word: {"candidates": ["port", {"word": "ports"}], "value": "a number"}. "value"
// describes a word that cannot be listed.
//
// A single candidate that fits is inserted with a blank. Several insert what they have in common;
// if that is nothing more, they are the choices.
Insertion complete(std::string_view line, size_t cursor, const nlohmann::json& result);

}  // namespace godwit::cli
