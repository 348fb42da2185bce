// SPDX-License-Identifier: Apache-2.0
//
// The JSON objects of which replies consist. Times are CLOCK_MONOTONIC nanoseconds.
#pragma once

#include <nlohmann/json.hpp>

#include "tests/tools/vhost_frontend/tool/tool_engine.h"

namespace godwit::vhost_frontend {

nlohmann::json describe_device(const Device& device);
nlohmann::json describe_frame(const CapturedFrame& frame);
nlohmann::json describe_account(const StreamAccount& account);
nlohmann::json describe_stream(const Stream& stream);

}  // namespace godwit::vhost_frontend
