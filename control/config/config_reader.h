// SPDX-License-Identifier: Apache-2.0
//
// Reads the configuration of one host from a YAML file.
//
// The reader is strict. It refuses unknown keys, duplicate keys, wrong types and values out of
// range, and stops at the first error. An error's message is complete: "FILE:LINE:COL: what,
// expected ...". Its line and column are set as well.
//
// The reader checks what the file alone can tell. It does not compile rules; put_policy() in
// config_policy.h does.
//
// Bounds: a configuration has at most kMaxConfigBytes, a file of rules kMaxRulesFileBytes. Nothing
// else grows with the file's claims.
//
// Thread safety: pure functions except for reading files.
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

// Reads the file and its `rules_file`. A relative path of a `rules_file` starts at the folder of
// the configuration.
Result<HostConfig> read_config(const std::string& path);

// Reads a configuration from `text`. Errors call it `file`, and relative paths start at the folder
// of `file`.
Result<HostConfig> parse_config(std::string_view text, const std::string& file);

// Splits a file of rules into its lines, one `flow create` each. Skips empty lines and lines that
// begin with `#`.
Result<std::vector<RuleConfig>> parse_rules(std::string_view text, const std::string& file);

}  // namespace godwit::control
