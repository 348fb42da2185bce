// SPDX-License-Identifier: Apache-2.0
#include "base/net.h"

#include <gtest/gtest.h>

#include "base/bytes.h"
#include "base/ids.h"

namespace godwit {
namespace {

TEST(Mac, RoundTripsAndDetectsGroups) {
  const auto mac = parse_mac("02:aB:00:ff:10:01");
  ASSERT_TRUE(mac);
  EXPECT_EQ(to_string(*mac), "02:ab:00:ff:10:01");
  EXPECT_EQ(mac->to_u64(), 0x02ab00ff1001u);
  EXPECT_FALSE(mac->is_group());
  EXPECT_TRUE(parse_mac("ff:ff:ff:ff:ff:ff")->is_group());
  EXPECT_TRUE(parse_mac("00:00:00:00:00:00")->is_zero());
}

TEST(Mac, RefusesInvalidTextWithExpectedForm) {
  for (const char* text : {"", "02:ab:00:ff:10", "02:ab:00:ff:10:0g", "02-ab-00-ff-10-01",
                           "02:ab:00:ff:10:011", "2:ab:00:ff:10:01", " 02:ab:00:ff:10:01"}) {
    const auto mac = parse_mac(text);
    ASSERT_FALSE(mac) << text;
    EXPECT_EQ(mac.error().token, text);
    EXPECT_NE(mac.error().expected.find("MAC"), std::string::npos);
  }
}

TEST(Ip, RoundTripsInCanonicalForm) {
  EXPECT_EQ(to_string(*parse_ipv4("10.0.0.255")), "10.0.0.255");
  EXPECT_EQ(to_string(*parse_ipv6("FD00:0:0:0::0001")), "fd00::1");
  EXPECT_EQ(to_string(*parse_ipv6("::ffff:1.2.3.4")), "::ffff:1.2.3.4");
}

TEST(Ip, RefusesInvalidText) {
  for (const char* text : {"", "10.0.0", "10.0.0.256", "10.0.0.1 ", "1.2.3.4.5", "0x10.0.0.1"})
    EXPECT_FALSE(parse_ipv4(text)) << text;
  for (const char* text : {"", "fd00::1::2", "fd00:::1", "g::1", "1.2.3.4", "fd00::1%eth0"})
    EXPECT_FALSE(parse_ipv6(text)) << text;
  EXPECT_FALSE(parse_ipv4(std::string(100000, '1')));
  EXPECT_FALSE(parse_ipv4(std::string_view("10.0.0.1\0", 9)));
}

TEST(BigEndian, StoresNetworkOrder) {
  const be32 value = to_be32(0x01020304);
  uint8_t bytes[4];
  std::memcpy(bytes, &value, 4);
  EXPECT_EQ(bytes[0], 1);
  EXPECT_EQ(bytes[3], 4);
  EXPECT_EQ(value.host(), 0x01020304u);
  EXPECT_LT(to_be16(0x00ff), to_be16(0x0100));
  static_assert(!std::is_convertible_v<be16, uint16_t> && !std::is_convertible_v<uint16_t, be16>);
}

TEST(StrongId, IsInvalidByDefaultAndDistinctByTag) {
  EXPECT_FALSE(PortId{}.valid());
  EXPECT_TRUE(PortId{0}.valid());
  static_assert(!std::is_convertible_v<PortId, WorkerId>);
}

}  // namespace
}  // namespace godwit
