// SPDX-License-Identifier: Apache-2.0
//
// One entry of the section `endpoints`.
#include <algorithm>

#include "base/net.h"
#include "control/config/config_sections.h"

namespace godwit::control {
namespace {

constexpr size_t kMaxAddresses = 256;  // of one endpoint
constexpr const char* kLocations = "port, none or uplink:NAME";
constexpr std::string_view kUplinkPrefix = "uplink:";

struct EndpointDraft {
  EndpointConfig endpoint;
  std::string location;  // as the file has it
  Place location_place;
};

void read_macs(const ConfigValue& list, dataplane::Profile& profile) {
  list.each(
      [&](const ConfigValue& v) {
        const MacAddress mac = v.take(parse_mac(v.text("a MAC address")), "a MAC address");
        if (mac.is_group() || mac.is_zero()) v.wrong("the MAC address of a station");
        if (std::ranges::find(profile.macs, mac) != profile.macs.end())
          v.refuse(to_string(mac) + " is listed twice");
        profile.macs.push_back(mac);
      },
      kMaxAddresses);
}

void read_ips(const ConfigValue& list, dataplane::Profile& profile) {
  list.each(
      [&](const ConfigValue& v) {
        const std::string text = v.text("an address");
        const std::string expected = "an IPv4 or IPv6 address";
        const auto add = [&](auto& addresses, const auto& address) {
          if (std::ranges::find(addresses, address) != addresses.end())
            v.refuse(text + " is listed twice");
          addresses.push_back(address);
        };
        if (text.find(':') != std::string::npos) {
          add(profile.ipv6s, v.take(parse_ipv6(text), expected));
        } else {
          add(profile.ipv4s, v.take(parse_ipv4(text), expected));
        }
      },
      kMaxAddresses);
}

void read_vlans(const ConfigValue& list, dataplane::Profile& profile) {
  list.each(
      [&](const ConfigValue& v) {
        const auto vlan = static_cast<uint16_t>(v.number(0, 4094));
        if (std::ranges::find(profile.vlans, vlan) != profile.vlans.end())
          v.refuse("VLAN " + std::to_string(vlan) + " is listed twice");
        profile.vlans.push_back(vlan);
      },
      4095);
}

void read_vhost(const ConfigValue& value, EndpointConfig& out, ConfigDraft& draft) {
  VhostConfig& vhost = out.vhost.emplace();
  value.fields({
      {"socket", [&](const ConfigValue& v) { vhost.socket = read_socket_path(v); }},
      {"mode",
       [&](const ConfigValue& v) {
         vhost.server = v.choice({"client", "server"}) == 1;
       }},
  });
  if (vhost.socket.empty()) value.refuse("vhost has no socket", "the key socket");
  const auto [other, unused] = draft.socket_owners.emplace(vhost.socket, out.profile.name);
  if (!unused)
    value.refuse(in_backticks(vhost.socket) + " is already the socket of " + other->second,
                 "a different path");
}

void read_location(const ConfigValue& value, EndpointDraft& out) {
  out.location = value.text(kLocations);
  out.location_place = value.place();
  if (out.location != "port" && out.location != "none" && !out.location.starts_with(kUplinkPrefix))
    value.wrong(kLocations);
}

void read_keys(const ConfigValue& value, EndpointDraft& out, ConfigDraft& draft) {
  dataplane::Profile& profile = out.endpoint.profile;
  value.fields({
      {"name",
       [&](const ConfigValue& v) {
         profile.name = read_endpoint_name(v);
         out.endpoint.place = v.place();
       }},
      {"vhost", [&](const ConfigValue& v) { read_vhost(v, out.endpoint, draft); }},
      {"location", [&](const ConfigValue& v) { read_location(v, out); }},
      {"macs", [&](const ConfigValue& v) { read_macs(v, profile); }},
      {"ips", [&](const ConfigValue& v) { read_ips(v, profile); }},
      {"vlans", [&](const ConfigValue& v) { read_vlans(v, profile); }},
      {"mtu", [&](const ConfigValue& v) { v.number(profile.mtu, 68, 9216); }},
      {"queues", [&](const ConfigValue& v) { v.number(profile.queues, 1, 16); }},
      {"miss",
       [&](const ConfigValue& v) {
         profile.miss = v.choice({"normal", "drop"}) == 1 ? dataplane::MissPolicy::kDrop
                                                          : dataplane::MissPolicy::kNormal;
       }},
  });
}

void check_location(const EndpointDraft& draft) {
  const EndpointConfig& endpoint = draft.endpoint;
  if (endpoint.vhost && !draft.location.empty() && draft.location != "port")
    refuse_at(draft.location_place,
              endpoint.profile.name + " has a vhost port and cannot be elsewhere", "location port");
  if (!endpoint.vhost && draft.location == "port")
    refuse_at(draft.location_place, endpoint.profile.name + " has no port",
              "vhost, or location none or uplink:NAME");
}

// Runs after the whole file was read: `uplinks` may stand behind `endpoints`.
void resolve_uplink(HostConfig& config, size_t index, const std::string& location,
                    const Place& location_place) {
  EndpointConfig& endpoint = config.endpoints[index];
  if (std::ranges::find(config.uplinks, endpoint.profile.name, &UplinkConfig::name) !=
      config.uplinks.end())
    refuse_at(endpoint.place, endpoint.profile.name + " is already an uplink's name");
  if (location.empty() && !endpoint.vhost && config.uplinks.size() == 1)
    endpoint.uplink = config.uplinks[0].name;
  if (endpoint.uplink.empty() && !location.starts_with(kUplinkPrefix)) return;
  require_uplink(config, endpoint.uplink, location_place);
}

}  // namespace

void read_endpoint(const ConfigValue& value, ConfigDraft& draft) {
  EndpointDraft out;
  EndpointConfig& endpoint = out.endpoint;
  endpoint.place = value.place();
  endpoint.profile.kind = dataplane::EndpointKind::kVm;
  read_keys(value, out, draft);
  if (endpoint.profile.name.empty()) value.refuse("an endpoint has no name", "the key name");
  const auto [same, fresh] =
      draft.endpoint_lines.emplace(endpoint.profile.name, endpoint.place.line);
  if (!fresh)
    refuse_at(endpoint.place, "endpoint " + endpoint.profile.name + " is already defined in line " +
                                  std::to_string(same->second));
  check_location(out);
  if (out.location.starts_with(kUplinkPrefix))
    endpoint.uplink = out.location.substr(kUplinkPrefix.size());
  draft.deferred.push_back(
      [&draft, index = draft.config.endpoints.size(), location = out.location,
       place = out.location_place] { resolve_uplink(draft.config, index, location, place); });
  draft.config.endpoints.push_back(std::move(endpoint));
}

}  // namespace godwit::control
