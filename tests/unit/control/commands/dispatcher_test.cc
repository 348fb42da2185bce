// SPDX-License-Identifier: Apache-2.0
//
// Every command on a switch without workers: effects, equality of words and methods, and harmless
// refusal of malformed lines.
#include "control/commands/dispatcher.h"

#include <gtest/gtest.h>

#include <asio/io_context.hpp>
#include <nlohmann/json.hpp>
#include <random>
#include <set>

#include "base/text.h"
#include "control/commands/command_table.h"
#include "control/commands/handlers.h"
#include "dataplane/state/fdb.h"
#include "migration/engine/engine.h"
#include "migration/link/asio_network.h"
#include "tests/harness/fake_switch.h"

namespace godwit::control {
namespace {

using nlohmann::json;

class CommandsTest : public ::testing::Test {
 protected:
  static migration::MigrationOptions options() {
    migration::MigrationOptions out;
    out.host = "host-t";
    out.peers = {{"host-b", "127.0.0.1:1"}};
    out.vhost_template = "/tmp/{vm}-{nic}.sock";
    out.uplink = "physnet1";
    return out;
  }
  void SetUp() override {
    run("port attach vhost vm1/net0 socket=/tmp/1,mac=02:00:00:00:00:01,ip=10.0.0.1");
    run("port attach vhost vm2/net0 socket=/tmp/2,mode=server,ip=fd00::2");
    run("endpoint add vm7/net0 location uplink:physnet1 mac 02:00:00:00:00:07");
    run("flow create vm1/net0 ingress pattern eth / end actions represented_port ethdev_port_id "
        "vm7/net0 / end");
  }
  json ask(const std::string& method, const json& params) {
    json result;
    RpcError error;
    if (call(context, method, params, result, error)) return result;
    return {{"code", error.code},
            {"message", error.error.message},
            {"column", error.error.column},
            {"token", error.error.token},
            {"expected", error.error.expected}};
  }
  std::string run(const std::string& line) {
    const json result = ask("command", {{"line", line}});
    EXPECT_TRUE(result.contains("text")) << line << ": " << result.dump();
    return result.value("text", "");
  }
  json refused(const std::string& line) {
    json result = ask("command", {{"line", line}});
    EXPECT_TRUE(result.contains("code")) << line << " was taken: " << result.dump();
    return result;
  }
  // Returns all visible state, to compare before and after.
  std::string picture() {
    std::string out = ask("show.endpoints", json::object()).dump() +
                      ask("show.port.info", {{"port", "all"}}).dump();
    for (const auto* endpoint : host.store.endpoints())
      out += ask("flow.list", {{"port", endpoint->profile.name}}).dump();
    return out;
  }

  testing::FakeSwitch host;
  asio::io_context io;
  SteadyClock clock;
  dataplane::Fdb fdb{1024, 300};
  migration::AsioNetwork network{io};
  migration::Engine engine{
      network, options(), host.store, host.ports, host.gate, clock, [](const std::string&) {}};
  CommandContext context{"host-t",
                         "1.2.3",
                         host.store,
                         host.ports,
                         fdb,
                         engine,
                         nullptr,
                         [] { return 7u; },
                         [] {
                           dataplane::DropTotals totals;
                           totals.drops[static_cast<size_t>(dataplane::Drop::k_no_rule)] = 3;
                           return totals;
                         },
                         [] { return std::vector<dataplane::WorkerInfo>(); },
                         [] { return dataplane::MemoryInfo(); }};
};

TEST_F(CommandsTest, Table_HasEachWordAndMethodOnce) {
  std::set<std::string_view> words, methods;
  for (const Command& command : commands()) {
    EXPECT_TRUE(words.insert(command.words).second) << command.words;
    EXPECT_TRUE(methods.insert(command.method).second) << command.method;
    EXPECT_FALSE(command.help.empty());
    std::string dotted(command.words);
    std::ranges::replace(dotted, ' ', '.');
    EXPECT_EQ(dotted, command.method);
  }
}

TEST_F(CommandsTest, Table_HasNoCommandThatHidesAnother) {
  for (const Command& one : commands()) {
    for (const Command& other : commands()) {
      EXPECT_FALSE(other.words.starts_with(std::string(one.words) + " "))
          << one.words << " hides " << other.words;
    }
  }
}

TEST_F(CommandsTest, WordsAndMethods_GiveTheSameResult) {
  const std::pair<const char*, std::pair<const char*, json>> pairs[] = {
      {"version", {"version", json::object()}},
      {"show endpoints", {"show.endpoints", json::object()}},
      {"show port info 1", {"show.port.info", {{"port", 1}}}},
      {"show port summary all", {"show.port.summary", {{"port", "all"}}}},
      {"show drops", {"show.drops", json::object()}},
      {"flow list vm1/net0", {"flow.list", {{"port", "vm1/net0"}}}},
      {"flow query 1 0 count", {"flow.query", {{"port", 1}, {"rule", 0}}}},
      {"migration export vm1", {"migration.export", {{"vm", "vm1"}}}},
      {"peer list", {"peer.list", json::object()}},
      {"migrate status vm1", {"migrate.status", {{"vm", "vm1"}}}},
      {"help flow", {"help", {{"command", "flow"}}}},
  };
  for (const auto& [line, method] : pairs) {
    const json by_words = ask("command", {{"line", line}});
    EXPECT_FALSE(by_words["text"].get<std::string>().empty()) << line;
    EXPECT_EQ(by_words["data"], ask(method.first, method.second)) << line;
  }
}

TEST_F(CommandsTest, AttachedPort_IsActiveAndDetachedPortIsUnbound) {
  const auto* vm1 = host.store.find("vm1/net0");
  ASSERT_NE(vm1, nullptr);
  EXPECT_TRUE(vm1->active);
  EXPECT_EQ(vm1->location.kind, dataplane::LocationKind::kPort);
  EXPECT_EQ(run("port detach vm1/net0"), "Port 1 is detached\nNow total ports is 2\n");
  EXPECT_FALSE(vm1->active);
  EXPECT_FALSE(vm1->port.valid());
  EXPECT_EQ(vm1->location.kind, dataplane::LocationKind::kNone);
  EXPECT_EQ(vm1->rules.size(), 1u);
  run("port attach vhost vm1/net0 socket=/tmp/1");
  EXPECT_EQ(vm1->profile.macs.size(), 1u);
  EXPECT_TRUE(vm1->active);
}

TEST_F(CommandsTest, FailedAttach_ChangesNothing) {
  const std::string before = picture();
  refused("port attach vhost vm9/net0 socket=/tmp/1");                        // the socket is taken
  refused("port attach vhost vm9/net0 socket=/tmp/9,mac=02:00:00:00:00:01");  // the MAC is vm1's
  refused("port attach vhost vm1/net0 socket=/tmp/9");
  refused("port attach vhost vm9/net0 mode=server");
  refused("port attach ethdev vm7/net0 net_null1");
  EXPECT_EQ(picture(), before);
}

TEST_F(CommandsTest, FlowList_CanBeTypedAgain) {
  run("flow create 1 group 2 priority 9 ingress pattern eth / ipv4 src is 10.0.0.0 / end actions "
      "count / represented_port ethdev_port_id 2 / end");
  const std::string listed = run("flow list vm1/net0");
  run("flow flush vm1/net0");
  EXPECT_EQ(run("flow list vm1/net0"), "");
  size_t begin = 0;
  for (size_t end; (end = listed.find('\n', begin)) != std::string::npos; begin = end + 1)
    run(listed.substr(begin, end - begin));
  const auto without_comments = [](const std::string& text) {
    std::string out;
    for (size_t at = 0; at < text.size(); at = text.find('\n', at) + 1)
      out += text.substr(at, text.find(" #", at) - at) + "\n";
    return out;
  };
  EXPECT_EQ(without_comments(run("flow list vm1/net0")), without_comments(listed));
  EXPECT_NE(listed.find("# rule 0: vm7/net0 via physnet1"), std::string::npos) << listed;
  EXPECT_NE(listed.find("# rule 1: vm2/net0 at port 2"), std::string::npos) << listed;
}

TEST_F(CommandsTest, Error_HasTheColumnInTheLine) {
  const struct {
    const char* line;
    unsigned column;
    const char* token;
  } lines[] = {
      {"show nothing", 6, "nothing"},
      {"  flow create vm1/net0 ingress pattern ethh / end actions drop / end", 40, "ethh"},
      {"flow create vm9 ingress pattern eth / end actions drop / end", 13, "vm9"},
      {"flow create", 12, ""},
      {"flow destroy vm1/net0 rule 4", 28, "4"},
      {"show port info 9", 16, "9"},
      {"endpoint add x location here", 25, "here"},
      {"migrate start vm1 host-x", 19, "host-x"},
      {"migrate start --all host-x", 21, "host-x"},
      {"migrate pull vm9 host-x", 18, "host-x"},
      {"migrate show 12", 14, "12"},
      {"migrate cancel vm9", 16, "vm9"},
  };
  for (const auto& [line, column, token] : lines) {
    const json error = refused(line);
    EXPECT_EQ(error["column"], column) << line << error.dump();
    EXPECT_EQ(error["token"], token) << line << error.dump();
  }
}

TEST_F(CommandsTest, TooManyAddresses_AreRefusedWithTheirKindAndLimit) {
  json macs = json::array(), ips = json::array(), ipv6s = json::array();
  for (int i = 0; i < 257; ++i) {
    ips.push_back("10.0." + std::to_string(i / 256) + "." + std::to_string(i % 256));
    ipv6s.push_back("fd00::" + std::to_string(i));
    macs.push_back("02:00:00:01:00:01");
  }
  const struct {
    const char* name;
    json value;
    const char *message, *expected;
  } rows[] = {
      {"macs", macs, "an endpoint cannot have 257 MAC addresses", "at most 256"},
      {"ips", ips, "an endpoint cannot have 257 IPv4 addresses", "at most 256"},
      {"ips", ipv6s, "an endpoint cannot have 257 IPv6 addresses", "at most 256"},
      {"vlans", json(4096, 1), "an endpoint cannot have 4096 VLANs", "at most 4095"},
  };
  for (const auto& [name, value, message, expected] : rows) {
    const json answer = ask("endpoint.set", {{"name", "vm7/net0"}, {name, value}});
    EXPECT_EQ(answer["message"], message);
    EXPECT_EQ(answer["expected"], expected);
  }
}

TEST_F(CommandsTest, ParameterThatIsNoWholeNumber_IsRefused) {
  const json answer = ask("endpoint.set", {{"name", "vm7/net0"}, {"mtu", 1.5}});
  EXPECT_EQ(answer["message"], "\"mtu\" must be a whole number from 68 to 9216");
}

TEST_F(CommandsTest, Counts_AgreeWithTheirNouns) {
  EXPECT_EQ(run("migration export vm1 f"), "Exported vm1: 1 rule\n");
  const auto rewritten = [](unsigned count) {
    return print_migration_rewrite({{"transmit_rules_removed", count},
                                    {"receive_rules_rewritten", count},
                                    {"uplink_rules_removed", count},
                                    {"old_ports", json::object()}},
                                   {});
  };
  EXPECT_TRUE(rewritten(1).starts_with(
      "1 transmit rule removed\n1 receive rule leads to the uplink\n1 uplink rule removed\n"));
  EXPECT_TRUE(rewritten(2).starts_with(
      "2 transmit rules removed\n2 receive rules lead to the uplink\n2 uplink rules removed\n"));
  const auto imported = [](unsigned count) {
    return print_migration_import({{"rules_imported", count},
                                   {"receive_rules_rewritten", count},
                                   {"uplink_rules_added", count},
                                   {"new_ports", json::object()}},
                                  {});
  };
  EXPECT_TRUE(imported(1).starts_with(
      "1 rule imported\n1 receive rule leads to the new ports\n1 uplink rule added\n"));
  EXPECT_TRUE(imported(0).starts_with(
      "0 rules imported\n0 receive rules lead to the new ports\n0 uplink rules added\n"));
  EXPECT_EQ(print_migrate_start({{"peer", "host-b"},
                                 {"evacuation", "e1"},
                                 {"started", json::array({"vm1"})},
                                 {"refused", json::array()}},
                                {}),
            "Moving 1 VM to host-b, evacuation e1\n");
}

TEST_F(CommandsTest, EmptyLineOrComment_DoesNothing) {
  EXPECT_EQ(run(""), "");
  EXPECT_EQ(run("   # show endpoints"), "");
}

TEST_F(CommandsTest, Completion_OffersOnlyFittingWords) {
  const auto words = [&](const std::string& line) {
    std::vector<std::string> out;
    const json answer = ask("complete", {{"line", line}});
    for (const json& one : answer.at("candidates")) out.push_back(one["word"]);
    return out;
  };
  EXPECT_EQ(words("mig"), (std::vector<std::string>{"migration", "migrate"}));
  EXPECT_EQ(words("migrate start vm1 "), (std::vector<std::string>{"host-b"}));
  EXPECT_EQ(words("migration rewrite "), (std::vector<std::string>{"vm1", "vm2", "vm7"}));
  EXPECT_EQ(words("port detach vm"), (std::vector<std::string>{"vm1/net0", "vm2/net0"}));
  EXPECT_EQ(words("show endpoints "), (std::vector<std::string>{}));
  EXPECT_FALSE(words("flow create vm1/net0 ingress pattern ").empty());
}

TEST_F(CommandsTest, AlteredReadOnlyLine_IsAnsweredAndChangesNothing) {
  const std::string before = picture();
  constexpr uint32_t kSeed = 23;
  SCOPED_TRACE(kSeed);
  std::mt19937 random(kSeed);
  const std::vector<std::string> lines = {
      "show port stats all",
      "flow list vm1/net0 group 1",
      "flow query vm1/net0 0 count",
      "migration export vm1 f",
      "migrate show 1",
      "flow validate 1 ingress pattern eth / vlan vid is 4 / end actions drop / end",
      "flow dump 1 all",
      "help show port",
      "migrate status vm1",
      "show fdb",
      "show workers",
      "show memory"};
  for (int i = 0; i < 3000; ++i) {
    std::string line = lines[random() % lines.size()];
    for (size_t n = random() % 3; n > 0; --n)
      line[random() % line.size()] = static_cast<char>(random() % 256);
    line.resize(1 + random() % line.size());
    const json answer = ask("command", {{"line", line}});
    EXPECT_TRUE(answer.contains("text") ||
                !answer["message"].get<std::string>().starts_with("internal"))
        << line << answer.dump();
    ask("complete", {{"line", line}, {"cursor", random() % 100}});
  }
  EXPECT_EQ(picture(), before);
}

TEST_F(CommandsTest, Method_WithAnyParameters_HasNoInternalError) {
  constexpr uint32_t kSeed = 29;
  SCOPED_TRACE(kSeed);
  std::mt19937 random(kSeed);
  const std::vector<json> values = {nullptr,
                                    true,
                                    -1,
                                    0,
                                    1,
                                    70000,
                                    1.5,
                                    "",
                                    "all",
                                    "vm1/net0",
                                    "vm7",
                                    "1",
                                    "99999999999999999999",
                                    json::array(),
                                    json::array({1}),
                                    json::array({"x"}),
                                    json::object(),
                                    "uplink:physnet1",
                                    "/tmp/x",
                                    "host-b"};
  const std::vector<std::string> names = {
      "port", "text",  "vm",      "peer",   "name",   "socket",  "mode",  "location", "macs",
      "ips",  "vlans", "mtu",     "queues", "miss",   "rule",    "rules", "groups",   "document",
      "bind", "file",  "devargs", "line",   "cursor", "command", "all",   "from",     "id"};
  for (const Command& command : commands()) {
    for (int i = 0; i < 300; ++i) {
      json params = json::object();
      for (size_t n = random() % 4; n > 0; --n)
        params[names[random() % names.size()]] = values[random() % values.size()];
      const json answer = ask(std::string(command.method), params);
      EXPECT_FALSE(answer.contains("code") &&
                   answer["message"].get<std::string>().starts_with("internal"))
          << command.method << " " << params.dump() << answer.dump();
    }
  }
}

}  // namespace
}  // namespace godwit::control
