// SPDX-License-Identifier: Apache-2.0
//
// Starts of a switch with a stored state: lines of the file that have changed since the last start
// are applied, and the changes of commands and moves stay.
#include "control/state/restore.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "control/config/config_reader.h"
#include "control/config/scratch_store.h"
#include "migration/journal/memory_journal.h"
#include "migration/journal/policy_record.h"

namespace godwit::control {
namespace {

using migration::MemoryDisk;
using migration::MemoryJournal;

const char* const kHead = R"(host: host-a
uplinks:
  - {name: physnet1, devargs: "net_null0"}
)";
const char* const kEndpoints = R"(endpoints:
  - {name: vm1/net0, vhost: {socket: /run/1.sock}, macs: ["02:00:00:00:00:01"]}
  - {name: vm2/net0, vhost: {socket: /run/2.sock, mode: server}}
)";
const std::string kDropUdp =
    "flow create vm1/net0 ingress priority 1 pattern eth / ipv4 / udp / end actions drop / end";
const std::string kDropTcp =
    "flow create vm1/net0 ingress priority 2 pattern eth / ipv4 / tcp / end actions drop / end";
const std::string kToVm2 =
    "flow create vm1/net0 ingress pattern eth / end actions represented_port ethdev_port_id "
    "vm2/net0 / end";
const std::string kOfVm2 = "flow create vm2/net0 egress pattern eth / end actions count / end";

class RestoreTest : public ::testing::Test {
 protected:
  static std::string file_of(const std::vector<std::string>& rules,
                             const std::string& endpoints = kEndpoints,
                             const std::string& head = kHead) {
    std::string out = head + endpoints + (rules.empty() ? "" : "rules:\n");
    for (const std::string& rule : rules) out += "  - \"" + rule + "\"\n";
    return out;
  }
  // Starts a switch with this file. Returns the rules in force afterwards, as "ID RULE".
  std::vector<std::string> start(const std::string& text, bool lose = false) {
    auto config = parse_config(text, "host.yaml");
    EXPECT_TRUE(config) << config.error().message;
    scratch_ = std::make_unique<ScratchStore>();
    journal_ = std::make_unique<MemoryJournal>(disk_);
    auto restored = restore(*config, *journal_, scratch_->store, lose);
    error_ = restored ? "" : restored.error().message;
    notes_.clear();
    lost_.clear();
    if (!restored) return {};
    notes_ = restored->reconciled.notes;
    lost_ = restored->lost;
    changed_ = restored->reconciled.changed;
    scratch_->store.collect_implicit();
    auto written = write_restored(*restored, scratch_->store, *journal_);
    EXPECT_TRUE(written) << written.error().message;
    return in_force();
  }
  std::vector<std::string> in_force() const {
    std::vector<std::pair<uint64_t, std::string>> all;
    for (const auto* endpoint : scratch_->store.endpoints()) {
      for (const auto& [id, rule] : endpoint->rules) {
        all.emplace_back(
            rule->entry->order.sequence,
            std::to_string(id) + " " + migration::stored_rule(scratch_->store, *rule).text);
      }
    }
    std::ranges::sort(all);
    std::vector<std::string> out;
    for (auto& [sequence, text] : all) out.push_back(std::move(text));
    return out;
  }
  static std::string short_of(uint32_t id, const std::string& line) {
    const size_t owner = line.find(' ', 12);
    return std::to_string(id) + line.substr(owner);
  }
  // Writes the change of a command to the journal.
  void create(const std::string& owner, uint32_t id, const std::string& rule) {
    migration::JournalBatch batch;
    batch.created.push_back({owner, id, owner, rule});
    ASSERT_TRUE(journal_->write(batch));
  }
  void destroy(const std::string& owner, uint32_t id) {
    migration::JournalBatch batch;
    batch.destroyed.emplace_back(owner, id);
    ASSERT_TRUE(journal_->write(batch));
  }
  // Moves vm2 to another host.
  void move_away() {
    migration::JournalBatch batch =
        migration::moved_out(scratch_->store, "vm2", scratch_->store.find("physnet1")->id);
    batch.epochs.emplace_back("vm2", migration::Epoch{1, "host-b"});
    ASSERT_TRUE(journal_->write(batch));
  }
  [[nodiscard]] std::string socket(const std::string& name) const {
    const auto found = disk_->endpoints.find(name);
    return found == disk_->endpoints.end() ? "none" : found->second.socket;
  }

  std::shared_ptr<MemoryDisk> disk_ = std::make_shared<MemoryDisk>();
  std::unique_ptr<MemoryJournal> journal_;
  std::unique_ptr<ScratchStore> scratch_;
  std::string error_;
  std::vector<std::string> notes_, lost_;
  bool changed_ = false;
};

using Rules = std::vector<std::string>;

TEST_F(RestoreTest, FirstStart_TakesTheFileAndTheNextTheStoredState) {
  const std::string file = file_of({kDropUdp, kToVm2, kOfVm2});
  const Rules all{short_of(0, kDropUdp), short_of(1, kToVm2), short_of(0, kOfVm2)};
  EXPECT_EQ(start(file), all);
  EXPECT_TRUE(changed_);
  EXPECT_EQ(socket("vm1/net0"), "/run/1.sock");
  EXPECT_TRUE(disk_->endpoints.at("vm2/net0").server);
  EXPECT_EQ(start(file), all);
  EXPECT_FALSE(changed_) << "nothing is written when nothing has changed";
  EXPECT_TRUE(notes_.empty());
}

TEST_F(RestoreTest, CommandChanges_SurviveRestartAndEditedFile) {
  start(file_of({kDropUdp, kDropTcp}));
  create("vm1/net0", 7, "ingress priority 9 pattern eth / end actions count / end");
  destroy("vm1/net0", 0);
  const Rules after{short_of(1, kDropTcp),
                    "7 ingress priority 9 pattern eth / end actions count / end"};
  EXPECT_EQ(start(file_of({kDropUdp, kDropTcp})), after);
  // Another rule is added: the destroyed one does not come back.
  EXPECT_EQ(start(file_of({kDropUdp, kDropTcp, kToVm2})),
            (Rules{after[0], after[1], short_of(8, kToVm2)}));
  EXPECT_TRUE(changed_);
}

TEST_F(RestoreTest, RuleRemovedOrChangedInFile_IsRemovedOrChanged) {
  start(file_of({kDropUdp, kDropTcp, kToVm2}));
  std::string changed = kDropTcp;
  changed.replace(changed.find("priority 2"), 10, "priority 5");
  EXPECT_EQ(start(file_of({changed, kToVm2})), (Rules{short_of(2, kToVm2), short_of(3, changed)}));
}

TEST_F(RestoreTest, EqualLines_AreSeparateRules) {
  start(file_of({kDropUdp, kDropUdp}));
  EXPECT_EQ(in_force().size(), 2u);
  EXPECT_EQ(start(file_of({kDropUdp})).size(), 1u);
}

TEST_F(RestoreTest, FileRuleAlreadyInForce_IsAdopted) {
  start(file_of({kDropUdp}));
  create("vm1/net0", 4, kDropTcp.substr(kDropTcp.find("ingress")));
  EXPECT_EQ(start(file_of({kDropUdp, kDropTcp})),
            (Rules{short_of(0, kDropUdp), short_of(4, kDropTcp)}));
  EXPECT_EQ(start(file_of({kDropUdp})), (Rules{short_of(0, kDropUdp)}))
      << "an adopted rule belongs to the file";
}

TEST_F(RestoreTest, MovedVm_StaysAwayWhateverIsEdited) {
  start(file_of({kDropUdp, kOfVm2}));
  move_away();
  EXPECT_EQ(start(file_of({kDropUdp, kOfVm2})), (Rules{short_of(0, kDropUdp)}));
  EXPECT_EQ(socket("vm2/net0"), "");
  EXPECT_EQ(start(file_of({kDropTcp, kOfVm2})), (Rules{short_of(1, kDropTcp)}))
      << "vm1's rule was changed in the file";
  EXPECT_EQ(socket("vm2/net0"), "");
  EXPECT_TRUE(notes_.empty());
  // A new rule of the VM and another socket are not applied. Notes name their places.
  const std::string other = "flow create vm2/net0 ingress pattern eth / end actions drop / end";
  std::string endpoints = kEndpoints;
  endpoints.replace(endpoints.find("/run/2.sock"), 11, "/run/x.sock");
  EXPECT_EQ(start(file_of({kDropTcp, kOfVm2, other}, endpoints)), (Rules{short_of(1, kDropTcp)}));
  ASSERT_EQ(notes_.size(), 2u);
  EXPECT_NE(notes_[0].find("host.yaml:6:12: vm2/net0 has moved to another host"), std::string::npos)
      << notes_[0];
  EXPECT_NE(notes_[1].find("host.yaml:10:6: vm2/net0 has moved to another host"), std::string::npos)
      << notes_[1];
  EXPECT_EQ(socket("vm2/net0"), "");
}

TEST_F(RestoreTest, EndpointLines_AreChangedAddedAndRemoved) {
  start(file_of({kDropUdp}));
  const std::string fewer =
      "endpoints:\n  - {name: vm1/net0, vhost: {socket: /run/new.sock}}\n  - {name: vm3/net0, "
      "vhost: {socket: /run/3.sock}}\n";
  EXPECT_EQ(start(file_of({kDropUdp}, fewer)), (Rules{short_of(0, kDropUdp)}));
  EXPECT_EQ(socket("vm1/net0"), "/run/new.sock");
  EXPECT_EQ(socket("vm3/net0"), "/run/3.sock");
  EXPECT_EQ(socket("vm2/net0"), "none") << "nothing named it";
}

TEST_F(RestoreTest, RemovedEndpointWithCommandRules_StaysWithoutPort) {
  start(file_of({kOfVm2}));
  create("vm2/net0", 5, "ingress pattern eth / end actions drop / end");
  const std::string fewer = "endpoints:\n  - {name: vm1/net0, vhost: {socket: /run/1.sock}}\n";
  EXPECT_EQ(start(file_of({}, fewer)), (Rules{"5 ingress pattern eth / end actions drop / end"}));
  EXPECT_EQ(socket("vm2/net0"), "");
  ASSERT_EQ(notes_.size(), 1u);
  EXPECT_NE(notes_[0].find("vm2/net0"), std::string::npos);
}

TEST_F(RestoreTest, RuleOfRemovedUplink_PreventsStartUntilForgotten) {
  const std::string two =
      "host: host-a\nuplinks:\n  - {name: physnet1, devargs: net_null0}\n  - {name: physnet2, "
      "devargs: net_null1}\n";
  std::string endpoints = kEndpoints;
  start(file_of({kDropUdp}, endpoints, two));
  const std::string rule =
      "ingress priority 3 pattern eth / end actions represented_port ethdev_port_id physnet2 / end";
  create("vm1/net0", 6, rule);
  EXPECT_EQ(start(file_of({kDropUdp}, endpoints, two)).size(), 2u);
  EXPECT_TRUE(start(file_of({kDropUdp}, endpoints)).empty());
  EXPECT_NE(error_.find("rule 6 of vm1/net0: the uplink physnet2 is no longer in the file: `" +
                        rule + "`"),
            std::string::npos)
      << error_;
  EXPECT_NE(error_.find("--forget-lost"), std::string::npos) << error_;
  EXPECT_EQ(disk_->rules.size(), 2u) << "a refused start forgets nothing";
  EXPECT_EQ(start(file_of({kDropUdp}, endpoints), true), (Rules{short_of(0, kDropUdp)}));
  EXPECT_EQ(lost_.size(), 1u);
  EXPECT_EQ(start(file_of({kDropUdp}, endpoints)), (Rules{short_of(0, kDropUdp)})) << error_;
}

TEST_F(RestoreTest, BadFile_IsRefusedAtItsPlaceAndChangesNothing) {
  start(file_of({kDropUdp}));
  EXPECT_TRUE(
      start(file_of({kDropUdp,
                     "flow create vm1/net0 ingress pattern eth / end actions teleport / end"}))
          .empty());
  EXPECT_NE(error_.find("host.yaml:9:"), std::string::npos) << error_;
  EXPECT_EQ(start(file_of({kDropUdp})).size(), 1u);
}

}  // namespace
}  // namespace godwit::control
