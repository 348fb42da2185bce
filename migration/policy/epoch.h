// SPDX-License-Identifier: Apache-2.0
//
// A VM's epoch: which host owns the VM's policy.
//
// Thread safety: plain values.
#pragma once

#include <compare>
#include <cstdint>
#include <string>
#include <string_view>

namespace godwit::migration {

inline constexpr size_t kMaxHostName = 63;

// The count of a VM's moves, and the host that counted the last one. Epochs are ordered, and the
// host with the newest one owns the VM's policy.
struct Epoch {
  uint64_t counter = 0;
  std::string host;  // empty only before the first move
  auto operator<=>(const Epoch&) const = default;
};

// Returns the epoch as "(3, host-b)".
[[nodiscard]] std::string to_string(const Epoch& epoch);

// Returns whether the name has at most kMaxHostName letters, digits and . _ -. An empty name
// passes, since an epoch may have no host yet.
[[nodiscard]] bool is_host_name(std::string_view name);

}  // namespace godwit::migration
