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

// Bounds the memory for a document's file. The file is indented, so it may be longer than the
// request that carries it. The daemon refuses a request of more than 32 MiB or 2^20 elements.
inline constexpr size_t kMaxDocumentBytes = 60u << 20;

// A request, and the files that belong to it.
struct Plan {
  std::string method = "command";  // the JSON-RPC method; "command" takes a line as typed
  nlohmann::json params;
  std::string read_from;         // the file of a document to send as params["document"], if any
  bool prints_document = false;  // the result is a document, which goes to `write_to`
  std::string write_to;          // the file for the document; empty for standard output
};

// Plans the request for a line. `words` are the words of the line; a word that comes from argv may
// contain blanks. An error means that the line is wrong (ExitCode::kUsage).
Result<Plan> plan(std::string_view line, const std::vector<Token>& words);

// Returns the document in the result of an export. It is the member `document` of the result's
// `data`, or `data` itself if it has no such member. A result without `data` takes its place.
// Returns nullptr if there is no document.
const nlohmann::json* find_document(const nlohmann::json& result);

// Reads a document from the file, or from standard input if the path is "-". Returns an error if
// the file cannot be read, has more than kMaxDocumentBytes, or is not a JSON object.
Result<nlohmann::json> read_document(const std::string& path);
// Writes the document to a temporary file and renames it, so the file is complete or unchanged.
// Only its owner can read it, since it holds policy.
Result<void> write_document(const std::string& path, const nlohmann::json& document);

}  // namespace godwit::cli
