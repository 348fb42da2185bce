// SPDX-License-Identifier: Apache-2.0
#include "migration/policy/epoch.h"

#include <algorithm>

namespace godwit::migration {

Epoch next_epoch(const Epoch& epoch, const std::string& host) {
  return {std::min(epoch.counter, kMaxEpochCounter - 1) + 1, host};
}

std::string to_string(const Epoch& epoch) {
  return "(" + std::to_string(epoch.counter) + ", " + (epoch.host.empty() ? "nobody" : epoch.host) +
         ")";
}

bool is_host_name(std::string_view name) {
  return name.size() <= kMaxHostName && std::ranges::all_of(name, [](char c) {
           return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                  c == '.' || c == '_' || c == '-';
         });
}

}  // namespace godwit::migration
