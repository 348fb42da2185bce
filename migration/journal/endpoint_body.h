// SPDX-License-Identifier: Apache-2.0
//
// The JSON text of an endpoint in the state file: its profile and its place.
//
// Thread safety: none needed; the functions share no state.
#pragma once

#include <string>

#include "base/result.h"
#include "migration/journal/records.h"

namespace godwit::migration {

// Returns the JSON text of the endpoint.
[[nodiscard]] std::string endpoint_body(const StoredEndpoint& endpoint);
// Parses the text. Returns an error if it is not the body of the endpoint `name`.
[[nodiscard]] Result<StoredEndpoint> endpoint_from_body(const std::string& name,
                                                        const std::string& body);

}  // namespace godwit::migration
