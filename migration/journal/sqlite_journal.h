// SPDX-License-Identifier: Apache-2.0
//
// The journal in a file: SQLite with a write-ahead log. sqlite_schema.h describes the tables.
//
// One batch is one transaction. write() syncs a batch to the disk before it returns. With
// `lazy_policy` it does not sync a batch that has policy alone, without moves or epochs. The
// operating system then has the batch, so it survives a crash of the process, but a loss of power
// may lose it. The next sync() or synced batch brings it to the disk. The disk keeps the order of
// the batches, so only the newest ones can be lost.
//
// After a torn write SQLite drops whole transactions from the end of its log. If the disk is full,
// write() returns an error and nothing has changed.
//
// A damaged row is set aside (set_aside_table.h) and the rest is used. A file that SQLite cannot
// read, or that its integrity check refuses, is an error.
//
// Thread safety: the control thread only.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "base/result.h"
#include "migration/journal/journal.h"
#include "migration/journal/set_aside_table.h"
#include "migration/journal/sqlite_reader.h"
#include "migration/journal/sqlite_writer.h"

namespace godwit::migration {

struct SqliteJournalOptions {
  std::string host;          // the name of this host; open() refuses a file of another host
  bool lazy_policy = false;  // write() does not sync batches of policy alone
  bool read_only = false;    // the file must exist
};

class SqliteJournal final : public Journal {
 public:
  // Opens the file, and creates it if it does not exist. The folder must exist. Returns an error
  // that names the file if it is damaged, has a newer schema, or belongs to another host.
  static Result<std::unique_ptr<SqliteJournal>> open(const std::string& path,
                                                     const SqliteJournalOptions& options);
  ~SqliteJournal() override;

  // Both set aside the damaged rows that they find, unless the file is read only.
  Result<std::vector<MoveRecord>> moves() override;
  Result<StoredPolicy> policy() override;
  Result<void> forget_set_aside() override;

  // Returns whether a batch that was written without a sync is not on the disk yet.
  [[nodiscard]] bool unsynced() const { return unsynced_; }
  // Syncs such batches to the disk. Returns an error if the disk refuses.
  Result<void> sync();
  [[nodiscard]] const std::string& path() const;

 private:
  SqliteJournal(std::unique_ptr<Database> database, SqliteJournalOptions options);
  // Checks the file's identity, integrity and host, and configures the database.
  Result<void> check();
  // Checks that the file is a state file of a known schema.
  Result<void> check_identity();
  // Reads the epochs and ended moves into memory.
  Result<void> load();
  // Sets aside the damaged rows that the reader has found. A disk that refuses does not matter: the
  // next start finds them again.
  void set_damaged_aside();
  // Writes a value of the table meta that was damaged.
  Result<void> repair_meta(const char* name, const std::string& value);
  Result<void> store(const JournalBatch& batch) override;
  Result<void> set_synchronous(bool full);

  std::unique_ptr<Database> database_;
  const SqliteJournalOptions options_;
  SqliteReader reader_;
  SqliteWriter writer_;
  SetAsideTable set_aside_table_;
  bool full_ = true;  // PRAGMA synchronous is FULL
  bool unsynced_ = false;
};

}  // namespace godwit::migration
