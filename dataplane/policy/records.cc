// SPDX-License-Identifier: Apache-2.0
#include "dataplane/policy/records.h"

#include <utility>

#include "dataplane/rules/vocabulary.h"

namespace godwit::dataplane {

Result<void> check_endpoint_name(std::string_view name) {
  const auto letter = [](char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); };
  const auto other = [](char c) {
    return (c >= '0' && c <= '9') || c == '.' || c == '_' || c == '/' || c == '-';
  };
  bool good = !name.empty() && name.size() <= kMaxEndpointName && letter(name.front());
  for (char c : name) good = good && (letter(c) || other(c));
  if (good) return {};
  Error error;
  error.message = "bad endpoint name";
  error.token = std::string(name.substr(0, kMaxEndpointName + 1));
  error.expected = "a letter, then letters, digits and . _ / -, at most 63 in all";
  return fail(std::move(error));
}

std::string_view vm_of(std::string_view endpoint_name) {
  return endpoint_name.substr(0, endpoint_name.find('/'));
}

}  // namespace godwit::dataplane
