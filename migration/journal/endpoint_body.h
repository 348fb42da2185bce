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

[[nodiscard]] std::string endpoint_body(const StoredEndpoint& endpoint);
// Returns an error if the text is not the body of the endpoint `name`.
[[nodiscard]] Result<StoredEndpoint> endpoint_from_body(const std::string& name,
                                                        const std::string& body);

}  // namespace godwit::migration
