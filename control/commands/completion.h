// SPDX-License-Identifier: Apache-2.0
//
// Completion of command lines.
#pragma once

#include <cstddef>
#include <nlohmann/json_fwd.hpp>
#include <string_view>

namespace godwit::control {

struct CommandContext;

// Returns the words that may stand at `cursor`, a byte offset, as the result of the method
// `complete`.
nlohmann::json complete_line(CommandContext& context, std::string_view line, size_t cursor);

}  // namespace godwit::control
