// SPDX-License-Identifier: Apache-2.0
//
// From words to a request. Most commands go to the daemon as the line they are; two have a file on
// the client's side, which the daemon never opens:
//
//   migration export VM [FILE]         the document goes to FILE (-, or none: standard output)
//   migration import FILE [BIND...]    the document comes from FILE (-: standard input);
//                                      BIND: NAME=socket:PATH | NAME=port:N
//
// plan() is pure; the rest reads and writes files.
#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace godwit::cli {

inline constexpr size_t kMaxDocumentBytes =
    60u << 20;  // so that a request is below the daemon's longest line

struct Plan {
  std::string method = "command";
  nlohmann::json params;
  std::string read_from;  // a document to put in params["document"]; empty: none
  bool prints_document =
      false;  // the result is a document, for `write_to` (empty: standard output)
  std::string write_to;
};

// `words` are those of `line`, or of argv, where a file's name may hold blanks. An error is a usage
// error.
Result<Plan> plan(std::string_view line, const std::vector<std::string>& words);

// The document in an export's result: `data` of a command, itself or its `document`. nullptr: there
// is none.
const nlohmann::json* find_document(const nlohmann::json& result);

Result<nlohmann::json> read_document(const std::string& path);
// Whole or not at all: a temporary file beside it is renamed. Readable by its owner alone: it is
// policy.
Result<void> write_document(const std::string& path, const nlohmann::json& document);

}  // namespace godwit::cli
