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
// No message, document or stored record has a higher counter. It fits a signed number of 64 bits,
// which is what the journal stores.
inline constexpr uint64_t kMaxEpochCounter = uint64_t{1} << 62;
// The highest counter of a policy that is offered or imported. The difference leaves room for the
// move's own epochs.
inline constexpr uint64_t kMaxOfferedCounter = kMaxEpochCounter - 1024;

// The count of a VM's moves, and the host that counted the last one. Epochs are ordered, and the
// host with the newest one owns the VM's policy.
struct Epoch {
  uint64_t counter = 0;
  std::string host;  // empty only before the first move
  auto operator<=>(const Epoch&) const = default;
};

// Returns the epoch after this one, made for `host`. The counter stays at kMaxEpochCounter once it
// has reached it.
[[nodiscard]] Epoch next_epoch(const Epoch& epoch, const std::string& host);

// Returns the epoch as "(3, host-b)".
[[nodiscard]] std::string to_string(const Epoch& epoch);

// Returns whether the name has at most kMaxHostName letters, digits and . _ -. An empty name
// passes, since an epoch may have no host yet.
[[nodiscard]] bool is_host_name(std::string_view name);

}  // namespace godwit::migration
