// SPDX-License-Identifier: Apache-2.0
#include "control/commands/profile_options.h"

#include <algorithm>

#include "base/net.h"
#include "control/commands/command_refusal.h"
#include "control/commands/word_reader.h"
#include "dataplane/policy/policy_store.h"

namespace godwit::control {

bool is_profile_option(std::string_view key) {
  return key == "mac" || key == "ip" || key == "vlan" || key == "mtu" || key == "queues" ||
         key == "miss";
}

bool put_profile_option(Json& params, std::string_view key, const Token& value) {
  const auto number = [&](uint64_t most) { return WordReader::number(value, most); };
  if (key == "mac") {
    params["macs"].push_back(value.text);
  } else if (key == "ip") {
    params["ips"].push_back(value.text);
  } else if (key == "vlan") {
    params["vlans"].push_back(number(4094));
  } else if (key == "mtu") {
    params["mtu"] = number(9216);
  } else if (key == "queues") {
    params["queues"] = number(16);
  } else if (key == "miss") {
    params["miss"] = value.text;
  } else {
    return false;
  }
  return true;
}

namespace {

constexpr size_t kMaxAddresses = 256;  // limit for MACs, for IPv4 and for IPv6 addresses each
constexpr size_t kMaxVlans = 4095;

template <typename Parser>
auto parse_address(const std::string& text, Parser parser, const char* expected) {
  auto parsed = parser(text);
  if (!parsed) refuse("bad address", printable(text), expected);
  return *parsed;
}

void refuse_more_than(size_t most, size_t count, const std::string& what) {
  if (count > most)
    refuse("an endpoint cannot have " + std::to_string(count) + " " + what, {},
           "at most " + std::to_string(most));
}

void change_ips(const Parameters& params, dataplane::Profile& profile) {
  constexpr const char* kExpected = "an IPv4 or IPv6 address";
  profile.ipv4s.clear();
  profile.ipv6s.clear();
  for (const std::string& text : params.texts("ips")) {
    if (text.find(':') == std::string::npos) {
      profile.ipv4s.push_back(parse_address(text, parse_ipv4, kExpected));
    } else {
      profile.ipv6s.push_back(parse_address(text, parse_ipv6, kExpected));
    }
  }
}

}  // namespace

void change_profile(const Parameters& params, dataplane::Profile& profile) {
  if (params.has("macs")) {
    profile.macs.clear();
    for (const std::string& text : params.texts("macs"))
      profile.macs.push_back(parse_address(text, parse_mac, "a MAC address"));
  }
  if (params.has("ips")) change_ips(params, profile);
  if (params.has("vlans")) {
    profile.vlans.clear();
    for (const uint64_t vlan : params.numbers("vlans", 4094))
      profile.vlans.push_back(static_cast<uint16_t>(vlan));
  }
  refuse_more_than(kMaxAddresses, profile.macs.size(), "MAC addresses");
  refuse_more_than(kMaxAddresses, profile.ipv4s.size(), "IPv4 addresses");
  refuse_more_than(kMaxAddresses, profile.ipv6s.size(), "IPv6 addresses");
  refuse_more_than(kMaxVlans, profile.vlans.size(), "VLANs");
  if (params.has("mtu")) profile.mtu = static_cast<uint16_t>(params.number("mtu", 68, 9216));
  if (params.has("queues")) profile.queues = static_cast<uint16_t>(params.number("queues", 1, 16));
  if (params.has("miss")) {
    const std::string miss = params.text("miss");
    if (miss != "normal" && miss != "drop")
      refuse("bad miss policy", printable(miss), "normal or drop");
    profile.miss = miss == "drop" ? dataplane::MissPolicy::kDrop : dataplane::MissPolicy::kNormal;
  }
}

}  // namespace godwit::control
