// SPDX-License-Identifier: Apache-2.0
#include "base/text.h"

#include <gtest/gtest.h>

namespace godwit {
namespace {

TEST(Tokenize, ReturnsWordsWithColumnsUpToComment) {
  const auto words = tokenize("  show\tport  x#y # all");
  ASSERT_EQ(words.size(), 3u);
  EXPECT_EQ(words[0].text, "show");
  EXPECT_EQ(words[0].column, 3u);
  EXPECT_EQ(words[1].column, 8u);
  EXPECT_EQ(words[2].text, "x#y");
  EXPECT_TRUE(tokenize(" \t\r\n").empty());
  EXPECT_TRUE(tokenize("# all").empty());
}

TEST(ColumnOf, FindsWholeWordsOnly) {
  EXPECT_EQ(column_of("port 1 10 0", "0"), 11u);
  EXPECT_EQ(column_of("port 1", "2"), 0u);
}

TEST(ToNumber, AcceptsDigitsOnly) {
  EXPECT_EQ(to_number("65535", 65535), 65535u);
  for (const char* bad : {"", "65536", "-1", "+1", " 1", "1 ", "0x1", "99999999999999999999999"})
    EXPECT_FALSE(to_number(bad, 65535)) << bad;
}

TEST(Printable, ReplacesControlBytesAndCutsLongText) {
  EXPECT_EQ(printable("a\x1b[0m\xff"), "a?[0m?");
  EXPECT_EQ(printable(std::string(1000, 'x')).size(), 67u);
  EXPECT_EQ(printable(std::string(1000, 'x'), "").size(), 64u);
}

TEST(FindNonUtf8, AcceptsWellFormedText) {
  for (const char* text : {"", "plain", "\xc2\x80", "\xdf\xbf", "\xe0\xa0\x80", "\xed\x9f\xbf",
                           "\xef\xbf\xbf", "\xf0\x90\x80\x80", "\xf4\x8f\xbf\xbf"})
    EXPECT_EQ(find_non_utf8(text), std::string_view::npos) << text;
}

TEST(FindNonUtf8, ReturnsTheFirstBadByte) {
  for (const char* bad :
       {"\x80", "\xbf", "\xc0\xaf", "\xc1\xbf", "\xc2", "\xc2z", "\xe0\x9f\xbf", "\xe1\x80",
        "\xed\xa0\x80", "\xf0\x8f\xbf\xbf", "\xf4\x90\x80\x80", "\xf5\x80\x80\x80", "\xff"}) {
    EXPECT_EQ(find_non_utf8(bad), 0u);
    EXPECT_EQ(find_non_utf8("ab\xc3\xa4" + std::string(bad)), 4u);
  }
}

TEST(OneLine, KeepsPrintableTextOnly) {
  EXPECT_EQ(one_line("a\nb\x1b[0m", 100), "a?b?[0m");
  EXPECT_EQ(one_line("abcdef", 3), "abc...");
  EXPECT_EQ(joined_lines("a\nb"), "a; b");
  EXPECT_TRUE(is_word("vm7-1"));
  EXPECT_FALSE(is_word("vm 7"));
  EXPECT_FALSE(is_word("vm7\n"));
}

TEST(Table, AlignsColumns) {
  EXPECT_EQ(table({{"A", "Long"}, {"abc", "d"}, {"e", ""}}), "A    Long\nabc  d\ne\n");
}

TEST(UtcText, FormatsSecondsAndMilliseconds) {
  EXPECT_EQ(utc_text(1795500912), "2026-11-24 06:15:12 UTC");
  EXPECT_EQ(utc_text_ms(1795500912034), "2026-11-24 06:15:12.034 UTC");
}

}  // namespace
}  // namespace godwit
