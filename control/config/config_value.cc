// SPDX-License-Identifier: Apache-2.0
#include "control/config/config_value.h"

#include <algorithm>
#include <charconv>
#include <set>

#include "base/text.h"

namespace godwit::control {

std::string in_backticks(const std::string& text) { return "`" + printable(text) + "`"; }

Place ConfigValue::place() const {
  const YAML::Mark mark = node_.Mark();
  return {file_, static_cast<uint32_t>(mark.line + 1), static_cast<uint32_t>(mark.column + 1)};
}

Place ConfigValue::text_place() const {
  Place at = place();
  if (node_.Tag() == "!") ++at.column;  // a quoted scalar
  return at;
}

void ConfigValue::refuse(const std::string& what, const std::string& expected) const {
  refuse_at(place(), what, expected);
}

void ConfigValue::wrong(const std::string& expected) const {
  std::string what = name_ + " is ";
  switch (node_.Type()) {
    case YAML::NodeType::Scalar: what += in_backticks(node_.Scalar()); break;
    case YAML::NodeType::Sequence: what += "a list"; break;
    case YAML::NodeType::Map: what += "a mapping"; break;
    default: what += "empty";
  }
  refuse(what, expected);
}

std::string ConfigValue::text(const std::string& expected, size_t most) const {
  if (!node_.IsScalar() || node_.Scalar().empty()) wrong(expected);
  const std::string& scalar = node_.Scalar();
  if (scalar.size() > most)
    refuse(name_ + " is too long", "at most " + std::to_string(most) + " bytes");
  if (scalar.find('\0') != std::string::npos) refuse(name_ + " contains a zero byte", expected);
  return scalar;
}

uint64_t ConfigValue::number(uint64_t least, uint64_t most) const {
  const std::string range =
      "a number from " + std::to_string(least) + " to " + std::to_string(most);
  if (!node_.IsScalar() || node_.Tag() == "!") wrong(range);
  const std::string& scalar = node_.Scalar();
  uint64_t value = 0;
  const auto [end, error] = std::from_chars(scalar.data(), scalar.data() + scalar.size(), value);
  if (error != std::errc{} || end != scalar.data() + scalar.size() || value < least || value > most)
    wrong(range);
  return value;
}

bool ConfigValue::boolean() const {
  if (node_.IsScalar() && node_.Tag() != "!") {
    if (node_.Scalar() == "true") return true;
    if (node_.Scalar() == "false") return false;
  }
  wrong("true or false");
}

size_t ConfigValue::choice(const std::vector<std::string>& words) const {
  std::string expected;
  for (const std::string& word : words) expected += (expected.empty() ? "" : " or ") + word;
  if (!node_.IsScalar()) wrong(expected);
  const auto found = std::ranges::find(words, node_.Scalar());
  if (found == words.end()) wrong(expected);
  return static_cast<size_t>(found - words.begin());
}

void ConfigValue::each(const std::function<void(const ConfigValue&)>& entry, size_t most) const {
  if (node_.IsNull()) return;
  if (!node_.IsSequence()) wrong("a list");
  if (node_.size() > most)
    refuse(name_ + " has " + std::to_string(node_.size()) + " entries",
           "at most " + std::to_string(most));
  size_t index = 0;
  for (const YAML::Node& child : node_)
    entry(ConfigValue(child, file_, name_ + "[" + std::to_string(index++) + "]"));
}

void ConfigValue::each_key(const std::function<void(const ConfigValue& key, const std::string& name,
                                                    const ConfigValue& value)>& entry) const {
  if (node_.IsNull()) return;
  if (!node_.IsMap()) wrong("a mapping");
  std::set<std::string> seen;
  for (const auto& pair : node_) {
    const ConfigValue key(pair.first, file_, name_.empty() ? "a key" : "a key of " + name_);
    if (!pair.first.IsScalar()) key.wrong("a word");
    const std::string& name = pair.first.Scalar();
    if (!seen.insert(name).second) key.refuse("the key " + in_backticks(name) + " appears twice");
    const std::string child = printable(name);
    entry(key, name, ConfigValue(pair.second, file_, name_.empty() ? child : name_ + "." + child));
  }
}

void ConfigValue::fields(const std::vector<Field>& known) const {
  each_key([&](const ConfigValue& key, const std::string& name, const ConfigValue& value) {
    const auto found = std::ranges::find_if(known, [&](const Field& f) { return name == f.name; });
    if (found != known.end()) return found->read(value);
    std::string expected;
    for (const Field& field : known)
      expected += (expected.empty() ? "" : ", ") + std::string(field.name);
    key.refuse(
        "the key " + in_backticks(name) + " is not known" + (name_.empty() ? "" : " in " + name_),
        "one of " + expected);
  });
}

}  // namespace godwit::control
