// SPDX-License-Identifier: Apache-2.0
//
// The parameters of a method, by name. A parameter that is missing, unknown or of a wrong type is
// refused with kInvalidParams.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <vector>

namespace godwit::control {

using Json = nlohmann::json;

class Parameters {
 public:
  // `known` are all names that the method takes.
  Parameters(const Json& params, std::initializer_list<std::string_view> known);
  [[nodiscard]] bool has(const char* name) const { return params_.contains(name); }
  [[nodiscard]] std::string text(const char* name) const;
  [[nodiscard]] std::string text_or(const char* name, const char* otherwise) const;
  [[nodiscard]] uint64_t number(const char* name, uint64_t least, uint64_t most) const;
  // Returns a port's number or an endpoint's name as text.
  [[nodiscard]] std::string port(const char* name) const;
  [[nodiscard]] std::vector<std::string> texts(const char* name) const;
  [[nodiscard]] std::vector<uint64_t> numbers(const char* name, uint64_t most) const;
  [[nodiscard]] const Json& raw(const char* name) const;
  [[noreturn]] static void wrong(const std::string& what);

 private:
  const Json& params_;
};

}  // namespace godwit::control
