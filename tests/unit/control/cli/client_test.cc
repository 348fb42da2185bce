// SPDX-License-Identifier: Apache-2.0
#include "control/cli/client.h"

#include <gtest/gtest.h>

#include <random>

#include "tests/unit/control/cli/fake_daemon.h"

namespace godwit::cli {
namespace {

using nlohmann::json;
using ClientTest = DaemonTest;

TEST_F(ClientTest, WithoutDaemon_IsUnreachable) {
  Client client(socket(), 5);
  const Answer answer = client.call("version", json::object());
  EXPECT_EQ(answer.code, ExitCode::kUnreachable);
  EXPECT_NE(answer.error["message"].get<std::string>().find(socket()), std::string::npos);
  Client nameless(std::string(500, 'x'), 5);
  EXPECT_EQ(nameless.call("version", json::object()).code, ExitCode::kUnreachable);
}

TEST_F(ClientTest, AnswerAfterTimeout_IsUnreachable) {
  FakeDaemon daemon(
      socket(), [](const std::string&) { return std::string("{\"id\""); });  // without a newline
  Client client(socket(), 0.2);
  const Answer answer = client.call("version", json::object());
  EXPECT_EQ(answer.code, ExitCode::kUnreachable);
  EXPECT_NE(answer.error["message"].get<std::string>().find("in time"), std::string::npos);
}

TEST_F(ClientTest, AfterDaemonRestart_ConnectsAgain) {
  Client client(socket(), 5);
  {
    FakeDaemon daemon(socket(), echo);
    EXPECT_EQ(client.call("version", json::object()).code, ExitCode::kDone);
  }
  FakeDaemon daemon(socket(), echo);
  EXPECT_EQ(client.call("version", json::object()).code, ExitCode::kDone);
}

TEST_F(ClientTest, MalformedAnswer_IsUnreachable) {
  const char* const answers[] = {"",
                                 "\n",
                                 "[]\n",
                                 "3\n",
                                 "{}\n",
                                 "{\"id\":1}\n",
                                 "{\"id\":7,\"result\":1}\n",
                                 "{\"id\":\"1\",\"result\":1}\n",
                                 "{\"id\":1,\"error\":3}\n",
                                 "\xff\xfe\n"};
  for (const char* said : answers) {
    FakeDaemon daemon(socket(), [said](const std::string&) { return std::string(said); });
    Client client(socket(), 5);
    EXPECT_EQ(client.call("version", json::object()).code, ExitCode::kUnreachable) << said;
  }
}

TEST_F(ClientTest, LargeAnswer_IsReadCompletely) {
  const std::string large(3u << 20, 'x');
  FakeDaemon daemon(socket(), [&](const std::string& line) {
    return json{{"id", json::parse(line)["id"]}, {"result", {{"text", large}}}}.dump() + "\n";
  });
  Client client(socket(), 30);
  EXPECT_EQ(client.call("x", json::object()).result["text"].get<std::string>().size(),
            large.size());
}

TEST_F(ClientTest, LineWithBadUtf8_IsSentAsValidJson) {
  FakeDaemon daemon(socket(), echo);
  Client client(socket(), 5);
  EXPECT_EQ(client.call("command", {{"line", "show \xff\xc3"}}).code, ExitCode::kDone);
}

}  // namespace
}  // namespace godwit::cli
