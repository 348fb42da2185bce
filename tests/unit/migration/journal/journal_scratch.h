// SPDX-License-Identifier: Apache-2.0
//
// A folder for a journal's file, and ways to open and to change the file.
#pragma once

#include <gtest/gtest.h>
#include <sqlite3.h>
#include <unistd.h>

#include <filesystem>
#include <memory>
#include <string>

#include "migration/journal/sqlite_journal.h"

namespace godwit::migration {

class Scratch {
 public:
  Scratch() {
    char name[] = "/var/tmp/godwit-journal-XXXXXX";
    path_ = mkdtemp(name);
  }
  ~Scratch() { std::filesystem::remove_all(path_); }
  Scratch(const Scratch&) = delete;
  Scratch& operator=(const Scratch&) = delete;
  [[nodiscard]] std::string operator/(const char* name) const { return path_ + "/" + name; }

 private:
  std::string path_;
};

inline Result<std::unique_ptr<SqliteJournal>> open(const std::string& path, bool lazy = false) {
  return SqliteJournal::open(path, {"host-a", lazy});
}

inline void run_sql(const std::string& path, const std::string& sql) {
  sqlite3* raw = nullptr;
  ASSERT_EQ(sqlite3_open(path.c_str(), &raw), SQLITE_OK);
  ASSERT_EQ(sqlite3_exec(raw, sql.c_str(), nullptr, nullptr, nullptr), SQLITE_OK);
  sqlite3_close(raw);
}

}  // namespace godwit::migration
