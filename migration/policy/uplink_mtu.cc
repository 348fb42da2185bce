// SPDX-License-Identifier: Apache-2.0
#include "migration/policy/uplink_mtu.h"

#include <algorithm>
#include <vector>

namespace godwit::migration {

using dataplane::EndpointRecord;
using dataplane::PolicyStore;

namespace {

struct Uplink {
  std::string name;
  uint16_t mtu = 0;
};

// Returns the uplinks whose MTU is known.
std::vector<Uplink> uplinks_of(const PolicyStore& store, const dataplane::Ports& ports,
                               EndpointId uplink, const Document& document) {
  std::vector<const EndpointRecord*> endpoints = {store.endpoint(uplink)};
  for (const std::string& name : document.uplinks) endpoints.push_back(store.find(name));
  std::vector<Uplink> out;
  for (const EndpointRecord* endpoint : endpoints) {
    if (endpoint == nullptr || !endpoint->port.valid()) continue;
    const auto info = ports.info(endpoint->port);
    if (info && info->mtu != 0) out.push_back({endpoint->profile.name, info->mtu});
  }
  return out;
}

}  // namespace

uint16_t uplink_mtu(const PolicyStore& store, const dataplane::Ports& ports, EndpointId uplink,
                    const Document& document) {
  const auto uplinks = uplinks_of(store, ports, uplink, document);
  const auto least = std::ranges::min_element(uplinks, {}, &Uplink::mtu);
  return least == uplinks.end() ? uint16_t{0} : least->mtu;
}

std::string narrower_uplink(const PolicyStore& store, const dataplane::Ports& ports,
                            EndpointId uplink, const Document& document, uint32_t source_mtu) {
  for (const Uplink& one : uplinks_of(store, ports, uplink, document)) {
    for (const dataplane::Profile& profile : document.profiles) {
      const uint32_t needed =
          source_mtu == 0 ? profile.mtu : std::min<uint32_t>(profile.mtu, source_mtu);
      if (one.mtu < needed) {
        return "uplink " + one.name + " has MTU " + std::to_string(one.mtu) + " here, and " +
               profile.name + " sends frames of up to " + std::to_string(needed) +
               " through the source's";
      }
    }
  }
  return {};
}

}  // namespace godwit::migration
