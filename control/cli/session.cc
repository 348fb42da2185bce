// SPDX-License-Identifier: Apache-2.0
#include "control/cli/session.h"

#include <fstream>
#include <iostream>
#include <ostream>

#include "base/text.h"
#include "control/cli/arguments.h"
#include "control/cli/local_commands.h"
#include "control/cli/render.h"

namespace godwit::cli {
namespace {

using nlohmann::json;

bool is_end(const std::vector<Token>& words) {
  return words.size() == 1 && (words[0].text == "quit" || words[0].text == "exit");
}

}  // namespace

bool Session::ends(std::string_view line) { return is_end(tokenize(line)); }

ExitCode Session::report(ExitCode code, const json& error, std::string_view line,
                         std::string_view place) {
  if (json_) {
    json whole = {{"error", error}};
    if (!place.empty()) whole["place"] = place;
    out_ << whole.dump(2, ' ', false, json::error_handler_t::replace) << std::endl;
  } else {
    out_ << std::flush;
    err_ << error_text(error, line, place) << std::flush;
  }
  return code;
}

ExitCode Session::run(const std::string& line, std::string_view place) {
  return run(line, tokenize(line), place);
}

ExitCode Session::run_words(const std::vector<std::string>& words) {
  const std::string line = join_words(words);
  return run(line, tokens_of(line, words), {});
}

ExitCode Session::run(std::string_view line, const std::vector<Token>& words,
                      std::string_view place) {
  if (words.empty() || is_end(words)) return ExitCode::kDone;
  auto planned = plan(line, words);
  if (!planned) return report(ExitCode::kUsage, to_json(planned.error()), line, place);
  if (!planned->read_from.empty()) {
    auto document = read_document(planned->read_from);
    if (!document) return report(ExitCode::kRefused, to_json(document.error()), line, place);
    planned->params["document"] = std::move(*document);
  }
  const Answer answer = client_.call(planned->method, planned->params);
  if (answer.code != ExitCode::kDone) return report(answer.code, answer.error, line, place);
  if (!planned->prints_document) {
    out_ << result_text(answer.result, json_) << std::flush;
    return ExitCode::kDone;
  }
  const json* const document = find_document(answer.result);
  if (document == nullptr) {
    return report(ExitCode::kUnreachable,
                  {{"code", 0}, {"message", "the answer holds no document"}}, line, place);
  }
  if (planned->write_to.empty()) {
    out_ << document->dump(2, ' ', false, json::error_handler_t::replace) << std::endl;
  } else if (const auto wrote = write_document(planned->write_to, *document); !wrote) {
    return report(ExitCode::kRefused, to_json(wrote.error()), line, place);
  } else if (json_) {
    out_ << json{{"file", planned->write_to}}.dump(2, ' ', false, json::error_handler_t::replace)
         << std::endl;
  }
  return ExitCode::kDone;
}

ExitCode Session::run_file(const std::string& path) {
  const json unreadable = {{"code", 0}, {"message", path + ": cannot be read"}};
  std::ifstream file;
  if (path != "-") file.open(path);
  if (path != "-" && !file) return report(ExitCode::kRefused, unreadable, {}, {});
  std::istream& in = path == "-" ? std::cin : file;
  std::string line;
  for (size_t number = 1; std::getline(in, line); ++number) {
    if (ends(line)) break;
    const ExitCode code = run(line, path + ":" + std::to_string(number));
    if (code != ExitCode::kDone) return code;
  }
  // A directory can be opened, but not read.
  return in.bad() ? report(ExitCode::kRefused, unreadable, {}, {}) : ExitCode::kDone;
}

ExitCode Session::run_lines(std::istream& in) {
  ExitCode first = ExitCode::kDone;
  std::string line;
  while (std::getline(in, line) && !ends(line)) {
    const ExitCode code = run(line);
    if (first == ExitCode::kDone) first = code;
    if (code == ExitCode::kUnreachable) break;
  }
  return first;
}

}  // namespace godwit::cli
