// SPDX-License-Identifier: Apache-2.0
#include "control/config/config_reader.h"

#include <gtest/gtest.h>

#include <random>

#include "tests/unit/control/config/whole_config.h"

namespace godwit::control {
namespace {

TEST(ConfigReader, ReadsEveryKey) {
  const auto config = parse_config(kWholeConfig, "a.yaml");
  ASSERT_TRUE(config) << config.error().message;
  EXPECT_EQ(config->host, "host-a");
  EXPECT_EQ(config->socket, "/tmp/a.sock");
  EXPECT_EQ(config->state.directory, "/var/lib/godwit");
  EXPECT_EQ(config->state.sync_ms, 0u);
  ASSERT_EQ(config->faults.size(), 2u);
  EXPECT_EQ(config->faults[0].at, "source rewrite-out");
  EXPECT_FALSE(config->faults[0].after);
  EXPECT_TRUE(config->faults[1].after);
  EXPECT_EQ(config->faults[1].skip, 2u);
  EXPECT_EQ(config->workers.cpus, (std::vector<uint16_t>{1, 3}));
  EXPECT_EQ(config->workers.spin_us, 10u);
  EXPECT_EQ(config->workers.max_sleep_us, 0u);
  EXPECT_FALSE(config->memory.hugepages);
  EXPECT_EQ(config->memory.socket_mb, 128u);
  EXPECT_EQ(config->memory.file_prefix, "prefix");
  EXPECT_EQ(config->memory.mbufs, 8192u);
  EXPECT_EQ(config->fdb.entries, 4096u);
  EXPECT_EQ(config->fdb.ageing_s, 0u);
  ASSERT_EQ(config->uplinks.size(), 1u);
  EXPECT_EQ(config->uplinks[0].devargs, "net_af_packet0,iface=up0");
  EXPECT_EQ(config->uplinks[0].mtu, 9000);
  ASSERT_EQ(config->endpoints.size(), 3u);
  const EndpointConfig& vm1 = config->endpoints[0];
  EXPECT_EQ(vm1.vhost->socket, "/tmp/vm1.sock");
  EXPECT_TRUE(vm1.vhost->server);
  EXPECT_EQ(vm1.profile.macs.size(), 1u);
  EXPECT_EQ(vm1.profile.ipv4s.size(), 1u);
  EXPECT_EQ(vm1.profile.ipv6s.size(), 1u);
  EXPECT_EQ(vm1.profile.vlans, (std::vector<uint16_t>{0, 7}));
  EXPECT_EQ(vm1.profile.mtu, 1400);
  EXPECT_EQ(vm1.profile.queues, 2);
  EXPECT_EQ(vm1.profile.miss, dataplane::MissPolicy::kDrop);
  EXPECT_EQ(config->rules.size(), 1u);
  EXPECT_EQ(config->migration.listen, "127.0.0.1:7400");
  EXPECT_TRUE(config->migration.plaintext_anywhere);
  EXPECT_EQ(config->migration.peers.at("host-b"), "10.200.0.2:7400");
  EXPECT_EQ(config->migration.vhost_template, "/tmp/{vm}-{nic}.sock");
  EXPECT_EQ(config->migration.prepare_timeout_ms, 5000u);
  EXPECT_EQ(config->migration.window_timeout_ms, 500u);
  EXPECT_EQ(config->migration.park_packets, 100u);
  EXPECT_EQ(config->migration.park_bytes, 100000u);
}

TEST(ConfigReader, EndpointWithoutPort_IsBehindTheOnlyUplink) {
  const auto config = parse_config(kWholeConfig, "a.yaml");
  ASSERT_TRUE(config);
  EXPECT_EQ(config->endpoints[0].uplink, "");
  EXPECT_EQ(config->endpoints[1].uplink, "physnet1");
  EXPECT_EQ(config->endpoints[2].uplink, "");
  EXPECT_EQ(config->migration.uplink, "physnet1");
}

TEST(ConfigReader, FileWithHostOnly_GetsDefaults) {
  const auto config = parse_config("host: h\n", "a.yaml");
  ASSERT_TRUE(config) << config.error().message;
  EXPECT_EQ(config->socket, "/run/godwit/godwit.sock");
  EXPECT_EQ(config->memory.file_prefix, "godwit-h");
  EXPECT_EQ(config->fdb.entries, 65536u);
  EXPECT_FALSE(config->migration.plaintext_anywhere);
}

struct BadFile {
  const char* name;
  std::string text;
  const char* place;  // LINE:COL
  const char* says;
};

const BadFile kBadFiles[] = {
    {"empty", "", "1:1", "empty"},
    {"not yaml", "host: [a\n", "2:1", "not YAML"},
    {"a list", "- a\n", "1:1", "a mapping"},
    {"no host", "fdb: {}\n", "1:1", "host"},
    {"unknown key", "host: a\nfoo: 1\n", "2:1", "`foo` is not known"},
    {"unknown nested key", "host: a\nfdb:\n  size: 1\n", "3:3", "one of entries, ageing_s"},
    {"twice", "host: a\nhost: b\n", "2:1", "twice"},
    {"word for a number", "host: a\nfdb: {entries: many}\n", "2:16", "a number from 1024"},
    {"quoted number", "host: a\nfdb: {entries: \"4096\"}\n", "2:16", "a number from 1024"},
    {"negative", "host: a\nfdb: {ageing_s: -1}\n", "2:17", "a number from 0"},
    {"too big", "host: a\nfdb: {ageing_s: 99999999999999999999}\n", "2:17", "a number from 0"},
    {"yes for a boolean", "host: a\nmemory: {hugepages: yes}\n", "2:21", "true or false"},
    {"map for a list", "host: a\nuplinks: {}\n", "2:10", "a list"},
    {"list for a word", "host: [a]\n", "1:7", "this host's name"},
    {"bad host", "host: a b\n", "1:7", "not a valid host name"},
    {"state without a directory", "host: a\nstate: {sync_ms: 5}\n", "2:8", "the key directory"},
    {"state in a relative directory", "host: a\nstate: {directory: var}\n", "2:20",
     "an absolute path"},
    {"unknown key of state", "host: a\nstate: {dir: /x}\n", "2:9", "one of directory, sync_ms"},
    {"sync_ms out of range", "host: a\nstate: {directory: /x, sync_ms: 60001}\n", "2:33",
     "0 to 60000"},
    {"unknown fault point", "host: a\nfaults: [{before: source lunch}]\n", "2:19",
     "`source lunch` is not a fault point"},
    {"fault at two points", "host: a\nfaults: [{before: source park, after: source park}]\n",
     "2:39", "not both"},
    {"fault nowhere", "host: a\nfaults: [{skip: 1}]\n", "2:10", "before or after"},
    {"CPU twice", "host: a\nworkers: {cpus: [1, 1]}\n", "2:21", "twice"},
    {"no cpus", "host: a\nworkers: {cpus: []}\n", "2:17", "at least one"},
    {"uplink without devargs", "host: a\nuplinks:\n  - name: up\n", "3:5", "devargs"},
    {"uplink twice", "host: a\nuplinks:\n  - {name: up, devargs: x}\n  - {name: up, devargs: y}\n",
     "4:12", "in line 3"},
    {"bad endpoint name", "host: a\nendpoints:\n  - name: 1vm\n", "3:11",
     "not a valid endpoint name"},
    {"endpoint twice", "host: a\nendpoints:\n  - name: v\n  - name: v\n", "4:11", "in line 3"},
    {"endpoint named as an uplink",
     "host: a\nuplinks: [{name: v, devargs: x}]\nendpoints:\n  - name: v\n", "4:11",
     "uplink's name"},
    {"bad mac", "host: a\nendpoints:\n  - {name: v, macs: [\"02:00\"]}\n", "3:22", "MAC"},
    {"group mac", "host: a\nendpoints:\n  - {name: v, macs: [\"01:00:00:00:00:01\"]}\n", "3:22",
     "station"},
    {"bad ip", "host: a\nendpoints:\n  - {name: v, ips: [10.0.0.300]}\n", "3:21", "address"},
    {"vlan", "host: a\nendpoints:\n  - {name: v, vlans: [4095]}\n", "3:23", "0 to 4094"},
    {"mtu", "host: a\nendpoints:\n  - {name: v, mtu: 67}\n", "3:20", "68 to 9216"},
    {"miss", "host: a\nendpoints:\n  - {name: v, miss: maybe}\n", "3:21", "normal or drop"},
    {"location", "host: a\nendpoints:\n  - {name: v, location: here}\n", "3:25", "uplink:NAME"},
    {"location of no uplink", "host: a\nendpoints:\n  - {name: v, location: uplink:x}\n", "3:25",
     "no uplink `x`"},
    {"location of an empty uplink", "host: a\nendpoints:\n  - {name: v, location: \"uplink:\"}\n",
     "3:25", "no uplink"},
    {"location port without one", "host: a\nendpoints:\n  - {name: v, location: port}\n", "3:25",
     "has no port"},
    {"location none with a port",
     "host: a\nendpoints:\n  - {name: v, vhost: {socket: /s}, location: none}\n", "3:46",
     "vhost port"},
    {"vhost mode", "host: a\nendpoints:\n  - {name: v, vhost: {socket: /s, mode: both}}\n", "3:41",
     "client or server"},
    {"one socket for two endpoints",
     "host: a\nendpoints:\n  - {name: v, vhost: {socket: /s}}\n  - {name: w, vhost: {socket: "
     "/s}}\n",
     "4:22", "socket of v"},
    {"long socket", "host: a\ncontrol: {socket: /" + std::string(107, 'x') + "}\n", "2:19", "107"},
    {"socket's path not in UTF-8", "host: a\ncontrol:\n  socket: /run/\xff.sock\n", "3:16",
     "0xff is not part of UTF-8, expected a text in UTF-8"},
    {"comment not in UTF-8", "host: a  # \xe4\n", "1:12", "0xe4"},
    {"rule is a map", "host: a\nrules:\n  - a: b\n", "3:5", "flow create"},
    {"peer is this host", "host: a\nmigration: {peers: {a: \"127.0.0.1:1\"}}\n", "2:21",
     "this host"},
    {"peer without port", "host: a\nmigration: {peers: {b: 127.0.0.1}}\n", "2:24", "ADDRESS:PORT"},
    {"plain text to a peer", "host: a\nmigration: {peers: {b: \"10.0.0.1:1\"}}\n", "2:24",
     "loopback"},
    {"plain text and TLS",
     "host: a\nmigration: {plaintext: anywhere, tls: {certificate: c, key: k, ca: a}}\n", "2:24",
     "one of them"},
    {"TLS without a key", "host: a\nmigration: {tls: {certificate: c, ca: a}}\n", "2:18",
     "the key key"},
    {"unknown key of tls", "host: a\nmigration: {tls: {certificate: c, crl: a}}\n", "2:35",
     "certificate, key, ca, revoked"},
    {"allow_in names no peer",
     "host: a\nmigration: {peers: {b: \"127.0.0.1:1\"}, allow_in: [b, c]}\n", "2:54",
     "migration.peers"},
    {"allow_out names a peer twice",
     "host: a\nmigration: {peers: {b: \"127.0.0.1:1\"}, allow_out: [b, b]}\n", "2:55", "twice"},
    {"handshake_timeout_ms out of range", "host: a\nmigration: {handshake_timeout_ms: 1}\n", "2:35",
     "100"},
    {"plain text on all addresses", "host: a\nmigration: {listen: \"0.0.0.0:7400\"}\n", "2:21",
     "loopback"},
    {"template", "host: a\nmigration: {vhost_template: /tmp/x.sock}\n", "2:29", "{vm} and {nic}"},
    {"migration's uplink", "host: a\nmigration: {uplink: up}\n", "2:21", "no uplink `up`"},
    {"two documents", "host: a\n---\nhost: b\n", "1:1", "more than one"},
    {"rules_file", "host: a\nrules_file: nowhere.flow\n", "2:13", "cannot be read"},
    {"too long", std::string(kMaxConfigBytes + 1, '#'), "1:1", "too long"},
};

TEST(ConfigReader, BadFile_IsRefusedAtItsPlace) {
  for (const BadFile& file : kBadFiles) {
    SCOPED_TRACE(file.name);
    const auto config = parse_config(file.text, "dir/bad.yaml");
    ASSERT_FALSE(config);
    EXPECT_TRUE(
        config.error().message.starts_with(std::string("dir/bad.yaml:") + file.place + ": "))
        << config.error().message;
    EXPECT_NE(config.error().message.find(file.says), std::string::npos) << config.error().message;
  }
}

TEST(ConfigReader, CutOrAlteredFile_IsReadOrRefused) {
  for (size_t length = 0; length < kWholeConfig.size(); ++length) {
    const auto config = parse_config(kWholeConfig.substr(0, length), "a.yaml");
    if (!config) {
      EXPECT_TRUE(config.error().message.starts_with("a.yaml:")) << config.error().message;
    }
  }
  constexpr uint32_t kSeed = 7;
  SCOPED_TRACE(kSeed);
  std::mt19937 random(kSeed);
  for (int i = 0; i < 2000; ++i) {
    std::string text(kWholeConfig);
    for (int n = 0; n < 3; ++n) text[random() % text.size()] = static_cast<char>(random() % 256);
    const auto config = parse_config(text, "a.yaml");
    if (!config) {
      EXPECT_FALSE(config.error().message.empty());
    }
  }
}

TEST(ConfigReader, YamlAliases_CannotExceedTheFileLimit) {
  std::string text = "host: a\nrules:\n  - &r \"" + std::string(60000, 'x') + "\"\n";
  for (int i = 0; i < 1000; ++i) text += "  - *r\n";
  const auto config = parse_config(text, "a.yaml");
  ASSERT_FALSE(config);
  EXPECT_NE(config.error().message.find("longer than 1 MiB"), std::string::npos);
}

TEST(ConfigReader, DeepNesting_IsRefused) {
  const auto config = parse_config("host: a\nrules: " + std::string(100000, '['), "a.yaml");
  ASSERT_FALSE(config);
}

TEST(RulesFile, SkipsCommentsAndKeepsPlaces) {
  const auto rules =
      parse_rules("# head\n\n  flow create a ingress\r\nflow create b egress", "r.flow");
  ASSERT_TRUE(rules);
  ASSERT_EQ(rules->size(), 2u);
  EXPECT_EQ((*rules)[0].text, "flow create a ingress");
  EXPECT_EQ((*rules)[0].place.line, 3u);
  EXPECT_EQ((*rules)[0].place.column, 3u);
  EXPECT_EQ((*rules)[1].place.line, 4u);
}

TEST(RulesFile, ByteThatIsNotUtf8_IsRefusedAtItsPlace) {
  const auto rules = parse_rules("# head\nflow create a\xc3 ingress\n", "r.flow");
  ASSERT_FALSE(rules);
  EXPECT_EQ(rules.error().message,
            "r.flow:2:14: the byte 0xc3 is not part of UTF-8, expected a text in UTF-8");
}

TEST(ConfigReader, WithTls_AllowsAnyAddressAndResolvesFilePaths) {
  const auto config = parse_config(R"(host: a
migration:
  listen: 10.0.0.1:7400
  tls: {certificate: a.crt, key: /keys/a.key, ca: sub/ca.crt}
  peers: {b: "10.0.0.2:7400", c: "10.0.0.3:7400"}
  allow_in: []
  allow_out: [c]
  max_strangers: 9
)",
                                   "/etc/godwit/host.yaml");
  ASSERT_TRUE(config) << config.error().message;
  ASSERT_TRUE(config->migration.tls);
  EXPECT_EQ(config->migration.tls->certificate.path, "/etc/godwit/a.crt");
  EXPECT_EQ(config->migration.tls->key.path, "/keys/a.key");
  EXPECT_EQ(config->migration.tls->ca.path, "/etc/godwit/sub/ca.crt");
  EXPECT_EQ(config->migration.tls->key.place.line, 4u);
  ASSERT_TRUE(config->migration.allow_in);
  EXPECT_TRUE(config->migration.allow_in->empty());
  EXPECT_EQ(config->migration.allow_out, std::set<std::string>{"c"});
  EXPECT_EQ(config->migration.max_strangers, 9u);
}

}  // namespace
}  // namespace godwit::control
