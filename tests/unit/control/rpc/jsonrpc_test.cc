// SPDX-License-Identifier: Apache-2.0
#include "control/rpc/jsonrpc.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <random>

#include "base/json_bounds.h"

namespace godwit::control {
namespace {

using nlohmann::json;

bool echo(const std::string& method, const json& params, json& result, RpcError& error) {
  if (method == "echo") {
    result = params;
    return true;
  }
  if (method == "refuse") {
    error = RpcError{kRefused, Error{"no", 2, 7, "tok", "another"}};
  } else {
    error = RpcError{kMethodNotFound, Error{"no method"}};
  }
  return false;
}
json ask(std::string_view line) { return json::parse(answer_line(line, echo)); }

TEST(JsonRpc, Request_IsAnsweredWithItsId) {
  EXPECT_EQ(ask(R"({"jsonrpc":"2.0","id":7,"method":"echo","params":{"a":[1]}})"),
            (json{{"jsonrpc", "2.0"}, {"id", 7}, {"result", {{"a", {1}}}}}));
  EXPECT_EQ(ask(R"({"jsonrpc":"2.0","id":"x","method":"echo"})")["id"], "x");
  EXPECT_EQ(ask(R"({"jsonrpc":"2.0","id":null,"method":"echo"})")["result"], json::object());
}

TEST(JsonRpc, Error_CarriesTheKnownFields) {
  const json error = ask(R"({"jsonrpc":"2.0","id":1,"method":"refuse"})")["error"];
  EXPECT_EQ(
      error,
      (json{{"code", -32000},
            {"message", "no"},
            {"data", {{"line", 2}, {"column", 7}, {"token", "tok"}, {"expected", "another"}}}}));
  EXPECT_FALSE(ask(R"({"jsonrpc":"2.0","id":1,"method":"x"})")["error"].contains("data"));
}

TEST(JsonRpc, Notification_IsNotAnswered) {
  EXPECT_EQ(answer_line(R"({"jsonrpc":"2.0","method":"echo"})", echo), "");
  EXPECT_EQ(answer_line(R"({"jsonrpc":"2.0","method":"refuse"})", echo), "");
}

TEST(JsonRpc, LineThatIsNotARequest_IsRefused) {
  const struct {
    std::string line;
    int code;
  } lines[] = {
      {"", kParseError},
      {"{", kParseError},
      {"nonsense", kParseError},
      {"{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"e\xff\"}", kParseError},
      {std::string(1000000, '['), kParseError},
      {R"({"a":)" + std::string(64, '[') + std::string(64, ']') + "}", kParseError},
      {"1", kInvalidRequest},
      {"[]", kInvalidRequest},
      {R"([{"jsonrpc":"2.0","id":1,"method":"echo"}])", kInvalidRequest},
      {"{}", kInvalidRequest},
      {R"({"jsonrpc":"1.0","id":1,"method":"echo"})", kInvalidRequest},
      {R"({"jsonrpc":"2.0","id":1})", kInvalidRequest},
      {R"({"jsonrpc":"2.0","id":1,"method":1})", kInvalidRequest},
      {R"({"jsonrpc":"2.0","id":{},"method":"echo"})", kInvalidRequest},
      {R"({"jsonrpc":"2.0","id":1,"method":"echo","params":[1]})", kInvalidRequest},
      {R"({"jsonrpc":"2.0","id":1,"method":"echo","more":1})", kInvalidRequest},
      {R"({"jsonrpc":"2.0","id":1,"method":"none"})", kMethodNotFound},
  };
  for (const auto& [line, code] : lines) {
    SCOPED_TRACE(line.substr(0, 80));
    const json answer = ask(line);
    EXPECT_EQ(answer["error"]["code"], code);
    EXPECT_TRUE(answer.contains("id"));
  }
}

TEST(JsonRpc, Answer_WithNewlineOrBadUtf8_IsOneLine) {
  const auto odd = [](const std::string&, const json&, json& result, RpcError&) {
    result = {{"text", "a\nb\xff"}};
    return true;
  };
  const std::string answer = answer_line(R"({"jsonrpc":"2.0","id":1,"method":"m"})", odd);
  EXPECT_EQ(answer.find('\n'), std::string::npos);
  EXPECT_TRUE(json::accept(answer));
}

TEST(JsonRpc, AlteredRequest_IsAnsweredOrIsANotification) {
  constexpr uint32_t kSeed = 11;
  SCOPED_TRACE(kSeed);
  std::mt19937 random(kSeed);
  const std::string good =
      R"({"jsonrpc":"2.0","id":1,"method":"echo","params":{"a":"b\u00e9","c":[1,2.5,null]}})";
  for (int i = 0; i < 20000; ++i) {
    std::string line = good.substr(0, 1 + random() % good.size());
    for (int n = 0; n < 2; ++n) line[random() % line.size()] = static_cast<char>(random() % 256);
    const std::string answer = answer_line(line, echo);
    EXPECT_TRUE(answer.empty() || json::accept(answer)) << line;
  }
}

}  // namespace
}  // namespace godwit::control
