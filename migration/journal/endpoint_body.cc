// SPDX-License-Identifier: Apache-2.0
#include "migration/journal/endpoint_body.h"

#include <nlohmann/json.hpp>
#include <utility>

#include "migration/policy/document_json.h"

namespace godwit::migration {

using nlohmann::json;

std::string endpoint_body(const StoredEndpoint& endpoint) {
  return json{{"profile", to_json(endpoint.profile)},
              {"kind", endpoint.profile.kind == dataplane::EndpointKind::kUplink ? "uplink" : "vm"},
              {"socket", endpoint.socket},
              {"server", endpoint.server},
              {"devargs", endpoint.devargs},
              {"uplink", endpoint.uplink},
              {"implicit", endpoint.implicit},
              {"elsewhere", endpoint.elsewhere}}
      .dump(-1, ' ', false, json::error_handler_t::replace);
}

Result<StoredEndpoint> endpoint_from_body(const std::string& name, const std::string& body) {
  const json parsed = json::parse(body, nullptr, false);
  const auto text = [&](const char* key) -> const std::string* {
    const auto found = parsed.find(key);
    return found != parsed.end() && found->is_string() ? &found->get_ref<const std::string&>()
                                                       : nullptr;
  };
  const auto flag = [&](const char* key) {
    const auto found = parsed.find(key);
    return found != parsed.end() && found->is_boolean() && found->get<bool>();
  };
  if (!parsed.is_object() || !parsed.contains("profile")) return fail("not an endpoint");
  auto profile = profile_from_json(parsed["profile"], "/profile");
  if (!profile) return fail(profile.error().message);
  const std::string *kind = text("kind"), *socket = text("socket"), *devargs = text("devargs"),
                    *uplink = text("uplink");
  if (kind == nullptr || socket == nullptr || devargs == nullptr || uplink == nullptr ||
      profile->name != name)
    return fail("not an endpoint");
  StoredEndpoint out{std::move(*profile), *socket,          flag("server"), *devargs, *uplink,
                     flag("implicit"),    flag("elsewhere")};
  out.profile.kind =
      *kind == "uplink" ? dataplane::EndpointKind::kUplink : dataplane::EndpointKind::kVm;
  return out;
}

}  // namespace godwit::migration
