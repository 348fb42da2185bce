// SPDX-License-Identifier: Apache-2.0
#include "control/cli/local_commands.h"

#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <iostream>

#include "base/text.h"

namespace godwit::cli {
namespace {

using nlohmann::json;

Unexpected usage(const Token& word, std::string message, std::string expected) {
  return fail(Error{.message = std::move(message),
                    .column = word.column,
                    .token = std::string(word.text),
                    .expected = std::move(expected)});
}

// Reads the bindings behind `migration import FILE`.
Result<json> parse_bindings(const std::vector<Token>& words) {
  constexpr const char* kExpected = "NAME=socket:PATH or NAME=port:N";
  json bind = json::object();
  for (size_t i = 3; i < words.size(); ++i) {
    const std::string word(words[i].text);
    const size_t equals = word.find('=');
    const std::string name = word.substr(0, equals);
    const std::string where = equals == std::string::npos ? "" : word.substr(equals + 1);
    if (name.empty() || where.empty()) return usage(words[i], "not a binding", kExpected);
    if (bind.contains(name)) return usage(words[i], name + " is bound twice", kExpected);
    if (where.starts_with("socket:") && where.size() > 7) {
      bind[name] = {{"socket", where.substr(7)}};
    } else if (const auto port =
                   where.starts_with("port:") ? to_number(where.substr(5), 65535) : std::nullopt) {
      bind[name] = {{"port", *port}};
    } else {
      return usage(words[i], "not a binding", kExpected);
    }
  }
  return bind;
}

Error file_error(const std::string& path, const char* what) {
  return Error{.message = path + ": " + what};
}

bool write_all(int file, const std::string& text) {
  size_t done = 0;
  while (done < text.size()) {
    const ssize_t wrote = ::write(file, text.data() + done, text.size() - done);
    if (wrote < 0 && errno != EINTR) return false;
    if (wrote > 0) done += static_cast<size_t>(wrote);
  }
  return fsync(file) == 0;
}

}  // namespace

Result<Plan> plan(std::string_view line, const std::vector<Token>& words) {
  Plan out;
  out.params = {{"line", line}};
  if (words.size() < 2 || words[0].text != "migration") return out;
  if (words[1].text == "export" && words.size() >= 3) {
    if (words.size() > 4) return usage(words[4], "more than one file", "the end of the line");
    out.params["line"] = "migration export " + std::string(words[2].text);
    out.prints_document = true;
    if (words.size() == 4 && words[3].text != "-") out.write_to = words[3].text;
  } else if (words[1].text == "import") {
    if (words.size() < 3)
      return fail(Error{.message = "the line names no file",
                        .expected = "FILE [NAME=socket:PATH|NAME=port:N]..."});
    auto bind = parse_bindings(words);
    if (!bind) return fail(std::move(bind).error());
    out.method = "migration.import";
    out.params = {{"bind", std::move(*bind)}};
    out.read_from = words[2].text;
  }
  return out;
}

const json* find_document(const json& result) {
  const json* data = &result;
  if (const auto inner = result.find("data"); result.is_object() && inner != result.end())
    data = &*inner;
  if (!data->is_object() || data->empty()) return nullptr;
  const auto document = data->find("document");
  return document != data->end() && document->is_object() ? &*document : data;
}

Result<json> read_document(const std::string& path) {
  std::ifstream file;
  if (path != "-") {
    struct stat about {};
    if (stat(path.c_str(), &about) != 0) return fail(file_error(path, std::strerror(errno)));
    if (S_ISDIR(about.st_mode)) return fail(file_error(path, "is a directory"));
    file.open(path, std::ios::binary);
    if (!file) return fail(file_error(path, std::strerror(errno)));
  }
  std::istream& in = path == "-" ? std::cin : file;
  std::string text;
  std::string part(1u << 16, '\0');
  while (in.read(part.data(), static_cast<std::streamsize>(part.size())), in.gcount() > 0) {
    text.append(part, 0, static_cast<size_t>(in.gcount()));
    if (text.size() > kMaxDocumentBytes)
      return fail(file_error(path, "too long for an export document"));
  }
  json document = json::parse(text, nullptr, false);
  if (!document.is_object())
    return fail(file_error(path, "not a JSON object, so not an export document"));
  return document;
}

Result<void> write_document(const std::string& path, const json& document) {
  std::string temporary = path + ".XXXXXX";
  const int file = mkstemp(temporary.data());
  if (file < 0) return fail(file_error(path, std::strerror(errno)));
  const bool written =
      write_all(file, document.dump(2, ' ', false, json::error_handler_t::replace) + "\n");
  const int why = errno;
  ::close(file);
  if (written && std::rename(temporary.c_str(), path.c_str()) == 0) return {};
  const int reason = written ? errno : why;
  unlink(temporary.c_str());
  return fail(file_error(path, std::strerror(reason)));
}

}  // namespace godwit::cli
