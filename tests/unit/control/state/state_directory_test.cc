// SPDX-License-Identifier: Apache-2.0
#include "control/state/state_directory.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "control/config/config_reader.h"
#include "control/state/restore.h"

namespace godwit::control {
namespace {

constexpr const char* kHost = R"(host: host-a
uplinks:
  - {name: physnet1, devargs: "net_null0"}
endpoints:
  - {name: vm1/net0, vhost: {socket: /run/1.sock}, macs: ["02:00:00:00:00:01"]}
  - {name: vm2/net0, vhost: {socket: /run/2.sock, mode: server}}
)";

class StateDirectoryTest : public ::testing::Test {
 protected:
  StateDirectoryTest() {
    char name[] = "/var/tmp/godwit-state-XXXXXX";
    folder_ = mkdtemp(name);
  }
  ~StateDirectoryTest() override { std::filesystem::remove_all(folder_); }
  HostConfig config(const std::string& directory) {
    auto made =
        parse_config(std::string(kHost) + "state: {directory: " + directory + "}\n", "host.yaml");
    EXPECT_TRUE(made) << made.error().message;
    return *made;
  }
  std::string folder_;
};

TEST_F(StateDirectoryTest, Open_CreatesAndLocksTheDirectory) {
  const HostConfig mine = config(folder_ + "/state");
  auto first = StateDirectory::open(mine);
  ASSERT_TRUE(first) << first.error().message;
  auto second = StateDirectory::open(mine);
  ASSERT_FALSE(second);
  EXPECT_NE(second.error().message.find("host.yaml:7:20"), std::string::npos)
      << second.error().message;
  EXPECT_NE(second.error().message.find("another daemon's (pid " + std::to_string(getpid()) + ")"),
            std::string::npos)
      << second.error().message;
  EXPECT_TRUE(check_state(mine)) << "a check needs no lock";
  first->reset();
  EXPECT_TRUE(StateDirectory::open(mine));
}

TEST_F(StateDirectoryTest, Open_InBadPlace_NamesThePlaceInTheFile) {
  for (const std::string& bad : {folder_ + "/not/there", std::string("/dev/null/state")}) {
    auto opened = StateDirectory::open(config(bad));
    ASSERT_FALSE(opened);
    EXPECT_NE(opened.error().message.find("host.yaml:7:20: state directory " + bad),
              std::string::npos)
        << opened.error().message;
    EXPECT_FALSE(check_state(config(bad)));
  }
}

TEST_F(StateDirectoryTest, CheckState_FindsDamagedJournal) {
  const HostConfig mine = config(folder_);
  ASSERT_TRUE(StateDirectory::open(mine));
  EXPECT_TRUE(check_state(mine));
  std::ofstream(folder_ + "/state.sqlite") << "rubbish";
  auto checked = check_state(mine);
  ASSERT_FALSE(checked);
  EXPECT_NE(checked.error().message.find(folder_ + "/state.sqlite"), std::string::npos);
}

}  // namespace
}  // namespace godwit::control
