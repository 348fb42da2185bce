// SPDX-License-Identifier: Apache-2.0
#include "migration/journal/sqlite_journal.h"

#include <sys/stat.h>

#include <cerrno>
#include <cstring>
#include <utility>

#include "migration/journal/database.h"
#include "migration/journal/row_sums.h"
#include "migration/journal/sqlite_schema.h"

namespace godwit::migration {

SqliteJournal::SqliteJournal(std::unique_ptr<Database> database, SqliteJournalOptions options)
    : database_(std::move(database)),
      options_(std::move(options)),
      reader_(*database_),
      writer_(*database_),
      set_aside_table_(*database_) {}
SqliteJournal::~SqliteJournal() = default;

const std::string& SqliteJournal::path() const { return database_->path(); }

Result<std::unique_ptr<SqliteJournal>> SqliteJournal::open(const std::string& path,
                                                           const SqliteJournalOptions& options) {
  struct stat found {};
  if (stat(path.c_str(), &found) != 0) {
    if (errno != ENOENT || options.read_only) return fail(path + ": " + std::strerror(errno));
    if (auto made = create_state_file(path, options.host); !made) return fail(made.error());
  }
  auto database =
      Database::open(path, options.read_only ? Database::Access::kRead : Database::Access::kWrite);
  if (!database) return fail(database.error());
  std::unique_ptr<SqliteJournal> journal(new SqliteJournal(std::move(*database), options));
  if (found.st_size == 0 && S_ISREG(found.st_mode)) return journal->reader_.damaged("it is empty");
  if (auto good = journal->check(); !good) return fail(good.error());
  if (auto loaded = journal->load(); !loaded) return fail(loaded.error());
  return journal;
}

Result<void> SqliteJournal::check_identity() {
  Database& database = *database_;
  auto application = database.number("PRAGMA application_id");
  if (!application) return reader_.damaged(application.error().message);
  if (*application != kApplicationId)
    return fail(path() +
                " is not a state file of Godwit: name another directory, or move the file aside");
  auto schema = database.number("PRAGMA user_version");
  if (!schema) return reader_.damaged(schema.error().message);
  if (*schema > kSchema) {
    return fail(path() + " was written by a newer Godwit (schema " + std::to_string(*schema) +
                ", this one reads " + std::to_string(kSchema) +
                "): start the newer one, or move the file and its -wal file aside to start with "
                "the configuration alone");
  }
  if (*schema != kSchema) return reader_.damaged("schema " + std::to_string(*schema));
  return {};
}

Result<void> SqliteJournal::check() {
  if (auto known = check_identity(); !known) return known;
  if (auto sound = reader_.check_integrity(); !sound) return sound;
  auto aside = set_aside_table_.read();
  if (!aside) return reader_.damaged(aside.error().message);
  set_aside_ = std::move(*aside);
  auto host = reader_.meta("host");
  if (!host) return fail(host.error());
  if (host->empty()) {
    set_damaged_aside();
    if (auto repaired = repair_meta("host", options_.host); !repaired) return repaired;
  }
  if (!host->empty() && *host != options_.host) {
    return fail(path() + " is the state of host " + *host + ", and this is " + options_.host +
                ": name another directory, or move the file aside");
  }
  if (!options_.read_only) {
    // trusted_schema=OFF keeps a file from running functions of this program. The two limits keep
    // the log from growing without bound.
    return database_->execute(
        "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; PRAGMA wal_autocheckpoint=1000; PRAGMA "
        "journal_size_limit=67108864;"
        "PRAGMA trusted_schema=OFF; PRAGMA cell_size_check=ON; PRAGMA temp_store=MEMORY; PRAGMA "
        "cache_size=-16384");
  }
  return {};
}

Result<void> SqliteJournal::load() {
  auto known = reader_.epochs_and_settled();
  if (!known) return fail(known.error());
  set_damaged_aside();
  remember(*known);
  return {};
}

void SqliteJournal::set_damaged_aside() {
  const std::vector<DamagedRow> rows = reader_.take_damaged();
  for (const DamagedRow& row : rows) set_aside_.push_back(row.about);
  if (!rows.empty() && !options_.read_only) (void)set_aside_table_.take(rows);
}

Result<void> SqliteJournal::repair_meta(const char* name, const std::string& value) {
  if (options_.read_only) return {};
  return database_->run("INSERT OR REPLACE INTO meta(name, value, sum) VALUES(?, ?, ?)",
                        {name, value, sum_of_meta(name, value)});
}

Result<std::vector<MoveRecord>> SqliteJournal::moves() {
  auto moves = reader_.moves();
  set_damaged_aside();
  return moves;
}

Result<StoredPolicy> SqliteJournal::policy() {
  auto policy = reader_.policy();
  if (!policy) return policy;
  set_damaged_aside();
  auto mark = reader_.meta("written");
  (void)reader_.take_damaged();  // found twice where nothing may be written
  if (mark && mark->empty()) {
    if (auto repaired = repair_meta("written", policy->written ? "yes" : "no"); !repaired)
      return fail(repaired.error());
  }
  for (const SetAside& record : set_aside_) {
    if (!record.endpoint.empty()) policy->incomplete.insert(record.endpoint);
  }
  return policy;
}

Result<void> SqliteJournal::forget_set_aside() {
  auto done = set_aside_table_.forget();
  if (done) set_aside_.clear();
  return done;
}

Result<void> SqliteJournal::set_synchronous(bool full) {
  if (full == full_) return {};
  if (auto set = database_->execute(full ? "PRAGMA synchronous=FULL" : "PRAGMA synchronous=NORMAL");
      !set)
    return set;
  full_ = full;
  return {};
}

Result<void> SqliteJournal::store(const JournalBatch& batch) {
  const bool lazy = options_.lazy_policy && batch.epochs.empty() && batch.moves.empty() &&
                    batch.deltas.empty() && batch.settled.empty();
  Result<void> done = set_synchronous(!lazy);
  if (done) done = database_->run("BEGIN IMMEDIATE");
  if (!done) return done;
  done = writer_.write(batch);
  if (done) done = database_->run("COMMIT");
  if (!done) {
    if (database_->in_transaction()) (void)database_->run("ROLLBACK");
    return done;
  }
  unsynced_ = lazy;
  return {};
}

Result<void> SqliteJournal::sync() {
  if (!unsynced_) return {};
  Result<void> done = set_synchronous(true);
  if (done) done = database_->run("UPDATE syncs SET count=count+1");
  if (done) unsynced_ = false;
  return done;
}

}  // namespace godwit::migration
