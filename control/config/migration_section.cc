// SPDX-License-Identifier: Apache-2.0
//
// The section `migration`.
#include <algorithm>

#include "control/config/config_sections.h"
#include "control/config/host_address.h"

namespace godwit::control {
namespace {

constexpr size_t kMaxPeers = 1024;

using Field = ConfigValue::Field;

std::string read_address(const ConfigValue& value, ConfigDraft& draft) {
  const std::string text = value.text("ADDRESS:PORT");
  const HostAddress address = value.take(parse_host_address(text), "ADDRESS:PORT");
  if (!address.loopback) {
    draft.deferred.push_back([&config = draft.config, value, text] {
      if (!config.migration.tls && !config.migration.plaintext_anywhere)
        value.refuse(in_backticks(text) + " is not on loopback, and peers would talk in plain text",
                     "migration.tls, an address in 127.0.0.0/8, or migration.plaintext: anywhere");
    });
  }
  return text;
}

void read_tls(const ConfigValue& value, TlsConfig& out) {
  const auto file = [](FileConfig& one) {
    return [&one](const ConfigValue& v) { one = {read_file_path(v), v.place()}; };
  };
  value.fields({{"certificate", file(out.certificate)},
                {"key", file(out.key)},
                {"ca", file(out.ca)},
                {"revoked", file(out.revoked)}});
  for (const auto& [name, one] :
       {std::pair("certificate", &out.certificate), {"key", &out.key}, {"ca", &out.ca}}) {
    if (one->path.empty())
      value.refuse(value.name() + " has no " + name, std::string("the key ") + name);
  }
}

void read_plaintext(const ConfigValue& value, ConfigDraft& draft) {
  bool& anywhere = draft.config.migration.plaintext_anywhere;
  anywhere = value.choice({"loopback", "anywhere"}) == 1;
  if (!anywhere) return;
  draft.deferred.push_back([&config = draft.config, value] {
    if (config.migration.tls)
      value.refuse("migration.plaintext: anywhere and migration.tls exclude each other",
                   "one of them");
  });
}

void read_peers(const ConfigValue& value, ConfigDraft& draft) {
  auto& peers = draft.config.migration.peers;
  value.each_key([&](const ConfigValue& key, const std::string& name, const ConfigValue& address) {
    std::string host = read_host_name(key);
    peers.emplace(std::move(host), read_address(address, draft));
    if (peers.size() > kMaxPeers)
      key.refuse("there are too many peers", "at most " + std::to_string(kMaxPeers));
    draft.deferred.push_back([&config = draft.config, key, name] {
      if (name == config.host)
        key.refuse(in_backticks(name) + " is this host", "the name of another host");
    });
  });
}

void read_allowed(const ConfigValue& value, std::optional<std::set<std::string>>& out,
                  ConfigDraft& draft) {
  out.emplace();
  value.each(
      [&](const ConfigValue& v) {
        const std::string host = v.text("the name of a peer", 64);
        if (!out->insert(host).second) v.refuse(in_backticks(host) + " is listed twice");
        draft.deferred.push_back([&config = draft.config, v, host] {
          if (!config.migration.peers.contains(host))
            v.refuse("there is no peer " + in_backticks(host),
                     "the name of one of migration.peers");
        });
      },
      kMaxPeers);
}

void read_vhost_template(const ConfigValue& value, MigrationConfig& out) {
  out.vhost_template = read_socket_path(value);
  const bool both = out.vhost_template.find("{vm}") != std::string::npos &&
                    out.vhost_template.find("{nic}") != std::string::npos;
  if (!both) value.wrong("a path with {vm} and {nic} in it");
}

void read_default_uplink(const ConfigValue& value, ConfigDraft& draft) {
  draft.config.migration.uplink = read_endpoint_name(value);
  draft.deferred.push_back([&config = draft.config, value] {
    require_uplink(config, config.migration.uplink, value.place());
  });
}

template <typename T>
Field number_field(const char* name, T& out, uint64_t least, uint64_t most) {
  return {name, [&out, least, most](const ConfigValue& v) { v.number(out, least, most); }};
}

}  // namespace

void read_migration(const ConfigValue& value, ConfigDraft& draft) {
  MigrationConfig& out = draft.config.migration;
  value.fields({
      {"tls", [&](const ConfigValue& v) { read_tls(v, out.tls.emplace()); }},
      {"allow_in", [&](const ConfigValue& v) { read_allowed(v, out.allow_in, draft); }},
      {"allow_out", [&](const ConfigValue& v) { read_allowed(v, out.allow_out, draft); }},
      {"allow_pull", [&](const ConfigValue& v) { read_allowed(v, out.allow_pull, draft); }},
      number_field("handshake_timeout_ms", out.handshake_timeout_ms, 100, 60'000),
      number_field("idle_timeout_ms", out.idle_timeout_ms, 1000, 3'600'000),
      number_field("max_connections", out.max_connections, 8, 65536),
      number_field("max_connections_per_address", out.max_connections_per_address, 8, 65536),
      number_field("max_strangers", out.max_strangers, 8, 65536),
      {"listen", [&](const ConfigValue& v) { out.listen = read_address(v, draft); }},
      {"plaintext", [&](const ConfigValue& v) { read_plaintext(v, draft); }},
      {"peers", [&](const ConfigValue& v) { read_peers(v, draft); }},
      {"vhost_template", [&](const ConfigValue& v) { read_vhost_template(v, out); }},
      {"uplink", [&](const ConfigValue& v) { read_default_uplink(v, draft); }},
      number_field("prepare_timeout_ms", out.prepare_timeout_ms, 100, 3'600'000),
      number_field("window_timeout_ms", out.window_timeout_ms, 10, 600'000),
      number_field("max_preparing", out.max_preparing, 1, 1024),
      number_field("max_incoming", out.max_incoming, 1, 4096),
      number_field("park_packets", out.park_packets, 1, 1u << 20),
      number_field("park_bytes", out.park_bytes, 1u << 16, 1u << 30),
  });
}

}  // namespace godwit::control
