// SPDX-License-Identifier: Apache-2.0
#include "control/config/host_address.h"

#include <gtest/gtest.h>

namespace godwit::control {
namespace {

TEST(HostAddress, Parse_AcceptsBothFamiliesAndRefusesOthers) {
  EXPECT_TRUE(parse_host_address("127.1.2.3:7400")->loopback);
  EXPECT_FALSE(parse_host_address("10.0.0.1:7400")->loopback);
  EXPECT_TRUE(parse_host_address("[::1]:7400")->loopback);
  EXPECT_EQ(parse_host_address("[fd00::1]:9")->address, "fd00::1");
  for (const char* bad : {"", ":", "1.2.3.4", "1.2.3.4:", "1.2.3.4:0", "1.2.3.4:65536", "1.2.3.4:x",
                          "host:1", "[::1:1", "::1:1"}) {
    EXPECT_FALSE(parse_host_address(bad)) << bad;
  }
}

}  // namespace
}  // namespace godwit::control
