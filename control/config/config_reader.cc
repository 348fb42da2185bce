// SPDX-License-Identifier: Apache-2.0
#include "control/config/config_reader.h"

#include <yaml-cpp/yaml.h>

#include <filesystem>
#include <fstream>

#include "control/config/config_refusal.h"
#include "control/config/config_sections.h"
#include "control/config/config_value.h"

namespace godwit::control {
namespace {

// Reads a file of at most `most` bytes. Calls `refuse_with`, which does not return, on an error.
std::string read_file(const std::string& path, size_t most,
                      const std::function<void(const std::string&)>& refuse_with) {
  std::error_code error;
  if (std::filesystem::is_directory(path, error)) refuse_with("is a directory");
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

void read_rules(const ConfigValue& value, HostConfig& config) {
  size_t total = 0;
  value.each([&](const ConfigValue& v) {
    const std::string text = v.text("a line `flow create ...`", 64 * 1024);
    total += text.size();
    // The size of the file does not bound the total, since many YAML aliases can repeat one text.
    if (total > kMaxConfigBytes)
      v.refuse("the rules together are longer than 1 MiB", "a rules_file for that many rules");
    config.rules.push_back({text, v.text_place()});
  });
}

void read_rules_file(const ConfigValue& value, HostConfig& config) {
  const std::string path = read_file_path(value);
  const std::string text = read_file(path, kMaxRulesFileBytes, [&](const std::string& why) {
    value.refuse("rules_file " + in_backticks(path) + " " + why);
  });
  auto rules = parse_rules(text, path);
  if (!rules) throw ConfigRefusal{rules.error()};
  config.rules.insert(config.rules.end(), rules->begin(), rules->end());
}

void read_sections(const ConfigValue& top, ConfigDraft& draft) {
  HostConfig& config = draft.config;
  top.fields({
      {"host", [&](const ConfigValue& v) { config.host = read_host_name(v, "this host's name"); }},
      {"control",
       [&](const ConfigValue& v) {
         v.fields({{"socket", [&](const ConfigValue& x) { config.socket = read_socket_path(x); }}});
       }},
      {"workers", [&](const ConfigValue& v) { read_workers(v, config.workers); }},
      {"memory", [&](const ConfigValue& v) { read_memory(v, config.memory); }},
      {"fdb", [&](const ConfigValue& v) { read_fdb(v, config.fdb); }},
      {"uplinks",
       [&](const ConfigValue& v) {
         v.each([&](const ConfigValue& x) { read_uplink(x, config); }, 64);
       }},
      {"endpoints",
       [&](const ConfigValue& v) {
         v.each([&](const ConfigValue& x) { read_endpoint(x, draft); });
       }},
      {"rules", [&](const ConfigValue& v) { read_rules(v, config); }},
      // Rules from rules_file follow those of `rules`, regardless of the order of the keys.
      {"rules_file",
       [&](const ConfigValue& v) {
         draft.deferred.push_back([&config, v] { read_rules_file(v, config); });
       }},
      {"migration", [&](const ConfigValue& v) { read_migration(v, draft); }},
      {"state", [&](const ConfigValue& v) { read_state(v, config.state); }},
      {"faults",
       [&](const ConfigValue& v) {
         v.each([&](const ConfigValue& x) { read_fault(x, config.faults); }, 1024);
       }},
  });
}

HostConfig read_host(const ConfigValue& top) {
  ConfigDraft draft;
  read_sections(top, draft);
  HostConfig& config = draft.config;
  if (config.host.empty()) top.refuse("this host has no name", "the key host");
  // These include the reading of rules_file.
  for (const auto& check : draft.deferred) check();
  if (config.memory.file_prefix.empty()) config.memory.file_prefix = "godwit-" + config.host;
  if (config.migration.uplink.empty() && config.uplinks.size() == 1)
    config.migration.uplink = config.uplinks[0].name;
  return std::move(config);
}

HostConfig parse_document(std::string_view text, const std::string& file) {
  const Place start{file, 1, 1};
  if (text.size() > kMaxConfigBytes) refuse_at(start, "the file is too long", "at most 1 MiB");
  if (auto good = check_utf8(text, file); !good) throw ConfigRefusal{good.error()};
  try {
    const std::vector<YAML::Node> documents = YAML::LoadAll(std::string(text));
    if (documents.size() > 1) refuse_at(start, "the file holds more than one YAML document", "one");
    if (documents.empty() || documents[0].IsNull())
      refuse_at(start, "the file is empty", "the key host");
    return read_host(ConfigValue(documents[0], file, ""));
  } catch (const YAML::Exception& error) {
    refuse_at({file, static_cast<uint32_t>(error.mark.line + 1),
               static_cast<uint32_t>(error.mark.column + 1)},
              "not YAML: " + error.msg);
  }
}

}  // namespace

Result<HostConfig> parse_config(std::string_view text, const std::string& file) {
  try {
    return parse_document(text, file);
  } catch (ConfigRefusal& refusal) {
    return fail(std::move(refusal.error));
  }
}

Result<HostConfig> read_config(const std::string& path) {
  try {
    const std::string text = read_file(path, kMaxConfigBytes, [&](const std::string& why) {
      refuse_at({path, 1, 1}, "the file " + why);
    });
    return parse_document(text, path);
  } catch (ConfigRefusal& refusal) {
    return fail(std::move(refusal.error));
  }
}

Result<std::vector<RuleConfig>> parse_rules(std::string_view text, const std::string& file) {
  if (auto good = check_utf8(text, file); !good) return fail(good.error());
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

}  // namespace godwit::control
