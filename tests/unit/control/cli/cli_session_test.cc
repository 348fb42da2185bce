// SPDX-License-Identifier: Apache-2.0
#include "control/cli/session.h"

#include <gtest/gtest.h>

#include <sstream>

#include "tests/unit/control/cli/fake_daemon.h"

namespace godwit::cli {
namespace {

using nlohmann::json;
using SessionTest = DaemonTest;

TEST_F(SessionTest, Command_PrintsItsText) {
  FakeDaemon daemon(socket(), echo);
  Client client(socket(), 5);
  Session session(client, false, out_, err_);
  EXPECT_EQ(session.run_words({"show", "endpoints"}), ExitCode::kDone);
  EXPECT_EQ(session.run("show drops"), ExitCode::kDone);
  EXPECT_EQ(session.run("  # a comment"), ExitCode::kDone);
  EXPECT_EQ(out_.str(), "show endpoints\nshow drops\n");
  EXPECT_EQ(err_.str(), "");
  EXPECT_EQ(daemon.connections, 1);
}

TEST_F(SessionTest, RefusedCommand_ShowsTheLineAndACaret) {
  FakeDaemon daemon(socket(), echo);
  Client client(socket(), 5);
  Session session(client, false, out_, err_);
  EXPECT_EQ(session.run("bad word"), ExitCode::kRefused);
  EXPECT_EQ(err_.str(), "no such thing\n  bad word\n  ^\n");
  EXPECT_EQ(out_.str(), "");
}

TEST_F(SessionTest, WithJson_ResultsAndErrorsGoToStandardOutput) {
  FakeDaemon daemon(socket(), echo);
  Client client(socket(), 5);
  Session session(client, true, out_, err_);
  EXPECT_EQ(session.run("show fdb"), ExitCode::kDone);
  EXPECT_EQ(json::parse(out_.str())["method"], "command");
  out_.str("");
  EXPECT_EQ(session.run("bad"), ExitCode::kRefused);
  EXPECT_EQ(json::parse(out_.str())["error"]["message"], "no such thing");
  EXPECT_EQ(err_.str(), "");
}

TEST_F(SessionTest, File_StopsAtTheFirstFailureAndNamesTheLine) {
  FakeDaemon daemon(socket(), echo);
  Client client(socket(), 5);
  Session session(client, false, out_, err_);
  put("commands", "# first\n\none\nbad two\nthree\n");
  EXPECT_EQ(session.run_file(path("commands")), ExitCode::kRefused);
  EXPECT_EQ(out_.str(), "one\n");
  EXPECT_TRUE(err_.str().starts_with(path("commands") + ":4: no such thing\n")) << err_.str();
  put("commands", "one\nquit\nbad\n");
  EXPECT_EQ(session.run_file(path("commands")), ExitCode::kDone);
  EXPECT_EQ(session.run_file(path("missing")), ExitCode::kRefused);
  EXPECT_EQ(session.run_file(folder_), ExitCode::kRefused);
}

TEST_F(SessionTest, Lines_ContinueAfterARefusal) {
  FakeDaemon daemon(socket(), echo);
  Client client(socket(), 5);
  Session session(client, false, out_, err_);
  std::istringstream in("one\nbad\ntwo\nquit\nthree\n");
  EXPECT_EQ(session.run_lines(in), ExitCode::kRefused);
  EXPECT_EQ(out_.str(), "one\ntwo\n");
}

TEST_F(SessionTest, ExportedDocument_CanBeImportedAgain) {
  FakeDaemon daemon(socket(), echo);
  Client client(socket(), 5);
  Session session(client, true, out_, err_);
  EXPECT_EQ(session.run_words({"migration", "export", "vm1", path("a file")}), ExitCode::kDone);
  EXPECT_EQ(json::parse(get("a file"))["params"]["line"], "migration export vm1");
  out_.str("");
  EXPECT_EQ(session.run_words({"migration", "import", path("a file"), "vm1/net0=port:3"}),
            ExitCode::kDone);
  const json said = json::parse(out_.str());
  EXPECT_EQ(said["method"], "migration.import");
  EXPECT_EQ(said["params"]["document"], json::parse(get("a file")));
  EXPECT_EQ(said["params"]["bind"], (json{{"vm1/net0", {{"port", 3}}}}));
}

TEST_F(SessionTest, ExportToAFileWhoseNameIsNotUtf8_IsReported) {
  FakeDaemon daemon(socket(), echo);
  Client client(socket(), 5);
  Session session(client, true, out_, err_);
  EXPECT_EQ(session.run_words({"migration", "export", "vm1", path("a\xff")}), ExitCode::kDone);
  EXPECT_TRUE(json::accept(out_.str())) << out_.str();
}

TEST_F(SessionTest, RefusedExport_LeavesNoFile) {
  FakeDaemon daemon(socket(), [](const std::string& line) {
    return json{{"id", json::parse(line)["id"]}, {"error", {{"message", "no VM vm9"}}}}.dump() +
           "\n";
  });
  Client client(socket(), 5);
  Session session(client, false, out_, err_);
  EXPECT_EQ(session.run_words({"migration", "export", "vm9", path("d")}), ExitCode::kRefused);
  EXPECT_FALSE(std::filesystem::exists(path("d")));
}

TEST_F(SessionTest, UsageError_SendsNothing) {
  Client client(socket(), 5);  // no daemon
  Session session(client, false, out_, err_);
  EXPECT_EQ(session.run("migration import f a=b"), ExitCode::kUsage);
  EXPECT_EQ(session.run("migration import missing"), ExitCode::kRefused);
  EXPECT_EQ(session.run("show fdb"), ExitCode::kUnreachable);
}

}  // namespace
}  // namespace godwit::cli
