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

[[nodiscard]] bool is_profile_option(std::string_view key);

// Adds one option to the parameters. Returns false if `key` is not an option of a profile.
bool put_profile_option(Json& params, std::string_view key, const Token& value);

// Changes what the parameters name. Refuses a bad address, number or miss policy.
void change_profile(const Parameters& params, dataplane::Profile& profile);

}  // namespace godwit::control
