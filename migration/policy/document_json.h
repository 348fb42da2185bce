// SPDX-License-Identifier: Apache-2.0
//
// The JSON form of documents, format 1:
//   {"format":1,"vm","host","epoch":{"counter","host"},"profiles":[...],"rules":[...],
//    "uplink_rules":[...],"uplinks":[...],"digest"}
//
// Unknown keys, wrong types, values out of range and a wrong digest are refused. The error names
// the JSON pointer and what was expected there.
//
// Thread safety: none needed; the functions share no state.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>
#include <string_view>

#include "base/result.h"
#include "migration/policy/document.h"

namespace godwit::migration {

[[nodiscard]] nlohmann::json to_json(const dataplane::Profile& profile);
// `where` is the JSON pointer of the object, for errors.
Result<dataplane::Profile> profile_from_json(const nlohmann::json& json, const std::string& where);
[[nodiscard]] nlohmann::json to_json(const Document& document);
Result<Document> document_from_json(const nlohmann::json& json);
// Parses at most 64 MiB with 2^20 elements, which are 170,000 rules.
Result<Document> document_from_text(std::string_view text);

}  // namespace godwit::migration
