// SPDX-License-Identifier: Apache-2.0
#include "control/cli/shell.h"

#include <histedit.h>

#include <cstdio>
#include <cstdlib>
#include <memory>
#include <string>

#include "control/cli/render.h"

namespace godwit::cli {
namespace {

constexpr int kHistoryLines = 1000;

struct EndEditLine {
  void operator()(EditLine* editor) const { el_end(editor); }
};
struct EndHistory {
  void operator()(History* history) const { history_end(history); }
};

const char* prompt(EditLine* /*editor*/) { return "godwit> "; }

unsigned char on_tab(EditLine* editor, int /*key*/) {
  void* data = nullptr;
  el_get(editor, EL_CLIENTDATA, &data);
  const LineInfo* info = el_line(editor);
  const std::string line(info->buffer, info->lastchar);
  const auto cursor = static_cast<size_t>(info->cursor - info->buffer);
  const Answer answer =
      static_cast<Client*>(data)->call("complete", {{"line", line}, {"cursor", cursor}});
  if (answer.code != ExitCode::kDone) return CC_REFRESH_BEEP;
  const Insertion insertion = complete(line, cursor, answer.result);
  if (!insertion.text.empty()) {
    return el_insertstr(editor, insertion.text.c_str()) == 0 ? CC_REFRESH : CC_ERROR;
  }
  if (insertion.choices.empty()) return CC_REFRESH_BEEP;
  std::string shown = "\n";
  for (const std::string& choice : insertion.choices) shown += choice + "  ";
  std::printf("%s\n", shown.c_str());
  std::fflush(stdout);
  return CC_REDISPLAY;
}

std::string history_path() {
  const char* const home = std::getenv("HOME");
  return home != nullptr && *home != '\0' ? std::string(home) + "/.godwit_history" : std::string();
}

}  // namespace

ExitCode run_shell(Client& client, Session& session) {
  const std::unique_ptr<EditLine, EndEditLine> editor(el_init("godwit", stdin, stdout, stderr));
  const std::unique_ptr<History, EndHistory> history(history_init());
  if (editor == nullptr || history == nullptr) {
    std::fputs("cannot start the line editor\n", stderr);
    return ExitCode::kUsage;
  }
  const std::string kept = history_path();
  HistEvent event;
  ::history(history.get(), &event, H_SETSIZE, kHistoryLines);
  ::history(history.get(), &event, H_SETUNIQUE, 1);
  if (!kept.empty()) ::history(history.get(), &event, H_LOAD, kept.c_str());
  el_set(editor.get(), EL_EDITOR, "emacs");
  el_set(editor.get(), EL_PROMPT, prompt);
  el_set(editor.get(), EL_SIGNAL, 1);
  el_set(editor.get(), EL_HIST, ::history, history.get());
  el_set(editor.get(), EL_CLIENTDATA, static_cast<void*>(&client));
  el_set(editor.get(), EL_ADDFN, "complete", "complete the word", on_tab);
  el_set(editor.get(), EL_BIND, "^I", "complete", nullptr);

  for (;;) {
    int length = 0;
    const char* const typed = el_gets(editor.get(), &length);
    if (typed == nullptr || length <= 0) {
      std::fputs("\n", stdout);
      break;
    }
    std::string line(typed, static_cast<size_t>(length));
    if (!line.empty() && line.back() == '\n') line.pop_back();
    if (line.find_first_not_of(" \t") == std::string::npos) continue;
    ::history(history.get(), &event, H_ENTER, line.c_str());
    if (Session::ends(line)) break;
    (void)session.run(line);
  }
  if (!kept.empty()) ::history(history.get(), &event, H_SAVE, kept.c_str());
  return ExitCode::kDone;
}

}  // namespace godwit::cli
