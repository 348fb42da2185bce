// SPDX-License-Identifier: Apache-2.0
//
// The profile of an endpoint in commands: as words (`mac ..` or `mac=..`) and as parameters
// ("macs": [..], "ips", "vlans", "mtu", "queues", "miss").
#pragma once

#include <string_view>

#include "base/text.h"
#include "control/commands/parameters.h"

namespace godwit::dataplane {
struct Profile;
}

namespace godwit::control {

inline constexpr std::string_view kProfileOptions = "mac, ip, vlan, mtu, queues or miss";

// Returns whether `key` is one of kProfileOptions.
[[nodiscard]] bool is_profile_option(std::string_view key);

// Adds one option to the parameters. Returns false, and adds nothing, if `key` is not an option of
// a profile. Refuses the word `value` if it must be a number and is none in range.
bool put_profile_option(Json& params, std::string_view key, const Token& value);

// Changes the fields of `profile` that the parameters name and keeps the others. Refuses a bad
// address, number or miss policy, and too many addresses. `profile` may then be half changed.
void change_profile(const Parameters& params, dataplane::Profile& profile);

}  // namespace godwit::control
