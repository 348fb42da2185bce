// SPDX-License-Identifier: Apache-2.0
#include "migration/policy/document_json.h"

#include <algorithm>
#include <initializer_list>
#include <nlohmann/json.hpp>
#include <utility>

#include "base/json_bounds.h"

namespace godwit::migration {

using dataplane::MissPolicy;
using dataplane::Profile;
using nlohmann::json;

namespace {

constexpr size_t kMaxDocumentText = 64u << 20;
constexpr JsonBounds kDocumentBounds{.depth = 8, .elements = 1u << 20};
constexpr size_t kMaxAddresses = 1024;
constexpr size_t kMaxRuleTextBytes = 64 * 1024;

// Reads one JSON object. Keeps the first error, with the place of it.
class Reader {
 public:
  Reader(const json& object, std::string where, std::initializer_list<std::string_view> keys)
      : object_(object), where_(std::move(where)) {
    if (!object_.is_object()) {
      wrong("", "an object");
      return;
    }
    for (const auto& [key, value] : object_.items()) {
      if (std::ranges::find(keys, key) == keys.end()) {
        std::string expected = "one of";
        for (std::string_view known : keys) expected += " " + std::string(known);
        wrong("/" + key.substr(0, 64), expected);
        return;
      }
    }
  }
  uint64_t number(const char* key, uint64_t most) {
    const json* value = get(key);
    if (value == nullptr) return 0;
    const bool whole =
        value->is_number_unsigned() || (value->is_number_integer() && value->get<int64_t>() >= 0);
    if (!whole || value->get<uint64_t>() > most) {
      wrong("/" + std::string(key), "a whole number from 0 to " + std::to_string(most));
      return 0;
    }
    return value->get<uint64_t>();
  }
  std::string text(const char* key, size_t most) {
    const json* value = get(key);
    if (value == nullptr) return {};
    if (!value->is_string() || value->get_ref<const std::string&>().size() > most) {
      wrong("/" + std::string(key), "a text of at most " + std::to_string(most) + " bytes");
      return {};
    }
    return value->get<std::string>();
  }
  const json& list(const char* key, size_t most) {
    static const json empty = json::array();
    const json* value = get(key);
    if (value == nullptr) return empty;
    if (!value->is_array() || value->size() > most) {
      wrong("/" + std::string(key), "a list of at most " + std::to_string(most));
      return empty;
    }
    return *value;
  }
  const json& object(const char* key) {
    static const json empty = json::object();
    const json* value = get(key);
    return value == nullptr ? empty : *value;
  }
  void wrong(const std::string& what, std::string expected) {
    if (error_.message.empty()) {
      error_.message = "document: " + where_ + what + " is not as expected";
      error_.token = where_ + what;
      error_.expected = std::move(expected);
    }
  }
  void take(const Error& error) {
    if (error_.message.empty()) error_ = error;
  }
  [[nodiscard]] bool good() const { return error_.message.empty(); }
  [[nodiscard]] const Error& error() const { return error_; }
  [[nodiscard]] const std::string& where() const { return where_; }

 private:
  const json* get(const char* key) {
    if (!object_.is_object()) return nullptr;
    const auto found = object_.find(key);
    if (found == object_.end()) {
      wrong("/" + std::string(key), "a value");
      return nullptr;
    }
    return &*found;
  }
  const json& object_;
  std::string where_;
  Error error_;
};

template <typename Address, typename Parse>
std::vector<Address> addresses(Reader& reader, const char* key, Parse parse) {
  std::vector<Address> out;
  size_t index = 0;
  for (const json& value : reader.list(key, kMaxAddresses)) {
    const std::string where = "/" + std::string(key) + "/" + std::to_string(index++);
    if (!value.is_string()) {
      reader.wrong(where, "an address as text");
      break;
    }
    auto parsed = parse(value.get_ref<const std::string&>());
    if (!parsed) {
      reader.wrong(where, parsed.error().expected);
      break;
    }
    out.push_back(*parsed);
  }
  return out;
}

json rules_json(const std::vector<DocumentRule>& rules) {
  json out = json::array();
  for (const DocumentRule& rule : rules) {
    out.push_back({{"owner", rule.owner},
                   {"id", rule.id},
                   {"rule", rule.text},
                   {"packets", rule.packets},
                   {"bytes", rule.bytes}});
  }
  return out;
}

Result<std::vector<DocumentRule>> rules_from(const json& list, const std::string& where) {
  std::vector<DocumentRule> rules;
  for (const json& object : list) {
    Reader reader(object, where + "/" + std::to_string(rules.size()),
                  {"owner", "id", "rule", "packets", "bytes"});
    DocumentRule rule;
    rule.owner = reader.text("owner", dataplane::kMaxEndpointName);
    rule.id = static_cast<uint32_t>(reader.number("id", UINT32_MAX - 1));
    rule.text = reader.text("rule", kMaxRuleTextBytes);
    rule.packets = reader.number("packets", UINT64_MAX);
    rule.bytes = reader.number("bytes", UINT64_MAX);
    if (!reader.good()) return fail(reader.error());
    rules.push_back(std::move(rule));
  }
  return rules;
}

}  // namespace

json to_json(const Profile& profile) {
  json macs = json::array(), ipv4s = json::array(), ipv6s = json::array();
  for (const auto& mac : profile.macs) macs.push_back(to_string(mac));
  for (const auto& ip : profile.ipv4s) ipv4s.push_back(to_string(ip));
  for (const auto& ip : profile.ipv6s) ipv6s.push_back(to_string(ip));
  return {{"name", profile.name},
          {"macs", macs},
          {"ipv4s", ipv4s},
          {"ipv6s", ipv6s},
          {"vlans", profile.vlans},
          {"mtu", profile.mtu},
          {"queues", profile.queues},
          {"features", profile.features},
          {"miss", profile.miss == MissPolicy::kDrop ? "drop" : "normal"}};
}

Result<Profile> profile_from_json(const json& object, const std::string& where) {
  Reader reader(
      object, where,
      {"name", "macs", "ipv4s", "ipv6s", "vlans", "mtu", "queues", "features", "miss", "server"});
  Profile profile;
  profile.name = reader.text("name", dataplane::kMaxEndpointName);
  profile.macs = addresses<MacAddress>(reader, "macs", parse_mac);
  profile.ipv4s = addresses<Ipv4Address>(reader, "ipv4s", parse_ipv4);
  profile.ipv6s = addresses<Ipv6Address>(reader, "ipv6s", parse_ipv6);
  size_t index = 0;
  for (const json& vlan : reader.list("vlans", 4095)) {
    if (!vlan.is_number_unsigned() || vlan.get<uint64_t>() > 4094) {
      reader.wrong("/vlans/" + std::to_string(index), "a VLAN from 0 to 4094");
      break;
    }
    profile.vlans.push_back(vlan.get<uint16_t>());
    ++index;
  }
  profile.mtu = static_cast<uint16_t>(reader.number("mtu", 9216));
  profile.queues = static_cast<uint16_t>(reader.number("queues", 16));
  profile.features = reader.number("features", UINT64_MAX);
  const std::string miss = reader.text("miss", 16);
  if (miss != "normal" && miss != "drop") reader.wrong("/miss", "normal or drop");
  profile.miss = miss == "drop" ? MissPolicy::kDrop : MissPolicy::kNormal;
  if (auto name = dataplane::check_endpoint_name(profile.name); !name)
    reader.wrong("/name", name.error().expected);
  if (profile.mtu < 68) reader.wrong("/mtu", "68 to 9216");
  if (profile.queues < 1) reader.wrong("/queues", "1 to 16");
  if (!reader.good()) return fail(reader.error());
  return profile;
}

json to_json(const Document& document) {
  json profiles = json::array();
  for (const Profile& profile : document.profiles) {
    json& one = profiles.emplace_back(to_json(profile));
    if (document.served.contains(profile.name)) one["server"] = true;
  }
  return {{"format", 1},
          {"vm", document.vm},
          {"host", document.host},
          {"epoch", {{"counter", document.epoch.counter}, {"host", document.epoch.host}}},
          {"profiles", profiles},
          {"rules", rules_json(document.rules)},
          {"uplink_rules", rules_json(document.uplink_rules)},
          {"uplinks", document.uplinks},
          {"digest", document.digest}};
}

Result<Document> document_from_json(const json& object) {
  Reader reader(
      object, "",
      {"format", "vm", "host", "epoch", "profiles", "rules", "uplink_rules", "uplinks", "digest"});
  if (reader.number("format", UINT32_MAX) != 1) reader.wrong("/format", "1");
  Document document;
  document.vm = reader.text("vm", dataplane::kMaxEndpointName);
  document.host = reader.text("host", kMaxHostName);
  document.digest = reader.text("digest", 64);
  if (reader.good()) {
    Reader epoch(reader.object("epoch"), "/epoch", {"counter", "host"});
    document.epoch.counter = epoch.number("counter", kMaxOfferedCounter);
    document.epoch.host = epoch.text("host", kMaxHostName);
    if (!is_host_name(document.epoch.host)) epoch.wrong("/host", "a host's name");
    if (!is_host_name(document.host)) reader.wrong("/host", "a host's name");
    if (!epoch.good()) reader.take(epoch.error());
  }
  for (const json& profile : reader.list("profiles", kMaxDocumentProfiles)) {
    const std::string where = "/profiles/" + std::to_string(document.profiles.size());
    auto parsed = profile_from_json(profile, where);
    if (!parsed) return fail(parsed.error());
    if (const auto server = profile.find("server"); server != profile.end()) {
      if (!server->is_boolean()) reader.wrong(where + "/server", "true or false");
      if (server->is_boolean() && server->get<bool>()) document.served.insert(parsed->name);
    }
    document.profiles.push_back(std::move(*parsed));
  }
  if (document.profiles.empty()) reader.wrong("/profiles", "at least one endpoint");
  auto rules = rules_from(reader.list("rules", kMaxDocumentRules), "/rules");
  auto uplink_rules = rules_from(reader.list("uplink_rules", kMaxDocumentRules), "/uplink_rules");
  size_t index = 0;
  for (const json& uplink : reader.list("uplinks", kMaxDocumentProfiles)) {
    if (!uplink.is_string() ||
        !dataplane::check_endpoint_name(uplink.get_ref<const std::string&>())) {
      reader.wrong("/uplinks/" + std::to_string(index), "an uplink's name");
      break;
    }
    document.uplinks.push_back(uplink.get<std::string>());
    ++index;
  }
  if (!reader.good()) return fail(reader.error());
  if (!rules) return fail(rules.error());
  if (!uplink_rules) return fail(uplink_rules.error());
  document.rules = std::move(*rules);
  document.uplink_rules = std::move(*uplink_rules);
  for (const Profile& profile : document.profiles) {
    if (dataplane::vm_of(profile.name) != document.vm) {
      return fail(Error{"document: " + profile.name + " is not an endpoint of " + document.vm, 0, 0,
                        profile.name, document.vm + "/..."});
    }
    if (std::ranges::count(document.profiles, profile.name, &Profile::name) > 1) {
      return fail(Error{"document: /profiles has an endpoint twice", 0, 0, profile.name,
                        "each endpoint once"});
    }
  }
  if (const std::string digest = digest_of(document); digest != document.digest) {
    return fail(Error{"document: the digest does not fit: it was altered or cut", 0, 0,
                      document.digest, digest});
  }
  return document;
}

Result<Document> document_from_text(std::string_view text) {
  if (text.size() > kMaxDocumentText) return fail("document: longer than 64 MiB");
  if (const std::string excess = excess_of_json(text, kDocumentBounds); !excess.empty())
    return fail("document: " + excess);
  const json parsed = json::parse(text, nullptr, false);
  if (parsed.is_discarded()) return fail("document: not valid JSON (cut short?)");
  return document_from_json(parsed);
}

}  // namespace godwit::migration
