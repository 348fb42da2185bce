// SPDX-License-Identifier: Apache-2.0
//
// The sections about the host itself: workers, memory, fdb, uplinks, state, faults.
#include <algorithm>
#include <cctype>
#include <filesystem>

#include "control/config/config_sections.h"
#include "control/config/faults.h"

namespace godwit::control {

std::string read_host_name(const ConfigValue& value, const std::string& expected) {
  const std::string text = value.text(expected);
  const bool good = text.size() <= 63 &&
                    std::isalnum(static_cast<unsigned char>(text.front())) != 0 &&
                    std::ranges::all_of(text, [](unsigned char c) {
                      return std::isalnum(c) != 0 || c == '.' || c == '-' || c == '_';
                    });
  if (!good)
    value.refuse(in_backticks(text) + " is not a valid host name",
                 "letters, digits and . _ -, at most 63");
  return text;
}

std::string read_endpoint_name(const ConfigValue& value) {
  const std::string name = value.text("an endpoint's name");
  if (auto good = dataplane::check_endpoint_name(name); !good)
    value.refuse(in_backticks(name) + " is not a valid endpoint name", good.error().expected);
  return name;
}

std::string read_socket_path(const ConfigValue& value) {
  const std::string path = value.text("a socket's path");
  if (path.size() > kMaxSocketPath)
    value.refuse(value.name() + " is too long for a socket's path",
                 "at most " + std::to_string(kMaxSocketPath) + " bytes");
  return path;
}

std::string read_file_path(const ConfigValue& value) {
  std::filesystem::path path = value.text("a file's name");
  if (path.is_relative()) path = std::filesystem::path(value.file()).parent_path() / path;
  return path.string();
}

void require_uplink(const HostConfig& config, const std::string& name, const Place& place) {
  if (std::ranges::find(config.uplinks, name, &UplinkConfig::name) == config.uplinks.end())
    refuse_at(place, "there is no uplink " + in_backticks(name), "the name of one of `uplinks`");
}

void read_workers(const ConfigValue& value, WorkersConfig& out) {
  const auto read_cpu = [&](const ConfigValue& cpu) {
    const auto number = static_cast<uint16_t>(cpu.number(0, 1023));
    if (std::ranges::find(out.cpus, number) != out.cpus.end())
      cpu.refuse("CPU " + std::to_string(number) + " is listed twice");
    out.cpus.push_back(number);
  };
  value.fields({
      {"cpus",
       [&](const ConfigValue& v) {
         v.each(read_cpu, 128);
         if (out.cpus.empty()) v.wrong("at least one CPU");
       }},
      {"idle",
       [&](const ConfigValue& v) {
         v.fields({
             {"spin_us", [&](const ConfigValue& x) { x.number(out.spin_us, 0, 1'000'000); }},
             {"max_sleep_us",
              [&](const ConfigValue& x) { x.number(out.max_sleep_us, 0, 1'000'000); }},
             {"poll_us", [&](const ConfigValue& x) { x.number(out.poll_us, 1, 100'000); }},
         });
       }},
  });
}

void read_memory(const ConfigValue& value, MemoryConfig& out) {
  value.fields({
      {"hugepages", [&](const ConfigValue& v) { out.hugepages = v.boolean(); }},
      {"socket_mb", [&](const ConfigValue& v) { v.number(out.socket_mb, 16, 1u << 20); }},
      {"file_prefix",
       [&](const ConfigValue& v) {
         out.file_prefix = v.text("a word", 64);
         if (out.file_prefix.find_first_of("/ \t") != std::string::npos)
           v.wrong("a word without / or blanks");
       }},
      {"mbufs", [&](const ConfigValue& v) { v.number(out.mbufs, 1024, 1u << 24); }},
  });
}

void read_fdb(const ConfigValue& value, FdbConfig& out) {
  value.fields({
      {"entries", [&](const ConfigValue& v) { v.number(out.entries, 1024, 1u << 24); }},
      {"ageing_s", [&](const ConfigValue& v) { v.number(out.ageing_s, 0, 1'000'000); }},
  });
}

void read_uplink(const ConfigValue& value, HostConfig& config) {
  UplinkConfig out;
  out.place = value.place();
  value.fields({
      {"name",
       [&](const ConfigValue& v) {
         out.name = read_endpoint_name(v);
         out.place = v.place();
       }},
      {"devargs",
       [&](const ConfigValue& v) {
         out.devargs = v.text("devargs such as \"net_af_packet0,iface=eth1\"", 1024);
       }},
      {"mtu", [&](const ConfigValue& v) { v.number(out.mtu, 68, 9216); }},
  });
  if (out.name.empty()) value.refuse("an uplink has no name", "the key name");
  if (out.devargs.empty())
    value.refuse("uplink " + out.name + " has no devargs", "the key devargs");
  const auto same = std::ranges::find(config.uplinks, out.name, &UplinkConfig::name);
  if (same != config.uplinks.end())
    refuse_at(out.place, "uplink " + out.name + " is already defined in line " +
                             std::to_string(same->place.line));
  config.uplinks.push_back(std::move(out));
}

void read_state(const ConfigValue& value, StateConfig& out) {
  value.fields({
      {"directory",
       [&](const ConfigValue& v) {
         out.directory = v.text("a directory's path");
         out.place = v.place();
         if (!out.directory.starts_with('/')) v.wrong("an absolute path");
         while (out.directory.size() > 1 && out.directory.ends_with('/')) out.directory.pop_back();
       }},
      {"sync_ms", [&](const ConfigValue& v) { v.number(out.sync_ms, 0, 60'000); }},
  });
  if (out.directory.empty()) value.refuse("state has no directory", "the key directory");
}

void read_fault(const ConfigValue& value, std::vector<FaultConfig>& out) {
  FaultConfig fault;
  const auto read_point = [&](const ConfigValue& v, bool after) {
    const std::string point = v.text("a fault point", 128);
    if (!fault.at.empty()) v.refuse("a fault takes the key before or the key after, not both");
    const std::vector<std::string> known = fault_points();
    if (std::ranges::find(known, point) == known.end())
      v.refuse(in_backticks(point) + " is not a fault point", "one such as `source rewrite-out`");
    fault.at = point;
    fault.after = after;
  };
  value.fields({{"before", [&](const ConfigValue& v) { read_point(v, false); }},
                {"after", [&](const ConfigValue& v) { read_point(v, true); }},
                {"skip", [&](const ConfigValue& v) { v.number(fault.skip, 0, 1'000'000); }}});
  if (fault.at.empty()) value.refuse("a fault has no point", "the key before or after");
  out.push_back(std::move(fault));
}

}  // namespace godwit::control
