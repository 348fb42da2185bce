// SPDX-License-Identifier: Apache-2.0
#include "control/cli/render.h"

#include <algorithm>

namespace godwit::cli {
namespace {

using nlohmann::json;

// Returns the text of a member, or a list of texts joined by commas. Returns an empty text for
// anything else.
std::string text_of(const json& object, const char* key) {
  if (!object.is_object()) return {};
  const auto found = object.find(key);
  if (found == object.end()) return {};
  if (found->is_string()) return found->get<std::string>();
  if (!found->is_array()) return {};
  std::string joined;
  for (const json& each : *found) {
    if (!each.is_string()) continue;
    if (!joined.empty()) joined += ", ";
    joined += each.get<std::string>();
  }
  return joined;
}

// Returns blanks as wide as the line before the column. Tabs stay tabs; a UTF-8 character of
// several bytes is one column wide.
std::string indent_to(std::string_view line, size_t column) {
  std::string indent;
  for (size_t i = 0; i + 1 < column; ++i) {
    const auto byte =
        i < line.size() ? static_cast<unsigned char>(line[i]) : static_cast<unsigned char>(' ');
    if ((byte & 0xc0) != 0x80) indent += byte == '\t' ? '\t' : ' ';
  }
  return indent;
}

std::string pretty(const json& value) {
  return value.dump(2, ' ', false, json::error_handler_t::replace) + "\n";
}

}  // namespace

json to_json(const Error& error) {
  json data = json::object();
  if (error.column > 0) data["column"] = error.column;
  if (!error.token.empty()) data["token"] = error.token;
  if (!error.expected.empty()) data["expected"] = error.expected;
  json out = {{"code", 0}, {"message", error.message}};
  if (!data.empty()) out["data"] = std::move(data);
  return out;
}

std::string error_text(const json& error, std::string_view line, std::string_view place) {
  std::string message = text_of(error, "message");
  if (message.empty()) message = "refused without a reason";
  std::string out(place);
  if (!place.empty()) out += ": ";
  out += message + "\n";
  const auto data = error.is_object() ? error.find("data") : error.end();
  if (!error.is_object() || data == error.end() || !data->is_object()) return out;
  const auto column = data->find("column");
  // A column one past the end marks a missing word. A larger one belongs to another text.
  if (column != data->end() && column->is_number_unsigned() && *column > 0u &&
      *column <= line.size() + 1) {
    out += "  " + std::string(line) + "\n  " + indent_to(line, column->get<size_t>()) + "^\n";
  }
  if (const std::string expected = text_of(*data, "expected"); !expected.empty())
    out += "  expected: " + expected + "\n";
  return out;
}

std::string result_text(const json& result, bool as_json) {
  const bool command = result.is_object() && (result.contains("text") || result.contains("data"));
  const json data = command ? result.value("data", json(nullptr)) : result;
  if (as_json) return pretty(data);
  std::string text = text_of(result, "text");
  if (!command) text = pretty(data);
  if (!text.empty() && text.back() != '\n') text += '\n';
  return text;
}

Insertion complete(std::string_view line, size_t cursor, const json& result) {
  const std::string_view before = line.substr(0, std::min(cursor, line.size()));
  const size_t blank = before.find_last_of(" \t");
  const std::string_view word = blank == std::string_view::npos ? before : before.substr(blank + 1);
  Insertion out;
  if (!result.is_object()) return out;
  const auto candidates = result.find("candidates");
  if (candidates == result.end() || !candidates->is_array()) return out;
  std::vector<std::string> fits;  // candidates that begin with the word
  for (const json& each : *candidates) {
    std::string text = each.is_string() ? each.get<std::string>() : text_of(each, "word");
    if (!text.empty() && text.starts_with(word)) fits.push_back(std::move(text));
  }
  if (fits.empty()) {
    // Shows the description of a word that cannot be listed, such as a number.
    if (const std::string value = text_of(result, "value"); !value.empty())
      out.choices = {"<" + value + ">"};
    return out;
  }
  std::string common = fits[0];
  for (const std::string& each : fits) {
    const auto differ = std::mismatch(common.begin(), common.end(), each.begin(), each.end());
    common.erase(differ.first, common.end());
  }
  out.text = common.substr(word.size());
  if (fits.size() == 1) {
    out.text += ' ';
  } else if (out.text.empty()) {
    out.choices = std::move(fits);
  }
  return out;
}

}  // namespace godwit::cli
