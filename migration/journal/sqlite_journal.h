// SPDX-License-Identifier: Apache-2.0
//
// The journal in a file: SQLite with a write-ahead log. sqlite_schema.h describes the tables.
//
// One batch is one transaction. A batch that contains moves or epochs is synced to the disk before
// write() returns. With `lazy_policy`, a batch of policy alone is with the operating system by
// then. It survives the death of the process, but perhaps not a loss of power. The next sync() or
// synced batch brings it to the disk. The order is kept, so only the newest batches can be lost.
//
// After a torn write SQLite drops whole transactions from the end of its log. A full disk refuses
// the batch, and nothing has changed.
//
// Thread safety: the control thread only.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "base/result.h"
#include "migration/journal/journal.h"
#include "migration/journal/sqlite_reader.h"
#include "migration/journal/sqlite_writer.h"

namespace godwit::migration {

struct SqliteJournalOptions {
  std::string host;  // the name of this host; the file of another host is refused
  bool lazy_policy = false;
  bool read_only = false;  // the file must exist
};

class SqliteJournal final : public Journal {
 public:
  // Opens the file, and creates it if it does not exist. The folder must exist. Returns an error
  // that names the file if it is damaged, of a newer schema, or not this host's.
  static Result<std::unique_ptr<SqliteJournal>> open(const std::string& path,
                                                     const SqliteJournalOptions& options);
  ~SqliteJournal() override;

  Result<std::vector<MoveRecord>> moves() override { return reader_.moves(); }
  Result<StoredPolicy> policy() override { return reader_.policy(); }

  // Returns whether lazily stored policy is not on the disk yet.
  [[nodiscard]] bool unsynced() const { return unsynced_; }
  // Brings lazily stored policy to the disk. Returns an error if the disk refuses.
  Result<void> sync();
  [[nodiscard]] const std::string& path() const;

 private:
  SqliteJournal(std::unique_ptr<Database> database, SqliteJournalOptions options);
  Result<void> check();
  Result<void> check_identity();
  Result<void> load();
  Result<void> store(const JournalBatch& batch) override;
  Result<void> set_synchronous(bool full);

  std::unique_ptr<Database> database_;
  const SqliteJournalOptions options_;
  SqliteReader reader_;
  SqliteWriter writer_;
  bool full_ = true;  // PRAGMA synchronous is FULL
  bool unsynced_ = false;
};

}  // namespace godwit::migration
