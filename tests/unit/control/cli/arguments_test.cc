// SPDX-License-Identifier: Apache-2.0
#include "control/cli/arguments.h"

#include <gtest/gtest.h>

#include <cstdlib>

namespace godwit::cli {
namespace {

Result<Arguments> parse(std::vector<const char*> words) {
  words.insert(words.begin(), "godwit");
  return parse_arguments(static_cast<int>(words.size()), words.data());
}

TEST(Arguments, Options_MayStandAnywhereAmongTheWords) {
  const auto arguments =
      parse({"--timeout", "0.5", "show", "port", "--json", "stats", "all", "--socket", "/s"});
  ASSERT_TRUE(arguments) << arguments.error().message;
  EXPECT_EQ(join_words(arguments->words), "show port stats all");
  EXPECT_TRUE(arguments->json);
  EXPECT_EQ(arguments->socket, "/s");
  EXPECT_EQ(arguments->timeout_s, 0.5);
}

TEST(Arguments, TokensOf_KeepsWordsWithBlanks) {
  const std::vector<std::string> words = {"migration", "export", "vm1", "a file"};
  const std::string line = join_words(words);
  const auto tokens = tokens_of(line, words);
  ASSERT_EQ(tokens.size(), 4u);
  EXPECT_EQ(tokens[3].text, "a file");
  EXPECT_EQ(tokens[3].column, 22u);
}

TEST(Arguments, Socket_OptionOverridesEnvironment) {
  unsetenv(kSocketVariable);
  EXPECT_EQ(parse({"version"})->socket, kDefaultSocket);
  setenv(kSocketVariable, "/from/environment", 1);
  EXPECT_EQ(parse({"version"})->socket, "/from/environment");
  EXPECT_EQ(parse({"--socket", "/given", "version"})->socket, "/given");
  unsetenv(kSocketVariable);
}

TEST(Arguments, BadOption_IsRefused) {
  EXPECT_FALSE(parse({"--nonsense"}));
  EXPECT_FALSE(parse({"show", "-x"}));
  EXPECT_FALSE(parse({"--timeout", "soon"}));
  EXPECT_FALSE(parse({"--timeout", "-1"}));
  EXPECT_FALSE(parse({"--socket"}));
  EXPECT_FALSE(parse({"-f", "file", "show"}));
}

TEST(Arguments, HelpAndVersion_AreAnsweredLocally) {
  EXPECT_NE(parse({"--help"})->answer.find("Exit codes"), std::string::npos);
  EXPECT_TRUE(parse({"--version"})->answer.starts_with("godwit "));
}

}  // namespace
}  // namespace godwit::cli
