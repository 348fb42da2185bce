// SPDX-License-Identifier: Apache-2.0
#include "base/result.h"

#include <gtest/gtest.h>

#include <memory>

namespace godwit {
namespace {

Result<std::unique_ptr<int>> half(int n) {
  if (n % 2 != 0) return fail(Error{"odd", 0, 3, std::to_string(n), "an even number"});
  return std::make_unique<int>(n / 2);
}

TEST(Result, CarriesMoveOnlyValue) {
  auto result = half(8);
  ASSERT_TRUE(result);
  const std::unique_ptr<int> value = std::move(*result);
  EXPECT_EQ(*value, 4);
}

TEST(Result, ErrorCarriesPositionAndExpectation) {
  const auto result = half(7);
  ASSERT_FALSE(result.has_value());
  EXPECT_EQ(result.error().message, "odd");
  EXPECT_EQ(result.error().column, 3u);
  EXPECT_EQ(result.error().token, "7");
  EXPECT_EQ(result.error().expected, "an even number");
}

TEST(Result, VoidResultIsSuccessByDefault) {
  EXPECT_TRUE(Result<void>{});
  const Result<void> bad = fail("no");
  ASSERT_FALSE(bad);
  EXPECT_EQ(bad.error().message, "no");
  EXPECT_EQ(Result<int>(fail("x")).value_or(5), 5);
}

}  // namespace
}  // namespace godwit
