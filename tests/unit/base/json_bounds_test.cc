// SPDX-License-Identifier: Apache-2.0
#include "base/json_bounds.h"

#include <gtest/gtest.h>

namespace godwit {
namespace {

constexpr JsonBounds kSmall{.depth = 3, .elements = 6};

TEST(JsonBounds, TextWithinTheBounds_HasNoExcess) {
  for (const char* text :
       {"", "1", "[[[1]]]", "[1,2,3,4,5]", R"({"a":1,"b":[2,3]})", "]]]]", "}[}[", "[1] [[2]]"})
    EXPECT_EQ(excess_of_json(text, kSmall), "") << text;
}

TEST(JsonBounds, DeepText_IsRefused) {
  for (const char* text : {"[[[[", "[{[{", R"({"a":{"b":{"c":{}}}})"})
    EXPECT_EQ(excess_of_json(text, kSmall), "nested deeper than 3 levels") << text;
}

TEST(JsonBounds, TextOfManyElements_IsRefused) {
  for (const char* text :
       {"[1,2,3,4,5,6]", "[,,,,,,,", R"({"a":1,"b":[2,3,4],"c":5})", "[][][][][][]"})
    EXPECT_EQ(excess_of_json(text, kSmall), "more than 6 elements") << text;
}

TEST(JsonBounds, BytesOfStrings_DoNotCount) {
  for (const char* text : {R"("[[[[[[,,,,,,,,")", R"(["\"[[[[,,,,,,", "\\"])", R"("[[[[[[)",
                           R"("\)", R"(["\u005b[[[["])"})
    EXPECT_EQ(excess_of_json(text, kSmall), "") << text;
  EXPECT_NE(excess_of_json(R"("\\"[[[[)", kSmall), "");
}

}  // namespace
}  // namespace godwit
