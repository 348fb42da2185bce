// SPDX-License-Identifier: Apache-2.0
//
// Reads the configuration of one host from a YAML file.
//
// The reader is strict. It refuses unknown keys, duplicate keys, wrong types and values out of
// range, and stops at the first error. An error's message is complete:
// "FILE:LINE:COL: MESSAGE, expected WHAT". Error::line and Error::column are set as well.
//
// The reader checks syntax, types, ranges and references by name. It does not compile rules;
// put_policy() in config_policy.h does.
//
// Bounds: a configuration has at most kMaxConfigBytes, a file of rules kMaxRulesFileBytes. Lists
// and rules are bounded as well, because YAML aliases can repeat a text.
//
// Thread safety: any thread may call the functions, which share no state.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "control/config/host_config.h"

namespace godwit::control {

inline constexpr size_t kMaxConfigBytes = 1u << 20;
inline constexpr size_t kMaxRulesFileBytes = 256u << 20;

// Reads the file at `path`, and the file that its key `rules_file` names. A relative `rules_file`
// begins at the folder of the configuration.
Result<HostConfig> read_config(const std::string& path);

// Reads a configuration from `text`. `file` is the file's name in errors, and relative paths begin
// at its folder.
Result<HostConfig> parse_config(std::string_view text, const std::string& file);

// Splits the text of a file of rules into its lines. Each is one `flow create` command, which is
// not checked here. Skips empty lines and lines that begin with `#`. `file` is the name in errors.
Result<std::vector<RuleConfig>> parse_rules(std::string_view text, const std::string& file);

}  // namespace godwit::control
