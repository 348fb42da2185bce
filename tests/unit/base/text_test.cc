// SPDX-License-Identifier: Apache-2.0
#include "base/text.h"

#include <gtest/gtest.h>

namespace godwit::control {
namespace {

TEST(Text, WordsHaveColumnsAndACommentEndsTheLine) {
  const auto words = split_words("  show\tport  x#y # all");
  ASSERT_EQ(words.size(), 3u);
  EXPECT_EQ(words[0].text, "show");
  EXPECT_EQ(words[0].column, 3u);
  EXPECT_EQ(words[1].column, 8u);
  EXPECT_EQ(words[2].text, "x#y");
  EXPECT_TRUE(split_words(" \t\r\n").empty());
  EXPECT_TRUE(split_words("# all").empty());
}

TEST(Text, AColumnIsThatOfAWholeWord) {
  EXPECT_EQ(column_of("port 1 10 0", "0"), 11u);
  EXPECT_EQ(column_of("port 1", "2"), 0u);
}

TEST(Text, NumbersAreDigitsOnly) {
  EXPECT_EQ(to_number("65535", 65535), 65535u);
  for (const char* bad : {"", "65536", "-1", "+1", " 1", "1 ", "0x1", "99999999999999999999999"})
    EXPECT_FALSE(to_number(bad, 65535)) << bad;
}

TEST(Text, PrintableIsShortAndHarmless) {
  EXPECT_EQ(printable("a\x1b[0m\xff"), "a?[0m?");
  EXPECT_EQ(printable(std::string(1000, 'x')).size(), 67u);
}

TEST(Text, ATableAlignsItsColumns) {
  EXPECT_EQ(table({{"A", "Long"}, {"abc", "d"}, {"e", ""}}), "A    Long\nabc  d\ne\n");
}

}  // namespace
}  // namespace godwit::control
