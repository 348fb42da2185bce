// SPDX-License-Identifier: Apache-2.0
#include "control/cli/local_commands.h"

#include <gtest/gtest.h>

#include "base/text.h"
#include "tests/unit/control/cli/fake_daemon.h"

namespace godwit::cli {
namespace {

using nlohmann::json;

Result<Plan> plan_line(const std::string& line) { return plan(line, tokenize(line)); }

TEST(LocalCommands, OtherLine_IsSentUnchanged) {
  for (const char* line : {"show endpoints", "migration rewrite vm1", "migration",
                           "migrate start vm1 host-b", "flow list 0"}) {
    const auto made = plan_line(line);
    ASSERT_TRUE(made);
    EXPECT_EQ(made->method, "command");
    EXPECT_EQ(made->params, (json{{"line", line}}));
    EXPECT_FALSE(made->prints_document);
  }
}

TEST(LocalCommands, ExportFile_IsNotSent) {
  const auto made = plan_line("migration export vm1 out.json");
  ASSERT_TRUE(made);
  EXPECT_EQ(made->params, (json{{"line", "migration export vm1"}}));
  EXPECT_EQ(made->write_to, "out.json");
  EXPECT_EQ(plan_line("migration export vm1")->write_to, "");
  EXPECT_TRUE(plan_line("migration export vm1")->prints_document);
  EXPECT_FALSE(plan_line("migration export vm1 a b"));
}

TEST(LocalCommands, ImportBindings_AreRead) {
  const auto made = plan_line("migration import in.json vm1/net0=socket:/a/b.sock vm1/net1=port:7");
  ASSERT_TRUE(made);
  EXPECT_EQ(made->method, "migration.import");
  EXPECT_EQ(made->read_from, "in.json");
  EXPECT_EQ(made->params["bind"],
            (json{{"vm1/net0", {{"socket", "/a/b.sock"}}}, {"vm1/net1", {{"port", 7}}}}));
}

TEST(LocalCommands, BadBinding_IsRefusedAtItsColumn) {
  for (const char* bind :
       {"vm1/net0", "=port:1", "a=", "a=port:", "a=port:x", "a=port:65536", "a=socket:", "a=x:1"}) {
    const auto made = plan_line(std::string("migration import in.json ") + bind);
    ASSERT_FALSE(made) << bind;
    EXPECT_EQ(made.error().column, 26u) << bind;
    EXPECT_EQ(made.error().token, bind);
  }
  EXPECT_FALSE(plan_line("migration import in.json a=port:1 a=port:2"));
  EXPECT_FALSE(plan_line("migration import"));
}

TEST(LocalCommands, FindDocument_LooksInDataAndDocument) {
  const json document = {{"vm", "vm1"}};
  EXPECT_EQ(*find_document({{"text", "..."}, {"data", document}}), document);
  EXPECT_EQ(*find_document({{"data", {{"document", document}}}}), document);
  EXPECT_EQ(find_document({{"data", nullptr}}), nullptr);
  EXPECT_EQ(find_document({{"data", json::object()}}), nullptr);
  EXPECT_EQ(find_document("text"), nullptr);
}

using DocumentFile = Folder;

TEST_F(DocumentFile, Write_ReplacesTheFileAndCanBeReadBack) {
  const json document = {{"vm", "vm1"}, {"rules", {1, 2, 3}}};
  put("d.json", "what was there before");
  ASSERT_TRUE(write_document(path("d.json"), document));
  EXPECT_EQ(*read_document(path("d.json")), document);
  EXPECT_EQ(files(), 1u);  // no temporary file left
}

TEST_F(DocumentFile, Write_ToBadPath_FailsAndLeavesNoFile) {
  EXPECT_FALSE(write_document(path("no/such/folder"), {{"a", 1}}));
  std::filesystem::create_directory(path("folder"));
  EXPECT_FALSE(write_document(path("folder"), {{"a", 1}}));
  EXPECT_EQ(files(), 1u);
}

TEST_F(DocumentFile, Read_RefusesOtherContents) {
  put("empty", "");
  put("list", "[1]");
  put("cut", "{\"vm\": \"vm");
  for (const char* name : {"empty", "list", "cut", "missing", "."})
    EXPECT_FALSE(read_document(path(name))) << name;
}

}  // namespace
}  // namespace godwit::cli
