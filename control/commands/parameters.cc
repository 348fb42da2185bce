// SPDX-License-Identifier: Apache-2.0
#include "control/commands/parameters.h"

#include <algorithm>

#include "base/ids.h"
#include "base/text.h"
#include "control/commands/command_refusal.h"

namespace godwit::control {

Parameters::Parameters(const Json& params, std::initializer_list<std::string_view> known)
    : params_(params) {
  for (const auto& [name, value] : params.items()) {
    if (std::ranges::find(known, name) == known.end())
      wrong("the parameter \"" + printable(name) + "\" is not known");
  }
}

void Parameters::wrong(const std::string& what) {
  throw CommandRefusal{kInvalidParams, Error{what}};
}

const Json& Parameters::raw(const char* name) const {
  const auto found = params_.find(name);
  if (found == params_.end()) wrong(std::string("the parameter \"") + name + "\" is missing");
  return *found;
}

std::string Parameters::text(const char* name) const {
  const Json& value = raw(name);
  if (!value.is_string()) wrong(std::string("\"") + name + "\" must be a string");
  return value.get<std::string>();
}

std::string Parameters::text_or(const char* name, const char* otherwise) const {
  return has(name) ? text(name) : otherwise;
}

namespace {

// Returns the value as a number. Refuses the parameter `name` if it is none from `least` to `most`.
uint64_t unsigned_number(const char* name, const Json& value, uint64_t least, uint64_t most) {
  const bool natural =
      value.is_number_unsigned() || (value.is_number_integer() && value.get<int64_t>() >= 0);
  if (!natural || value.get<uint64_t>() < least || value.get<uint64_t>() > most) {
    Parameters::wrong(std::string("\"") + name + "\" must be a whole number from " +
                      std::to_string(least) + " to " + std::to_string(most));
  }
  return value.get<uint64_t>();
}

// Returns `value`. Refuses the parameter `name` if it is not a list.
const Json& list(const char* name, const Json& value) {
  if (!value.is_array()) Parameters::wrong(std::string("\"") + name + "\" must be a list");
  return value;
}

}  // namespace

uint64_t Parameters::number(const char* name, uint64_t least, uint64_t most) const {
  return unsigned_number(name, raw(name), least, most);
}

std::string Parameters::port(const char* name) const {
  const Json& value = raw(name);
  if (value.is_string()) return value.get<std::string>();
  if (value.is_number_integer())
    // The value of a default PortId means no port, so it is not a port's number.
    return std::to_string(unsigned_number(name, value, 0, PortId{}.value - 1u));
  wrong(std::string("\"") + name + "\" must be a port's number or an endpoint's name");
}

std::vector<std::string> Parameters::texts(const char* name) const {
  std::vector<std::string> out;
  for (const Json& value : list(name, raw(name))) {
    if (!value.is_string()) wrong(std::string("\"") + name + "\" must be a list of strings");
    out.push_back(value.get<std::string>());
  }
  return out;
}

std::vector<uint64_t> Parameters::numbers(const char* name, uint64_t most) const {
  std::vector<uint64_t> out;
  for (const Json& value : list(name, raw(name)))
    out.push_back(unsigned_number(name, value, 0, most));
  return out;
}

}  // namespace godwit::control
