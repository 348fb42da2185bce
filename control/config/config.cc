// SPDX-License-Identifier: Apache-2.0
//
// Reading stops at the first thing that is wrong: Refused carries it out of the nested readers, and
// leaves this file as an Error.
#include "control/config/config.h"

#include <yaml-cpp/yaml.h>

#include <algorithm>
#include <charconv>
#include <filesystem>
#include <fstream>
#include <functional>
#include <set>

#include "base/net.h"
#include "base/text.h"
#include "control/config/faults.h"
#include "control/config/scratch_store.h"
#include "dataplane/rules/flow_command.h"

namespace godwit::control {
namespace {

constexpr size_t kMaxListEntries = 65536;
constexpr size_t kMaxAddresses = 256;  // of one endpoint

struct Refused {
  Error error;
};

[[noreturn]] void refuse_at(const Place& place, const std::string& what,
                            const std::string& expected = {}) {
  throw Refused{placed(place, what, expected)};
}

std::string tick(const std::string& text) { return "`" + printable(text) + "`"; }

// One node with the file it is in.
class Value {
 public:
  Value(YAML::Node node, const std::string& file, std::string name)
      : node_(std::move(node)), file_(file), name_(std::move(name)) {}

  [[nodiscard]] Place place() const {
    const YAML::Mark mark = node_.Mark();
    return {file_, static_cast<uint32_t>(mark.line + 1), static_cast<uint32_t>(mark.column + 1)};
  }
  // Of the first byte of a scalar's text, as far as that is on the same line.
  [[nodiscard]] Place text_place() const {
    Place at = place();
    if (node_.Tag() == "!") ++at.column;  // behind the quote
    return at;
  }
  [[noreturn]] void refuse(const std::string& what, const std::string& expected = {}) const {
    refuse_at(place(), what, expected);
  }
  [[noreturn]] void wrong(const std::string& expected) const {
    std::string what = name_ + " is ";
    switch (node_.Type()) {
      case YAML::NodeType::Scalar: what += tick(node_.Scalar()); break;
      case YAML::NodeType::Sequence: what += "a list"; break;
      case YAML::NodeType::Map: what += "a mapping"; break;
      default: what += "empty";
    }
    refuse(what, expected);
  }

  std::string text(const std::string& expected, size_t most = 4096) const {
    if (!node_.IsScalar() || node_.Scalar().empty()) wrong(expected);
    const std::string& scalar = node_.Scalar();
    if (scalar.size() > most)
      refuse(name_ + " is too long", "at most " + std::to_string(most) + " bytes");
    if (scalar.find('\0') != std::string::npos) refuse(name_ + " has a zero byte in it", expected);
    return scalar;
  }
  uint64_t number(uint64_t least, uint64_t most) const {
    const std::string range =
        "a number from " + std::to_string(least) + " to " + std::to_string(most);
    if (!node_.IsScalar() || node_.Tag() == "!") wrong(range);
    const std::string& scalar = node_.Scalar();
    uint64_t value = 0;
    const auto [end, error] = std::from_chars(scalar.data(), scalar.data() + scalar.size(), value);
    if (error != std::errc{} || end != scalar.data() + scalar.size() || value < least ||
        value > most)
      wrong(range);
    return value;
  }
  template <typename T>
  void number(T& out, uint64_t least, uint64_t most) const {
    out = static_cast<T>(number(least, most));
  }
  bool boolean() const {
    if (node_.IsScalar() && node_.Tag() != "!") {
      if (node_.Scalar() == "true") return true;
      if (node_.Scalar() == "false") return false;
    }
    wrong("true or false");
  }
  size_t choice(const std::vector<std::string>& words) const {
    std::string expected;
    for (const std::string& word : words) expected += (expected.empty() ? "" : " or ") + word;
    if (!node_.IsScalar()) wrong(expected);
    const auto found = std::ranges::find(words, node_.Scalar());
    if (found == words.end()) wrong(expected);
    return static_cast<size_t>(found - words.begin());
  }

  void each(const std::function<void(const Value&)>& entry, size_t most = kMaxListEntries) const {
    if (node_.IsNull()) return;
    if (!node_.IsSequence()) wrong("a list");
    if (node_.size() > most)
      refuse(name_ + " has " + std::to_string(node_.size()) + " entries",
             "at most " + std::to_string(most));
    size_t index = 0;
    for (const YAML::Node& child : node_)
      entry(Value(child, file_, name_ + "[" + std::to_string(index++) + "]"));
  }
  // Each key and its value; a key that comes twice is refused here.
  void each_key(const std::function<void(const Value& key, const std::string& name,
                                         const Value& value)>& entry) const {
    if (node_.IsNull()) return;
    if (!node_.IsMap()) wrong("a mapping");
    std::set<std::string> seen;
    for (const auto& pair : node_) {
      const Value key(pair.first, file_, name_.empty() ? "a key" : "a key of " + name_);
      if (!pair.first.IsScalar()) key.wrong("a word");
      const std::string& name = pair.first.Scalar();
      if (!seen.insert(name).second) key.refuse("the key " + tick(name) + " is there twice");
      entry(key, name,
            Value(pair.second, file_,
                  name_.empty() ? printable(name) : name_ + "." + printable(name)));
    }
  }
  struct Field {
    const char* name;
    std::function<void(const Value&)> read;
  };
  void fields(const std::vector<Field>& known) const {
    each_key([&](const Value& key, const std::string& name, const Value& value) {
      const auto found =
          std::ranges::find_if(known, [&](const Field& f) { return name == f.name; });
      if (found != known.end()) return found->read(value);
      std::string expected;
      for (const Field& field : known)
        expected += (expected.empty() ? "" : ", ") + std::string(field.name);
      key.refuse("the key " + tick(name) + " is not known" + (name_.empty() ? "" : " in " + name_),
                 "one of " + expected);
    });
  }
  // fail() of a parser in base/ or dataplane/, at this value.
  template <typename T>
  T take(Result<T> result, const std::string& expected) const {
    if (!result)
      refuse(name_ + ": " + result.error().message,
             result.error().expected.empty() ? expected : result.error().expected);
    return std::move(*result);
  }
  [[nodiscard]] const std::string& file() const { return file_; }
  [[nodiscard]] const std::string& name() const { return name_; }

 private:
  YAML::Node node_;
  const std::string& file_;
  std::string name_;
};

std::string host_name(const Value& value, const std::string& text) {
  const bool good = text.size() <= 63 &&
                    std::isalnum(static_cast<unsigned char>(text.front())) != 0 &&
                    std::ranges::all_of(text, [](unsigned char c) {
                      return std::isalnum(c) != 0 || c == '.' || c == '-' || c == '_';
                    });
  if (!good)
    value.refuse(tick(text) + " is no host's name", "letters, digits and . _ -, at most 63");
  return text;
}

std::string endpoint_name(const Value& value) {
  const std::string name = value.text("an endpoint's name");
  if (auto good = dataplane::check_endpoint_name(name); !good) {
    value.refuse(tick(name) + " is no endpoint's name", good.error().expected);
  }
  return name;
}

std::string socket_path(const Value& value) {
  const std::string path = value.text("a socket's path");
  if (path.size() > kMaxSocketPath)
    value.refuse(value.name() + " is too long for a socket's path", "at most 107 bytes");
  return path;
}

// What is checked when all of the file has been read.
struct Later {
  std::vector<std::function<void()>> checks;
  std::map<std::string, std::string> sockets;  // path -> endpoint
};

void read_workers(const Value& value, WorkersConfig& out) {
  value.fields({
      {"cpus",
       [&](const Value& v) {
         v.each(
             [&](const Value& cpu) {
               const auto number = static_cast<uint16_t>(cpu.number(0, 1023));
               if (std::ranges::find(out.cpus, number) != out.cpus.end())
                 cpu.refuse("CPU " + std::to_string(number) + " is there twice");
               out.cpus.push_back(number);
             },
             128);
         if (out.cpus.empty()) v.wrong("at least one CPU");
       }},
      {"idle",
       [&](const Value& v) {
         v.fields(
             {{"spin_us", [&](const Value& x) { x.number(out.spin_us, 0, 1'000'000); }},
              {"max_sleep_us", [&](const Value& x) { x.number(out.max_sleep_us, 0, 1'000'000); }},
              {"poll_us", [&](const Value& x) { x.number(out.poll_us, 1, 100'000); }}});
       }},
  });
}

void read_memory(const Value& value, MemoryConfig& out) {
  value.fields({
      {"hugepages", [&](const Value& v) { out.hugepages = v.boolean(); }},
      {"socket_mb", [&](const Value& v) { v.number(out.socket_mb, 16, 1u << 20); }},
      {"file_prefix",
       [&](const Value& v) {
         out.file_prefix = v.text("a word", 64);
         if (out.file_prefix.find_first_of("/ \t") != std::string::npos)
           v.wrong("a word without / or blanks");
       }},
      {"mbufs", [&](const Value& v) { v.number(out.mbufs, 1024, 1u << 24); }},
  });
}

void read_uplink(const Value& value, HostConfig& config) {
  UplinkConfig out;
  out.place = value.place();
  bool named = false;
  value.fields({
      {"name",
       [&](const Value& v) {
         out.name = endpoint_name(v);
         out.place = v.place();
         named = true;
       }},
      {"devargs",
       [&](const Value& v) {
         out.devargs = v.text("devargs, as \"net_af_packet0,iface=eth1\"", 1024);
       }},
      {"mtu", [&](const Value& v) { v.number(out.mtu, 68, 9216); }},
  });
  if (!named) value.refuse("an uplink has no name", "the key name");
  if (out.devargs.empty())
    value.refuse("uplink " + out.name + " has no devargs", "the key devargs");
  const auto same = std::ranges::find(config.uplinks, out.name, &UplinkConfig::name);
  if (same != config.uplinks.end())
    refuse_at(out.place, "there is an uplink " + out.name + " already, in line " +
                             std::to_string(same->place.line));
  config.uplinks.push_back(std::move(out));
}

void read_addresses(const Value& list, dataplane::Profile& profile) {
  list.each(
      [&](const Value& v) {
        const std::string text = v.text("an address");
        const std::string expected = "an IPv4 or IPv6 address";
        const auto add = [&](auto& addresses, const auto& address) {
          if (std::ranges::find(addresses, address) != addresses.end())
            v.refuse(text + " is there twice");
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

void read_profile_lists(const Value& v, const std::string& key, dataplane::Profile& profile) {
  if (key == "ips") return read_addresses(v, profile);
  if (key == "macs") {
    return v.each(
        [&](const Value& x) {
          const MacAddress mac = x.take(parse_mac(x.text("a MAC address")), "a MAC address");
          if (mac.is_group() || mac.is_zero()) x.wrong("the MAC address of a station");
          if (std::ranges::find(profile.macs, mac) != profile.macs.end())
            x.refuse(to_string(mac) + " is there twice");
          profile.macs.push_back(mac);
        },
        kMaxAddresses);
  }
  v.each(
      [&](const Value& x) {
        const auto vlan = static_cast<uint16_t>(x.number(0, 4094));
        if (std::ranges::find(profile.vlans, vlan) != profile.vlans.end())
          x.refuse("VLAN " + std::to_string(vlan) + " is there twice");
        profile.vlans.push_back(vlan);
      },
      4095);
}

void read_endpoint(const Value& value, HostConfig& config, std::map<std::string, uint32_t>& lines,
                   Later& later) {
  EndpointConfig out;
  out.place = value.place();
  std::string location;
  Place location_place;
  value.fields({
      {"name",
       [&](const Value& v) {
         out.profile.name = endpoint_name(v);
         out.place = v.place();
       }},
      {"vhost",
       [&](const Value& v) {
         out.vhost.emplace();
         v.fields({{"socket", [&](const Value& x) { out.vhost->socket = socket_path(x); }},
                   {"mode", [&](const Value& x) {
                      out.vhost->server = x.choice({"client", "server"}) == 1;
                    }}});
         if (out.vhost->socket.empty()) v.refuse("vhost has no socket", "the key socket");
         const auto [other, unused] = later.sockets.emplace(out.vhost->socket, out.profile.name);
         if (!unused)
           v.refuse(tick(out.vhost->socket) + " is the socket of " + other->second + " already",
                    "a path of its own");
       }},
      {"location",
       [&](const Value& v) {
         location = v.text("port, none or uplink:NAME");
         location_place = v.place();
         if (location != "port" && location != "none" && !location.starts_with("uplink:"))
           v.wrong("port, none or uplink:NAME");
       }},
      {"macs", [&](const Value& v) { read_profile_lists(v, "macs", out.profile); }},
      {"ips", [&](const Value& v) { read_profile_lists(v, "ips", out.profile); }},
      {"vlans", [&](const Value& v) { read_profile_lists(v, "vlans", out.profile); }},
      {"mtu", [&](const Value& v) { v.number(out.profile.mtu, 68, 9216); }},
      {"queues", [&](const Value& v) { v.number(out.profile.queues, 1, 16); }},
      {"miss",
       [&](const Value& v) {
         out.profile.miss = v.choice({"normal", "drop"}) == 1 ? dataplane::MissPolicy::kDrop
                                                              : dataplane::MissPolicy::kNormal;
       }},
  });
  if (out.profile.name.empty()) value.refuse("an endpoint has no name", "the key name");
  const auto [same, fresh] = lines.emplace(out.profile.name, out.place.line);
  if (!fresh)
    refuse_at(out.place, "there is an endpoint " + out.profile.name + " already, in line " +
                             std::to_string(same->second));
  out.profile.kind = dataplane::EndpointKind::kVm;
  if (out.vhost && !location.empty() && location != "port") {
    refuse_at(location_place, out.profile.name + " has a vhost port, so that is where it is",
              "location port");
  }
  if (!out.vhost && location == "port")
    refuse_at(location_place, out.profile.name + " has no port",
              "vhost, or location none or uplink:NAME");
  if (location.starts_with("uplink:")) out.uplink = location.substr(7);
  const size_t index = config.endpoints.size();
  later.checks.push_back([&config, index, location, location_place] {
    EndpointConfig& endpoint = config.endpoints[index];
    if (std::ranges::find(config.uplinks, endpoint.profile.name, &UplinkConfig::name) !=
        config.uplinks.end()) {
      refuse_at(endpoint.place, endpoint.profile.name + " is an uplink's name");
    }
    if (location.empty() && !endpoint.vhost && config.uplinks.size() == 1)
      endpoint.uplink = config.uplinks[0].name;
    if (endpoint.uplink.empty() && !location.starts_with("uplink:")) return;
    if (std::ranges::find(config.uplinks, endpoint.uplink, &UplinkConfig::name) ==
        config.uplinks.end()) {
      refuse_at(location_place, "there is no uplink " + tick(endpoint.uplink),
                "the name of one of `uplinks`");
    }
  });
  config.endpoints.push_back(std::move(out));
}

std::string peer_address(const Value& value, HostConfig& config, Later& later) {
  const std::string text = value.text("ADDRESS:PORT");
  const HostAddress address = value.take(parse_host_address(text), "ADDRESS:PORT");
  if (!address.loopback) {
    later.checks.push_back([&config, value, text] {
      if (!config.migration.tls && !config.migration.plaintext_anywhere) {
        value.refuse(tick(text) + " is not on loopback, and peers talk in plain text",
                     "migration.tls, an address in 127.0.0.0/8, or migration.plaintext: anywhere");
      }
    });
  }
  return text;
}

// Beside the configuration, if it is not an absolute path.
std::string file_path(const Value& value) {
  std::filesystem::path path = value.text("a file's name");
  if (path.is_relative()) path = std::filesystem::path(value.file()).parent_path() / path;
  return path.string();
}

void read_tls(const Value& value, TlsConfig& out) {
  const auto file = [](FileConfig& one) {
    return [&one](const Value& v) { one = {file_path(v), v.place()}; };
  };
  value.fields(
      {{"certificate", file(out.certificate)}, {"key", file(out.key)}, {"ca", file(out.ca)}});
  for (const auto& [name, one] :
       {std::pair("certificate", &out.certificate), {"key", &out.key}, {"ca", &out.ca}}) {
    if (one->path.empty())
      value.refuse(value.name() + " has no " + name, std::string("the key ") + name);
  }
}

void read_allowed(const Value& value, const HostConfig& config,
                  std::optional<std::set<std::string>>& out, Later& later) {
  out.emplace();
  value.each(
      [&](const Value& v) {
        const std::string host = v.text("the name of a peer", 64);
        if (!out->insert(host).second) v.refuse(tick(host) + " is there twice");
        later.checks.push_back([&config, v, host] {
          if (!config.migration.peers.contains(host))
            v.refuse("there is no peer " + tick(host), "the name of one of migration.peers");
        });
      },
      1024);
}

void read_migration(const Value& value, HostConfig& config, Later& later) {
  MigrationConfig& out = config.migration;
  value.fields({
      {"tls", [&](const Value& v) { read_tls(v, out.tls.emplace()); }},
      {"allow_in", [&](const Value& v) { read_allowed(v, config, out.allow_in, later); }},
      {"allow_out", [&](const Value& v) { read_allowed(v, config, out.allow_out, later); }},
      {"handshake_timeout_ms",
       [&](const Value& v) { v.number(out.handshake_timeout_ms, 100, 60'000); }},
      {"idle_timeout_ms", [&](const Value& v) { v.number(out.idle_timeout_ms, 1000, 3'600'000); }},
      {"max_connections", [&](const Value& v) { v.number(out.max_connections, 8, 65536); }},
      {"max_connections_per_address",
       [&](const Value& v) { v.number(out.max_connections_per_address, 8, 65536); }},
      {"max_strangers", [&](const Value& v) { v.number(out.max_strangers, 8, 65536); }},
      {"listen", [&](const Value& v) { out.listen = peer_address(v, config, later); }},
      {"plaintext",
       [&](const Value& v) {
         out.plaintext_anywhere = v.choice({"loopback", "anywhere"}) == 1;
         if (!out.plaintext_anywhere) return;
         later.checks.push_back([&config, v] {
           if (config.migration.tls)
             v.refuse("plain text anywhere, and migration.tls: peers speak one of them",
                      "no migration.plaintext, or no migration.tls");
         });
       }},
      {"peers",
       [&](const Value& v) {
         v.each_key([&](const Value& key, const std::string& name, const Value& address) {
           out.peers.emplace(host_name(key, key.text("a host's name")),
                             peer_address(address, config, later));
           if (out.peers.size() > 1024) key.refuse("there are too many peers", "at most 1024");
           later.checks.push_back([&config, key, name] {
             if (name == config.host)
               key.refuse(tick(name) + " is this host", "another host's name");
           });
         });
       }},
      {"vhost_template",
       [&](const Value& v) {
         out.vhost_template = socket_path(v);
         const bool both = out.vhost_template.find("{vm}") != std::string::npos &&
                           out.vhost_template.find("{nic}") != std::string::npos;
         if (!both) v.wrong("a path with {vm} and {nic} in it");
       }},
      {"uplink",
       [&](const Value& v) {
         out.uplink = endpoint_name(v);
         later.checks.push_back([&config, v] {
           if (std::ranges::find(config.uplinks, config.migration.uplink, &UplinkConfig::name) ==
               config.uplinks.end()) {
             v.refuse("there is no uplink " + tick(config.migration.uplink),
                      "the name of one of `uplinks`");
           }
         });
       }},
      {"prepare_timeout_ms",
       [&](const Value& v) { v.number(out.prepare_timeout_ms, 100, 3'600'000); }},
      {"window_timeout_ms", [&](const Value& v) { v.number(out.window_timeout_ms, 10, 600'000); }},
      {"max_preparing", [&](const Value& v) { v.number(out.max_preparing, 1, 1024); }},
      {"max_incoming", [&](const Value& v) { v.number(out.max_incoming, 1, 4096); }},
      {"park_packets", [&](const Value& v) { v.number(out.park_packets, 1, 1u << 20); }},
      {"park_bytes", [&](const Value& v) { v.number(out.park_bytes, 1u << 16, 1u << 30); }},
  });
}

void read_state(const Value& value, StateConfig& out) {
  value.fields({
      {"directory",
       [&](const Value& v) {
         out.directory = v.text("a directory's path");
         out.place = v.place();
         if (!out.directory.starts_with('/')) v.wrong("an absolute path");
         while (out.directory.size() > 1 && out.directory.ends_with('/')) out.directory.pop_back();
       }},
      {"sync_ms", [&](const Value& v) { v.number(out.sync_ms, 0, 60'000); }},
  });
  if (out.directory.empty()) value.refuse("state has no directory", "the key directory");
}

void read_fault(const Value& value, std::vector<FaultConfig>& out) {
  FaultConfig fault;
  const auto read_point = [&](const Value& v, bool after) {
    const std::string point = v.text("a fault point", 128);
    if (!fault.at.empty()) v.refuse("a fault is before or after something, not both");
    const std::vector<std::string> known = fault_points();
    if (std::ranges::find(known, point) == known.end())
      v.refuse(tick(point) + " is no fault point",
               "one of docs/user/operating.md, as `source rewrite-out`");
    fault.at = point;
    fault.after = after;
  };
  value.fields({{"before", [&](const Value& v) { read_point(v, false); }},
                {"after", [&](const Value& v) { read_point(v, true); }},
                {"skip", [&](const Value& v) { v.number(fault.skip, 0, 1'000'000); }}});
  if (fault.at.empty()) value.refuse("a fault has no point", "the key before or after");
  out.push_back(std::move(fault));
}

void read_rules(const Value& value, HostConfig& config) {
  size_t total = 0;
  value.each([&](const Value& v) {
    const std::string text = v.text("a line `flow create ...`", 64 * 1024);
    total += text.size();
    // Aliases can make more text than the file has.
    if (total > kMaxConfigBytes)
      v.refuse("the rules are longer than a file may be", "a rules_file for so many");
    config.rules.push_back({text, v.text_place()});
  });
}

std::string read_file(const std::string& path, size_t most,
                      const std::function<void(const std::string&)>& refuse_with) {
  std::error_code error;
  if (std::filesystem::is_directory(path, error)) refuse_with("is a folder");
  std::ifstream file(path, std::ios::binary);
  if (!file) refuse_with("cannot be read");
  std::string text;
  char block[65536];
  while (file.read(block, sizeof block) || file.gcount() > 0) {
    text.append(block, static_cast<size_t>(file.gcount()));
    if (text.size() > most) refuse_with("is longer than " + std::to_string(most) + " bytes");
  }
  return text;
}

void read_rules_file(const Value& value, HostConfig& config) {
  const std::string path = file_path(value);
  const std::string text = read_file(path, kMaxRulesFileBytes, [&](const std::string& why) {
    value.refuse("rules_file " + tick(path) + " " + why);
  });
  auto rules = parse_rules(text, path);
  if (!rules) throw Refused{rules.error()};
  config.rules.insert(config.rules.end(), rules->begin(), rules->end());
}

HostConfig read_host(const Value& top) {
  HostConfig config;
  Later later;
  std::map<std::string, uint32_t> lines;
  top.fields({
      {"host", [&](const Value& v) { config.host = host_name(v, v.text("this host's name")); }},
      {"control",
       [&](const Value& v) {
         v.fields({{"socket", [&](const Value& x) { config.socket = socket_path(x); }}});
       }},
      {"workers", [&](const Value& v) { read_workers(v, config.workers); }},
      {"memory", [&](const Value& v) { read_memory(v, config.memory); }},
      {"fdb",
       [&](const Value& v) {
         v.fields(
             {{"entries", [&](const Value& x) { x.number(config.fdb.entries, 1024, 1u << 24); }},
              {"ageing_s", [&](const Value& x) { x.number(config.fdb.ageing_s, 0, 1'000'000); }}});
       }},
      {"uplinks",
       [&](const Value& v) { v.each([&](const Value& x) { read_uplink(x, config); }, 64); }},
      {"endpoints",
       [&](const Value& v) {
         v.each([&](const Value& x) { read_endpoint(x, config, lines, later); });
       }},
      {"rules", [&](const Value& v) { read_rules(v, config); }},
      {"rules_file",
       [&](const Value& v) {
         later.checks.push_back([&config, v] { read_rules_file(v, config); });
       }},
      {"migration", [&](const Value& v) { read_migration(v, config, later); }},
      {"state", [&](const Value& v) { read_state(v, config.state); }},
      {"faults",
       [&](const Value& v) {
         v.each([&](const Value& x) { read_fault(x, config.faults); }, 1024);
       }},
  });
  if (config.host.empty()) top.refuse("this host has no name", "the key host");
  for (const auto& check : later.checks) check();
  if (config.memory.file_prefix.empty()) config.memory.file_prefix = "godwit-" + config.host;
  if (config.migration.uplink.empty() && config.uplinks.size() == 1)
    config.migration.uplink = config.uplinks[0].name;
  return config;
}

HostConfig parse_document(std::string_view text, const std::string& file) {
  const Place start{file, 1, 1};
  if (text.size() > kMaxConfigBytes) refuse_at(start, "the file is too long", "at most 1 MiB");
  try {
    const std::vector<YAML::Node> documents = YAML::LoadAll(std::string(text));
    if (documents.size() > 1) refuse_at(start, "the file holds more than one YAML document", "one");
    if (documents.empty() || documents[0].IsNull())
      refuse_at(start, "the file is empty", "the key host");
    return read_host(Value(documents[0], file, ""));
  } catch (const YAML::Exception& error) {
    refuse_at({file, static_cast<uint32_t>(error.mark.line + 1),
               static_cast<uint32_t>(error.mark.column + 1)},
              "not YAML: " + error.msg);
  }
}

}  // namespace

Error placed(const Place& place, const std::string& what, const std::string& expected) {
  Error error;
  error.line = place.line;
  error.column = place.column;
  error.expected = expected;
  error.message = place.file + ":" + std::to_string(place.line) + ":" +
                  std::to_string(place.column) + ": " + what;
  if (!expected.empty()) error.message += ", expected " + expected;
  return error;
}

Result<HostConfig> parse_config(std::string_view text, const std::string& file) {
  try {
    return parse_document(text, file);
  } catch (Refused& refused) {
    return fail(std::move(refused.error));
  }
}

Result<HostConfig> read_config(const std::string& path) {
  try {
    const std::string text = read_file(path, kMaxConfigBytes, [&](const std::string& why) {
      refuse_at({path, 1, 1}, "the file " + why);
    });
    return parse_document(text, path);
  } catch (Refused& refused) {
    return fail(std::move(refused.error));
  }
}

Result<std::vector<RuleConfig>> parse_rules(std::string_view text, const std::string& file) {
  std::vector<RuleConfig> out;
  uint32_t line = 0;
  while (!text.empty()) {
    ++line;
    const size_t end = text.find('\n');
    std::string_view one = text.substr(0, end);
    text.remove_prefix(end == std::string_view::npos ? text.size() : end + 1);
    if (!one.empty() && one.back() == '\r') one.remove_suffix(1);
    const size_t first = one.find_first_not_of(" \t");
    if (first == std::string_view::npos || one[first] == '#') continue;
    out.push_back({std::string(one.substr(first)), {file, line, static_cast<uint32_t>(first + 1)}});
  }
  return out;
}

Result<HostAddress> parse_host_address(std::string_view text) {
  const size_t colon = text.rfind(':');
  const auto bad = [&] {
    Error error;
    error.message = tick(std::string(text)) + " is not an address and a port";
    error.expected = "ADDRESS:PORT or [IPV6]:PORT";
    return fail(std::move(error));
  };
  if (colon == std::string_view::npos || colon + 1 == text.size()) return bad();
  HostAddress out;
  const std::string_view port = text.substr(colon + 1);
  const auto [end, error] = std::from_chars(port.data(), port.data() + port.size(), out.port);
  if (error != std::errc{} || end != port.data() + port.size() || out.port == 0) return bad();
  std::string_view address = text.substr(0, colon);
  if (address.size() > 2 && address.front() == '[' && address.back() == ']') {
    address = address.substr(1, address.size() - 2);
    const auto ipv6 = parse_ipv6(address);
    if (!ipv6) return bad();
    Ipv6Address one;
    one.bytes[15] = 1;
    out.loopback = *ipv6 == one;
  } else {
    const auto ipv4 = parse_ipv4(address);
    if (!ipv4) return bad();
    out.loopback = ipv4->bytes[0] == 127;
  }
  out.address = std::string(address);
  return out;
}

namespace {

void add_uplinks(const HostConfig& config, dataplane::Transaction& transaction) {
  for (const UplinkConfig& uplink : config.uplinks) {
    dataplane::Profile profile;
    profile.name = uplink.name;
    profile.kind = dataplane::EndpointKind::kUplink;
    profile.mtu = uplink.mtu;
    if (auto added = transaction.add_endpoint(profile, {}); !added)
      refuse_at(uplink.place, added.error().message, added.error().expected);
  }
}

void put_endpoints(const HostConfig& config, dataplane::Transaction& transaction,
                   const dataplane::PolicyStore& store) {
  for (const EndpointConfig& endpoint : config.endpoints) {
    dataplane::Location location;
    if (!endpoint.uplink.empty()) {
      location.kind = dataplane::LocationKind::kUplink;
      location.uplink = store.find(endpoint.uplink)->id;
    }
    if (auto added = transaction.add_endpoint(endpoint.profile, location); !added) {
      refuse_at(endpoint.place, added.error().message, added.error().expected);
    }
  }
}

void put_rule(const RuleConfig& config, dataplane::Transaction& transaction,
              const dataplane::PolicyStore& store) {
  const auto refuse_rule = [&](const Error& error) {
    Place place = config.place;
    uint32_t column = error.column;
    if (column == 0 && !error.token.empty()) column = column_of(config.text, error.token);
    if (column > 0) place.column += column - 1;
    const std::string token = error.token.empty() ? "" : ": `" + error.token + "`";
    refuse_at(place, error.message + token, error.expected);
  };
  const auto command = dataplane::parse_flow_command(config.text);
  if (!command) refuse_rule(command.error());
  if (command->verb != dataplane::FlowVerb::kCreate)
    refuse_at(config.place, "not a rule", "flow create ...");
  const auto find = [&](const std::string& name) {
    const dataplane::EndpointRecord* found = store.find(name);
    if (found == nullptr)
      refuse_rule(
          Error{"no such endpoint", 0, 0, name, "the name of an endpoint or uplink of this file"});
    return found;
  };
  const dataplane::EndpointRecord* owner = find(command->port);
  dataplane::for_each_endpoint_name(command->rule, [&](const std::string& name) { find(name); });
  if (auto made = transaction.create_rule(owner->id, command->rule); !made)
    refuse_rule(made.error());
}

}  // namespace

Result<void> put_policy(const HostConfig& config, dataplane::PolicyStore& store) {
  try {
    dataplane::Transaction transaction(store);
    add_uplinks(config, transaction);
    put_endpoints(config, transaction, store);
    for (const RuleConfig& rule : config.rules) put_rule(rule, transaction, store);
    transaction.commit();
    return {};
  } catch (Refused& refused) {
    return fail(std::move(refused.error));
  }
}

Result<void> put_uplinks(const HostConfig& config, dataplane::PolicyStore& store) {
  try {
    dataplane::Transaction transaction(store);
    add_uplinks(config, transaction);
    transaction.commit();
    return {};
  } catch (Refused& refused) {
    return fail(std::move(refused.error));
  }
}

Result<void> check_policy(const HostConfig& config) {
  ScratchStore scratch;
  return put_policy(config, scratch.store);
}

}  // namespace godwit::control
