// SPDX-License-Identifier: Apache-2.0
#include "control/cli/render.h"

#include <gtest/gtest.h>

namespace godwit::cli {
namespace {

using nlohmann::json;

json refusal(uint32_t column) {
  return {{"message", "unknown item"}, {"data", {{"column", column}, {"expected", "eth, ipv4"}}}};
}

TEST(Render, ErrorWithColumn_ShowsACaretUnderIt) {
  EXPECT_EQ(error_text(refusal(6), "flow etj"),
            "unknown item\n  flow etj\n       ^\n  expected: eth, ipv4\n");
  EXPECT_EQ(error_text(refusal(9), "flow etj"),
            "unknown item\n  flow etj\n          ^\n  expected: eth, ipv4\n");
  EXPECT_EQ(error_text(refusal(3), "\tflow"),
            "unknown item\n  \tflow\n  \t ^\n  expected: eth, ipv4\n");
  EXPECT_EQ(error_text(refusal(4), "\xc3\xa9 x"),
            "unknown item\n  \xc3\xa9 x\n    ^\n  expected: eth, ipv4\n");
}

TEST(Render, ColumnOutsideTheLine_ShowsNoCaret) {
  EXPECT_EQ(error_text(refusal(10), "flow etj"), "unknown item\n  expected: eth, ipv4\n");
  EXPECT_EQ(error_text(refusal(0), "flow etj"), "unknown item\n  expected: eth, ipv4\n");
}

TEST(Render, MalformedError_StillHasAMessage) {
  for (const json& error :
       {json(), json(3), json::object(), json{{"message", 4}}, json{{"data", "x"}},
        json{{"data", {{"column", "x"}, {"expected", 7}}}}, json{{"data", {{"column", -4}}}}}) {
    EXPECT_EQ(error_text(error, "line"), "refused without a reason\n") << error;
  }
  EXPECT_EQ(error_text({{"message", "no"}}, "line", "a:3"), "a:3: no\n");
}

TEST(Render, Result_IsItsTextOrAsJsonItsData) {
  const json result = {{"text", "two lines\nof text"}, {"data", {{"a", 1}}}};
  EXPECT_EQ(result_text(result, false), "two lines\nof text\n");
  EXPECT_EQ(result_text(result, true), "{\n  \"a\": 1\n}\n");
  EXPECT_EQ(result_text({{"text", ""}}, false), "");
  EXPECT_EQ(result_text({{"a", 1}}, false),
            "{\n  \"a\": 1\n}\n");  // from a method that is not a command
}

TEST(Render, Completion_InsertsTheCommonPrefix) {
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

}  // namespace
}  // namespace godwit::cli
