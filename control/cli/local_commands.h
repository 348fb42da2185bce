// SPDX-License-Identifier: Apache-2.0
//
// Turns a command line into a request. Most lines go to the daemon unchanged. Two commands have a
// file on the client's side, which the daemon never opens:
//
//   migration export VM [FILE]         writes the document to FILE, or to standard output without
//                                      FILE or with -
//   migration import FILE [BIND...]    reads the document from FILE, or from standard input with -;
//                                      BIND is NAME=socket:PATH or NAME=port:N
//
// plan() is pure. The other functions read and write files.
#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "base/text.h"

namespace godwit::cli {

// Bounds the memory for a document's file, which has more blanks than the request that carries it.
// The daemon refuses a request of more than 32 MiB or 2^20 elements.
inline constexpr size_t kMaxDocumentBytes = 60u << 20;

struct Plan {
  std::string method = "command";
  nlohmann::json params;
  std::string read_from;         // the file of a document to send as params["document"], if any
  bool prints_document = false;  // the result is a document
  std::string write_to;          // the file for it; empty for standard output
};

// Plans the request for a line. `words` are the words of the line; those of argv may contain
// blanks. An error is a usage error.
Result<Plan> plan(std::string_view line, const std::vector<Token>& words);

// Returns the document in the result of an export: the command's `data`, or its `document`. Returns
// nullptr if there is none.
const nlohmann::json* find_document(const nlohmann::json& result);

Result<nlohmann::json> read_document(const std::string& path);
// Writes the document to a temporary file and renames it, so the file is complete or unchanged.
// Only its owner can read it, since it holds policy.
Result<void> write_document(const std::string& path, const nlohmann::json& document);

}  // namespace godwit::cli
