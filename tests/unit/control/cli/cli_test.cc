// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <atomic>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <functional>
#include <random>
#include <sstream>
#include <thread>

#include "control/cli/arguments.h"
#include "control/cli/client.h"
#include "control/cli/local_commands.h"
#include "control/cli/render.h"
#include "control/cli/session.h"

namespace godwit::cli {
namespace {

using nlohmann::json;

Result<Arguments> parse(std::vector<const char*> words) {
  words.insert(words.begin(), "godwit");
  return parse_arguments(static_cast<int>(words.size()), words.data());
}

TEST(CliArguments, WordsAreTheCommandAndOptionsMayStandAnywhere) {
  const auto arguments =
      parse({"--timeout", "0.5", "show", "port", "--json", "stats", "all", "--socket", "/s"});
  ASSERT_TRUE(arguments) << arguments.error().message;
  EXPECT_EQ(join_words(arguments->words), "show port stats all");
  EXPECT_TRUE(arguments->json);
  EXPECT_EQ(arguments->socket, "/s");
  EXPECT_EQ(arguments->timeout_s, 0.5);
}

TEST(CliArguments, TheSocketComesFromTheEnvironmentUnlessItIsGiven) {
  unsetenv(kSocketVariable);
  EXPECT_EQ(parse({"version"})->socket, kDefaultSocket);
  setenv(kSocketVariable, "/from/environment", 1);
  EXPECT_EQ(parse({"version"})->socket, "/from/environment");
  EXPECT_EQ(parse({"--socket", "/given", "version"})->socket, "/given");
  unsetenv(kSocketVariable);
}

TEST(CliArguments, WhatIsNotUnderstoodIsRefused) {
  EXPECT_FALSE(parse({"--nonsense"}));
  EXPECT_FALSE(parse({"show", "-x"}));
  EXPECT_FALSE(parse({"--timeout", "soon"}));
  EXPECT_FALSE(parse({"--timeout", "-1"}));
  EXPECT_FALSE(parse({"--socket"}));
  EXPECT_FALSE(parse({"-f", "file", "show"}));
}

TEST(CliArguments, HelpAndVersionAreAnswersOfTheirOwn) {
  EXPECT_NE(parse({"--help"})->answer.find("Exit codes"), std::string::npos);
  EXPECT_TRUE(parse({"--version"})->answer.starts_with("godwit "));
}

json refusal(uint32_t column) {
  return {{"message", "unknown item"}, {"data", {{"column", column}, {"expected", "eth, ipv4"}}}};
}

TEST(CliRender, TheCaretStandsUnderTheColumn) {
  EXPECT_EQ(error_text(refusal(6), "flow etj"),
            "unknown item\n  flow etj\n       ^\n  expected: eth, ipv4\n");
  EXPECT_EQ(error_text(refusal(9), "flow etj"),
            "unknown item\n  flow etj\n          ^\n  expected: eth, ipv4\n");
  EXPECT_EQ(error_text(refusal(3), "\tflow"),
            "unknown item\n  \tflow\n  \t ^\n  expected: eth, ipv4\n");
  EXPECT_EQ(error_text(refusal(4), "\xc3\xa9 x"),
            "unknown item\n  \xc3\xa9 x\n    ^\n  expected: eth, ipv4\n");
}

TEST(CliRender, AColumnOutsideTheLineShowsNoCaret) {
  EXPECT_EQ(error_text(refusal(10), "flow etj"), "unknown item\n  expected: eth, ipv4\n");
  EXPECT_EQ(error_text(refusal(0), "flow etj"), "unknown item\n  expected: eth, ipv4\n");
}

TEST(CliRender, AnyErrorHasAMessage) {
  for (const json& error :
       {json(), json(3), json::object(), json{{"message", 4}}, json{{"data", "x"}},
        json{{"data", {{"column", "x"}, {"expected", 7}}}}, json{{"data", {{"column", -4}}}}}) {
    EXPECT_EQ(error_text(error, "line"), "refused without a reason\n") << error;
  }
  EXPECT_EQ(error_text({{"message", "no"}}, "line", "a:3"), "a:3: no\n");
}

TEST(CliRender, AResultIsItsTextOrAsJsonItsData) {
  const json result = {{"text", "two lines\nof text"}, {"data", {{"a", 1}}}};
  EXPECT_EQ(result_text(result, false), "two lines\nof text\n");
  EXPECT_EQ(result_text(result, true), "{\n  \"a\": 1\n}\n");
  EXPECT_EQ(result_text({{"text", ""}}, false), "");
  EXPECT_EQ(result_text({{"a", 1}}, false),
            "{\n  \"a\": 1\n}\n");  // of a method that is no command
}

TEST(CliRender, CompletionPutsInWhatAllCandidatesShare) {
  const auto put = [](std::string_view line, std::vector<std::string> candidates) {
    return complete(line, line.size(), {{"candidates", candidates}});
  };
  EXPECT_EQ(put("flow cr", {"create"}).text, "eate ");
  EXPECT_EQ(put("flow ", {"create", "cream"}).text, "crea");
  EXPECT_EQ(put("flow ", {"create", "list"}).text, "");
  EXPECT_EQ(put("flow ", {"create", "list"}).choices, (std::vector<std::string>{"create", "list"}));
  EXPECT_EQ(put("flow x", {"create"}).text, "");
  EXPECT_EQ(complete("sh endpoints", 2, {{"candidates", {{{"word", "show"}, {"help", "?"}}}}}).text,
            "ow ");
  EXPECT_EQ(complete("ttl ", 4, {{"candidates", json::array()}, {"value", "a number"}}).choices,
            (std::vector<std::string>{"<a number>"}));
  EXPECT_TRUE(complete("a", 99, {{"candidates", {1, nullptr, json::object()}}}).choices.empty());
  EXPECT_TRUE(complete("a", 0, "rubbish").text.empty());
}

Result<Plan> plan_line(const std::string& line) {
  std::istringstream in(line);
  std::vector<std::string> words;
  for (std::string word; in >> word;) words.push_back(word);
  return plan(line, words);
}

TEST(CliPlan, MostLinesGoAsTheyAre) {
  for (const char* line : {"show endpoints", "migration rewrite vm1", "migration",
                           "migrate start vm1 host-b", "flow list 0"}) {
    const auto made = plan_line(line);
    ASSERT_TRUE(made);
    EXPECT_EQ(made->method, "command");
    EXPECT_EQ(made->params, (json{{"line", line}}));
    EXPECT_FALSE(made->prints_document);
  }
}

TEST(CliPlan, AnExportsFileStaysHere) {
  const auto made = plan_line("migration export vm1 out.json");
  ASSERT_TRUE(made);
  EXPECT_EQ(made->params, (json{{"line", "migration export vm1"}}));
  EXPECT_EQ(made->write_to, "out.json");
  EXPECT_EQ(plan_line("migration export vm1")->write_to, "");
  EXPECT_TRUE(plan_line("migration export vm1")->prints_document);
  EXPECT_FALSE(plan_line("migration export vm1 a b"));
}

TEST(CliPlan, AnImportsBindingsAreRead) {
  const auto made = plan_line("migration import in.json vm1/net0=socket:/a/b.sock vm1/net1=port:7");
  ASSERT_TRUE(made);
  EXPECT_EQ(made->method, "migration.import");
  EXPECT_EQ(made->read_from, "in.json");
  EXPECT_EQ(made->params["bind"],
            (json{{"vm1/net0", {{"socket", "/a/b.sock"}}}, {"vm1/net1", {{"port", 7}}}}));
}

TEST(CliPlan, ABindingThatIsNoneIsRefusedWithItsColumn) {
  for (const char* bind :
       {"vm1/net0", "=port:1", "a=", "a=port:", "a=port:x", "a=port:65536", "a=socket:", "a=x:1"}) {
    const auto made = plan_line(std::string("migration import in.json ") + bind);
    ASSERT_FALSE(made) << bind;
    EXPECT_EQ(made.error().column, 26u) << bind;
    EXPECT_EQ(made.error().token, bind);
  }
  EXPECT_FALSE(plan_line("migration import in.json a=port:1 a=port:2"));
  EXPECT_FALSE(plan_line("migration import"));
}

TEST(CliPlan, TheDocumentIsFoundWhereverItIs) {
  const json document = {{"vm", "vm1"}};
  EXPECT_EQ(*find_document({{"text", "..."}, {"data", document}}), document);
  EXPECT_EQ(*find_document({{"data", {{"document", document}}}}), document);
  EXPECT_EQ(find_document({{"data", nullptr}}), nullptr);
  EXPECT_EQ(find_document({{"data", json::object()}}), nullptr);
  EXPECT_EQ(find_document("text"), nullptr);
}

class Folder : public testing::Test {
 protected:
  Folder() {
    char name[] = "/tmp/godwit-cli-test.XXXXXX";
    folder_ = mkdtemp(name);
  }
  ~Folder() override { std::filesystem::remove_all(folder_); }
  [[nodiscard]] std::string path(const std::string& name) const { return folder_ + "/" + name; }
  void put(const std::string& name, const std::string& text) const {
    std::ofstream(path(name)) << text;
  }
  [[nodiscard]] std::string get(const std::string& name) const {
    std::ostringstream text;
    text << std::ifstream(path(name)).rdbuf();
    return text.str();
  }
  [[nodiscard]] size_t files() const {
    return static_cast<size_t>(std::distance(std::filesystem::directory_iterator(folder_), {}));
  }
  std::string folder_;
};

using CliDocument = Folder;

TEST_F(CliDocument, IsWrittenWholeAndReadBack) {
  const json document = {{"vm", "vm1"}, {"rules", {1, 2, 3}}};
  put("d.json", "what was there before");
  ASSERT_TRUE(write_document(path("d.json"), document));
  EXPECT_EQ(*read_document(path("d.json")), document);
  EXPECT_EQ(files(), 1u);  // no temporary file left
}

TEST_F(CliDocument, AFolderThatTakesNoFileIsAnErrorAndLeavesNothing) {
  EXPECT_FALSE(write_document(path("no/such/folder"), {{"a", 1}}));
  std::filesystem::create_directory(path("folder"));
  EXPECT_FALSE(write_document(path("folder"), {{"a", 1}}));
  EXPECT_EQ(files(), 1u);
}

TEST_F(CliDocument, WhatIsNoDocumentIsRefused) {
  put("empty", "");
  put("list", "[1]");
  put("cut", "{\"vm\": \"vm");
  for (const char* name : {"empty", "list", "cut", "missing", "."})
    EXPECT_FALSE(read_document(path(name))) << name;
}

// A daemon that answers each line with what `handler` makes of it; empty: it closes the connection.
class FakeDaemon {
 public:
  using Handler = std::function<std::string(const std::string& line)>;
  FakeDaemon(const std::string& path, Handler handler) : path_(path), handler_(std::move(handler)) {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    std::strncpy(address.sun_path, path.c_str(), sizeof(address.sun_path) - 1);
    listener_ = socket(AF_UNIX, SOCK_STREAM, 0);
    EXPECT_EQ(bind(listener_, reinterpret_cast<sockaddr*>(&address), sizeof(address)), 0);
    EXPECT_EQ(listen(listener_, 4), 0);
    thread_ = std::thread([this] { serve(); });
  }
  ~FakeDaemon() {
    shutdown(listener_, SHUT_RDWR);
    if (const int open = connection_.load(); open >= 0) shutdown(open, SHUT_RDWR);
    thread_.join();
    close(listener_);
    unlink(path_.c_str());
  }
  std::atomic<int> connections{0};

 private:
  void serve() {
    for (int one; (one = accept(listener_, nullptr, nullptr)) >= 0; close(one)) {
      ++connections;
      connection_ = one;
      std::string line;
      for (char c; read(one, &c, 1) == 1;) {
        if (c != '\n') {
          line += c;
          continue;
        }
        const std::string answer = handler_(line);
        line.clear();
        if (answer.empty()) break;
        for (size_t at = 0; at < answer.size();) {  // in pieces, as a socket may
          const ssize_t wrote =
              send(one, answer.data() + at, std::min<size_t>(answer.size() - at, 7), MSG_NOSIGNAL);
          if (wrote <= 0) break;
          at += static_cast<size_t>(wrote);
        }
      }
      connection_ = -1;
    }
  }
  const std::string path_;
  const Handler handler_;
  int listener_ = -1;
  std::atomic<int> connection_{-1};
  std::thread thread_;
};

// Refuses lines that begin with "bad"; otherwise says the method and the parameters back.
std::string echo(const std::string& line) {
  const json request = json::parse(line);
  json answer = {{"jsonrpc", "2.0"}, {"id", request["id"]}};
  const json& params = request["params"];
  const std::string text = params.value("line", params.dump());
  if (text.starts_with("bad")) {
    answer["error"] = {{"code", -32000}, {"message", "no such thing"}, {"data", {{"column", 1}}}};
  } else {
    answer["result"] = {{"text", text},
                        {"data", {{"method", request["method"]}, {"params", params}}}};
  }
  return answer.dump() + "\n";
}

class CliSession : public Folder {
 protected:
  [[nodiscard]] std::string socket() const { return path("s"); }
  std::ostringstream out_;
  std::ostringstream err_;
};

TEST_F(CliSession, ACommandsTextIsPrinted) {
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

TEST_F(CliSession, ARefusalShowsTheLineAndTheCaret) {
  FakeDaemon daemon(socket(), echo);
  Client client(socket(), 5);
  Session session(client, false, out_, err_);
  EXPECT_EQ(session.run("bad word"), ExitCode::kRefused);
  EXPECT_EQ(err_.str(), "no such thing\n  bad word\n  ^\n");
  EXPECT_EQ(out_.str(), "");
}

TEST_F(CliSession, AsJsonResultsAndErrorsAreOnStandardOutput) {
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

TEST_F(CliSession, AFileStopsAtTheFirstFailureAndSaysWhere) {
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

TEST_F(CliSession, LinesGoOnAfterARefusal) {
  FakeDaemon daemon(socket(), echo);
  Client client(socket(), 5);
  Session session(client, false, out_, err_);
  std::istringstream in("one\nbad\ntwo\nquit\nthree\n");
  EXPECT_EQ(session.run_lines(in), ExitCode::kRefused);
  EXPECT_EQ(out_.str(), "one\ntwo\n");
}

TEST_F(CliSession, ADocumentGoesToAFileAndComesBack) {
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

TEST_F(CliSession, AnExportThatIsRefusedLeavesNoFile) {
  FakeDaemon daemon(socket(), [](const std::string& line) {
    return json{{"id", json::parse(line)["id"]}, {"error", {{"message", "no VM vm9"}}}}.dump() +
           "\n";
  });
  Client client(socket(), 5);
  Session session(client, false, out_, err_);
  EXPECT_EQ(session.run_words({"migration", "export", "vm9", path("d")}), ExitCode::kRefused);
  EXPECT_FALSE(std::filesystem::exists(path("d")));
}

TEST_F(CliSession, AUsageErrorSendsNothing) {
  Client client(socket(), 5);  // nobody there
  Session session(client, false, out_, err_);
  EXPECT_EQ(session.run("migration import f a=b"), ExitCode::kUsage);
  EXPECT_EQ(session.run("migration import missing"), ExitCode::kRefused);
  EXPECT_EQ(session.run("show fdb"), ExitCode::kUnreachable);
}

using CliClient = CliSession;

TEST_F(CliClient, WithoutADaemonItSaysSo) {
  Client client(socket(), 5);
  const Answer answer = client.call("version", json::object());
  EXPECT_EQ(answer.code, ExitCode::kUnreachable);
  EXPECT_NE(answer.error["message"].get<std::string>().find(socket()), std::string::npos);
  Client nameless(std::string(500, 'x'), 5);
  EXPECT_EQ(nameless.call("version", json::object()).code, ExitCode::kUnreachable);
}

TEST_F(CliClient, AnAnswerThatNeverComesIsUnreachable) {
  FakeDaemon daemon(
      socket(), [](const std::string&) { return std::string("{\"id\""); });  // and no end of line
  Client client(socket(), 0.2);
  const Answer answer = client.call("version", json::object());
  EXPECT_EQ(answer.code, ExitCode::kUnreachable);
  EXPECT_NE(answer.error["message"].get<std::string>().find("in time"), std::string::npos);
}

TEST_F(CliClient, ConnectsAgainAfterARestart) {
  Client client(socket(), 5);
  {
    FakeDaemon daemon(socket(), echo);
    EXPECT_EQ(client.call("version", json::object()).code, ExitCode::kDone);
  }
  FakeDaemon daemon(socket(), echo);
  EXPECT_EQ(client.call("version", json::object()).code, ExitCode::kDone);
}

TEST_F(CliClient, AnyRubbishIsUnreachableAndNothingWorse) {
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

TEST_F(CliClient, ALargeAnswerComesWhole) {
  const std::string large(3u << 20, 'x');
  FakeDaemon daemon(socket(), [&](const std::string& line) {
    return json{{"id", json::parse(line)["id"]}, {"result", {{"text", large}}}}.dump() + "\n";
  });
  Client client(socket(), 30);
  EXPECT_EQ(client.call("x", json::object()).result["text"].get<std::string>().size(),
            large.size());
}

TEST_F(CliClient, BytesThatAreNoUtf8AreSentAsJson) {
  FakeDaemon daemon(socket(), echo);
  Client client(socket(), 5);
  EXPECT_EQ(client.call("command", {{"line", "show \xff\xc3"}}).code, ExitCode::kDone);
}

}  // namespace
}  // namespace godwit::cli
