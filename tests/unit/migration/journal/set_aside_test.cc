// SPDX-License-Identifier: Apache-2.0
//
// Rows of a state file that are damaged, and what a journal refuses to store.
#include <gtest/gtest.h>

#include <algorithm>
#include <string>

#include "migration/journal/sqlite_journal.h"
#include "tests/unit/migration/journal/journal_scratch.h"

namespace godwit::migration {
namespace {

class DamagedRows : public ::testing::Test {
 protected:
  DamagedRows() {
    auto journal = open(path_);
    EXPECT_TRUE(journal);
    JournalBatch batch;
    for (uint32_t i = 0; i < 20; ++i)
      batch.created.push_back(
          {"vm1/net0", i, "vm1/net0", "ingress pattern eth / end actions drop / end"});
    EXPECT_TRUE((*journal)->write(batch));
  }
  Scratch folder_;
  std::string path_ = folder_ / "state.sqlite";
};

std::string described(const Journal& journal) {
  std::string out;
  for (const SetAside& record : journal.set_aside())
    out += record.table + ": " + record.what + " [" + record.endpoint + "]\n";
  return out;
}

TEST_F(DamagedRows, RuleWithWrongSum_IsSetAsideAndItsEndpointIsIncomplete) {
  {
    auto journal = open(path_);
    ASSERT_TRUE(journal);
    JournalBatch batch;
    batch.endpoints.push_back({});
    batch.endpoints.back().profile.name = "vm1/net0";
    ASSERT_TRUE((*journal)->write(batch));
  }
  run_sql(path_,
          "UPDATE rules SET text='ingress pattern end actions drop / end' WHERE "
          "owner='vm1/net0' AND id=3");
  const std::string expected = "rules: rule 3 of vm1/net0 in vm1/net0 [vm1/net0]\n";
  for (int start = 0; start < 2; ++start) {
    SCOPED_TRACE(start);
    auto journal = open(path_);
    ASSERT_TRUE(journal) << journal.error().message;
    auto policy = (*journal)->policy();
    ASSERT_TRUE(policy) << policy.error().message;
    EXPECT_EQ(std::ranges::count(policy->rules, std::string("vm1/net0"), &StoredRule::inside), 19);
    EXPECT_TRUE(policy->incomplete.contains("vm1/net0"));
    EXPECT_EQ(described(**journal), expected);
  }
  auto journal = open(path_);
  ASSERT_TRUE(journal);
  ASSERT_TRUE((*journal)->forget_set_aside());
  EXPECT_TRUE((*journal)->policy()->incomplete.empty());
  journal->reset();
  EXPECT_EQ(described(**open(path_)), "");
}

TEST_F(DamagedRows, EachTable_LosesOnlyTheDamagedRow) {
  {
    auto journal = open(path_);
    ASSERT_TRUE(journal);
    JournalBatch batch;
    batch.epochs.emplace_back("vm8", Epoch{8, "host-b"});
    batch.epochs.emplace_back("vm9", Epoch{9, "host-b"});
    for (const char* id : {"kept", "bad-row", "bad-rule"}) {
      MoveRecord& move = batch.moves.emplace_back();
      move = {id, "vm9", "host-b", MoveRole::kDestination, "prepared", {1, "host-b"}, {}, 0, {}};
      Document document;
      document.vm = "vm9";
      document.host = "host-b";
      document.profiles.emplace_back().name = "vm9/net0";
      document.rules.push_back({"vm9/net0", 1, "ingress pattern eth / end actions drop / end"});
      document.digest = digest_of(document);
      move.document = std::make_shared<const Document>(std::move(document));
    }
    batch.settled.push_back({"old", "vm9", "host-b", MoveRole::kSource, true, {1, "host-b"}, {}});
    batch.endpoints.emplace_back().profile.name = "vm9/net0";
    batch.replace_configured = true;
    batch.configured = {"uplink physnet1"};
    ASSERT_TRUE((*journal)->write(batch));
  }
  run_sql(path_,
          "UPDATE epochs SET counter=7 WHERE vm='vm9';"
          "UPDATE moves SET peer='host-c' WHERE id='bad-row';"
          "UPDATE move_rules SET id=2 WHERE move=(SELECT seq FROM moves WHERE id='bad-rule');"
          "UPDATE settled SET peer='host-c' WHERE id='old';"
          "UPDATE endpoints SET body='{}' WHERE name='vm9/net0';"
          "UPDATE configured SET line='uplink physnet2';"
          "UPDATE meta SET sum=sum+1");
  auto journal = open(path_);
  ASSERT_TRUE(journal) << journal.error().message;
  EXPECT_EQ((*journal)->epochs().at("vm8").counter, 8u);
  EXPECT_FALSE((*journal)->epochs().contains("vm9"));
  EXPECT_EQ((*journal)->settled("old", MoveRole::kSource), nullptr);
  auto moves = (*journal)->moves();
  ASSERT_TRUE(moves) << moves.error().message;
  EXPECT_EQ(std::ranges::count(*moves, std::string("vm9"), &MoveRecord::vm), 1);
  auto policy = (*journal)->policy();
  ASSERT_TRUE(policy) << policy.error().message;
  EXPECT_TRUE(policy->written);
  EXPECT_TRUE(policy->configured.empty());
  EXPECT_EQ(described(**journal),
            "meta: its host []\n"
            "epochs: the epoch of vm9 []\n"
            "settled: ended move old of vm9 []\n"
            "moves: move bad-row of vm9: its checksum does not fit []\n"
            "move_rules: rules of move bad-row of vm9: its checksum does not fit []\n"
            "moves: move bad-rule of vm9: a rule of its document []\n"
            "move_rules: rules of move bad-rule of vm9: a rule of its document []\n"
            "endpoints: endpoint vm9/net0 []\n"
            "configured: the lines of the configuration that were applied last []\n"
            "meta: its written []\n");
  const size_t rules = policy->rules.size(), endpoints = policy->endpoints.size();
  journal->reset();
  journal = open(path_);
  ASSERT_TRUE(journal) << journal.error().message;
  policy = (*journal)->policy();
  ASSERT_TRUE(policy && (*journal)->moves());
  EXPECT_EQ(policy->rules.size(), rules);
  EXPECT_EQ(policy->endpoints.size(), endpoints);
  EXPECT_EQ((*journal)->set_aside().size(), 10u);
}

TEST(SqliteJournalTest, WhatCannotBeLoaded_IsNotStored) {
  Scratch folder;
  const std::string path = folder / "state.sqlite";
  auto journal = open(path);
  ASSERT_TRUE(journal);
  JournalBatch settled;
  settled.settled.push_back(
      {"m1", "vm1", "host-b", MoveRole::kSource, false, {1, "host-b"}, std::string(200'000, 'x')});
  ASSERT_TRUE((*journal)->write(settled));
  settled.settled[0].id = "m2";
  ASSERT_TRUE((*journal)->write_or_keep(settled));
  JournalBatch epoch;
  epoch.epochs.emplace_back("vm1", Epoch{uint64_t{1} << 63, "host-b"});
  EXPECT_FALSE((*journal)->write(epoch));
  JournalBatch move;
  move.moves.push_back(
      {"m3", "vm1", "host-b", MoveRole::kSource, "prepared", {1, "host-b"}, {}, 0, {}});
  move.moves[0].handed.counter = kMaxEpochCounter + 1;
  EXPECT_FALSE((*journal)->write(move));
  journal->reset();
  journal = open(path);
  ASSERT_TRUE(journal) << journal.error().message;
  EXPECT_TRUE((*journal)->set_aside().empty());
  for (const char* id : {"m1", "m2"}) {
    ASSERT_NE((*journal)->settled(id, MoveRole::kSource), nullptr);
    EXPECT_LE((*journal)->settled(id, MoveRole::kSource)->why.size(), 16u * 1024);
  }
}

}  // namespace
}  // namespace godwit::migration
