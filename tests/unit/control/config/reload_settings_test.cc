// SPDX-License-Identifier: Apache-2.0
#include "control/config/reload_settings.h"

#include <gtest/gtest.h>

#include "control/config/config_reader.h"
#include "tests/unit/control/config/whole_config.h"

namespace godwit::control {
namespace {

HostConfig read(const std::string& text) {
  auto config = parse_config(text, "a.yaml");
  EXPECT_TRUE(config) << config.error().message;
  return std::move(*config);
}

// Returns the whole configuration with one part replaced.
HostConfig altered(const std::string& from, const std::string& to) {
  std::string text(kWholeConfig);
  const size_t at = text.find(from);
  EXPECT_NE(at, std::string::npos) << from;
  return read(text.replace(at, from.size(), to));
}

TEST(ReloadSettings, SettingThatNeedsARestart_IsNamed) {
  const HostConfig in_use = read(std::string(kWholeConfig));
  const struct {
    const char *from, *to, *name;
  } rows[] = {
      {"host: host-a", "host: host-z", "host"},
      {"/tmp/a.sock", "/tmp/z.sock", "control.socket"},
      {"spin_us: 10", "spin_us: 11", "workers"},
      {"mbufs: 8192", "mbufs: 8193", "memory"},
      {"entries: 4096", "entries: 4097", "fdb"},
      {"mtu: 9000", "mtu: 8000", "uplinks"},
      {"vlans: [0, 7]", "vlans: [0]", "endpoints"},
      {"/tmp/vm1.sock", "/tmp/vm9.sock", "endpoints"},
      {"actions drop", "actions count / drop", "rules"},
      {"sync_ms: 0", "sync_ms: 1", "state"},
      {"skip: 2", "skip: 3", "faults"},
      {"127.0.0.1:7400", "127.0.0.1:7401", "migration.listen"},
      {"{vm}-{nic}.sock", "{vm}-{nic}", "migration.vhost_template"},
      {"park_packets: 100\n", "park_packets: 200\n", "migration.park_packets"},
      {"park_bytes: 100000", "park_bytes: 200000", "migration.park_bytes"},
  };
  for (const auto& [from, to, name] : rows)
    EXPECT_EQ(settings_for_restart(in_use, altered(from, to)), std::vector<std::string>{name})
        << from;
  EXPECT_TRUE(settings_for_restart(in_use, altered("fdb:", "\n\n\nfdb:")).empty())
      << "places do not count";
}

TEST(ReloadSettings, TlsThatIsAddedOrRemoved_NeedsARestart) {
  const HostConfig plain = read("host: a\n");
  const HostConfig encrypted =
      read("host: a\nmigration: {tls: {certificate: c, key: k, ca: a, revoked: r}}\n");
  EXPECT_EQ(encrypted.migration.tls->revoked.path, "r");
  EXPECT_EQ(settings_for_restart(plain, encrypted), std::vector<std::string>{"migration.tls"});
  EXPECT_EQ(settings_for_restart(encrypted, plain), std::vector<std::string>{"migration.tls"});
  HostConfig in_use = plain;
  take_settings(in_use.migration, encrypted.migration);
  EXPECT_FALSE(in_use.migration.tls);
  in_use = encrypted;
  take_settings(in_use.migration, plain.migration);
  EXPECT_TRUE(in_use.migration.tls);
}

TEST(ReloadSettings, OtherSettings_AreTaken) {
  HostConfig in_use = read(std::string(kWholeConfig));
  const HostConfig file = altered("  prepare_timeout_ms: 5000\n", R"(  allow_in: [host-b]
  allow_out: []
  allow_pull: [host-b]
  prepare_timeout_ms: 5001
  handshake_timeout_ms: 201
  idle_timeout_ms: 2001
  max_connections: 11
  max_connections_per_address: 12
  max_strangers: 13
  max_preparing: 14
  max_incoming: 15
)");
  HostConfig other = file;
  other.migration.peers = {{"host-c", "127.0.0.1:1"}};
  other.migration.window_timeout_ms = 501;
  EXPECT_TRUE(settings_for_restart(in_use, other).empty());
  take_settings(in_use.migration, other.migration);
  const MigrationConfig& now = in_use.migration;
  EXPECT_EQ(now.peers, other.migration.peers);
  EXPECT_EQ(now.allow_in, std::set<std::string>{"host-b"});
  EXPECT_EQ(now.allow_out, std::set<std::string>{});
  EXPECT_EQ(now.allow_pull, std::set<std::string>{"host-b"});
  EXPECT_EQ(now.prepare_timeout_ms, 5001u);
  EXPECT_EQ(now.window_timeout_ms, 501u);
  EXPECT_EQ(now.handshake_timeout_ms, 201u);
  EXPECT_EQ(now.idle_timeout_ms, 2001u);
  EXPECT_EQ(now.max_connections, 11u);
  EXPECT_EQ(now.max_connections_per_address, 12u);
  EXPECT_EQ(now.max_strangers, 13u);
  EXPECT_EQ(now.max_preparing, 14u);
  EXPECT_EQ(now.max_incoming, 15u);
}

}  // namespace
}  // namespace godwit::control
