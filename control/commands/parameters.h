// SPDX-License-Identifier: Apache-2.0
//
// The named parameters of a JSON-RPC method. A parameter that is missing, unknown or of a wrong
// type is refused: the function throws a CommandRefusal with the code kInvalidParams.
//
// Thread safety: the control thread only.
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
  // Refuses a parameter whose name is not in `known`, the names that the method takes. `params`
  // must outlive this object.
  Parameters(const Json& params, std::initializer_list<std::string_view> known);
  // Returns whether the request has the parameter.
  [[nodiscard]] bool has(const char* name) const { return params_.contains(name); }
  // Returns a string.
  [[nodiscard]] std::string text(const char* name) const;
  // Returns a string, or `otherwise` if the parameter is missing.
  [[nodiscard]] std::string text_or(const char* name, const char* otherwise) const;
  // Returns a number. Refuses one that is not from `least` to `most`.
  [[nodiscard]] uint64_t number(const char* name, uint64_t least, uint64_t most) const;
  // Returns a port's number or an endpoint's name as text.
  [[nodiscard]] std::string port(const char* name) const;
  // Returns a list of strings.
  [[nodiscard]] std::vector<std::string> texts(const char* name) const;
  // Returns a list of numbers. Refuses one above `most`.
  [[nodiscard]] std::vector<uint64_t> numbers(const char* name, uint64_t most) const;
  // Returns the parameter as it is in the request, of any type.
  [[nodiscard]] const Json& raw(const char* name) const;
  // Refuses the request with this message.
  [[noreturn]] static void wrong(const std::string& what);

 private:
  const Json& params_;
};

}  // namespace godwit::control
