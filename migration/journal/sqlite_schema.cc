// SPDX-License-Identifier: Apache-2.0
#include "migration/journal/sqlite_schema.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>

#include "migration/journal/database.h"
#include "migration/journal/row_sums.h"

namespace godwit::migration {

namespace {

constexpr const char* kTables = R"(
CREATE TABLE meta(name TEXT PRIMARY KEY, value TEXT, sum INTEGER) WITHOUT ROWID;
CREATE TABLE syncs(count INTEGER);
INSERT INTO syncs VALUES(0);
CREATE TABLE epochs(vm TEXT PRIMARY KEY, counter INTEGER, host TEXT, sum INTEGER) WITHOUT ROWID;
CREATE TABLE moves(seq INTEGER PRIMARY KEY AUTOINCREMENT, role INTEGER, id TEXT, vm TEXT,
  peer TEXT, state TEXT, offered INTEGER, offered_host TEXT, handed INTEGER, handed_host TEXT,
  nonce INTEGER, head TEXT, digest TEXT, sum INTEGER, UNIQUE(role, id));
CREATE TABLE move_rules(seq INTEGER PRIMARY KEY AUTOINCREMENT, move INTEGER, uplink INTEGER,
  owner TEXT, id INTEGER, text TEXT, packets INTEGER, bytes INTEGER, sum INTEGER);
CREATE INDEX move_rules_by_name ON move_rules(move, uplink, owner, id);
CREATE TABLE settled(seq INTEGER PRIMARY KEY AUTOINCREMENT, role INTEGER, id TEXT, vm TEXT,
  peer TEXT, done INTEGER, epoch INTEGER, epoch_host TEXT, why TEXT, sum INTEGER);
CREATE TABLE endpoints(name TEXT PRIMARY KEY, body TEXT, sum INTEGER) WITHOUT ROWID;
CREATE TABLE rules(seq INTEGER PRIMARY KEY AUTOINCREMENT, owner TEXT, id INTEGER,
  inside TEXT, text TEXT, sum INTEGER, UNIQUE(owner, id));
CREATE INDEX rules_by_inside ON rules(inside);
CREATE TABLE configured(seq INTEGER PRIMARY KEY, line TEXT, sum INTEGER);
)";

// Writes the tables into the new, empty file.
Result<void> fill(const std::string& path, const std::string& host) {
  auto database = Database::open(path, Database::Access::kWrite);
  if (!database) return fail(database.error());
  Result<void> done = (*database)->execute(
      "PRAGMA page_size=4096; PRAGMA journal_mode=DELETE; PRAGMA synchronous=FULL; BEGIN "
      "IMMEDIATE;");
  if (done) done = (*database)->execute(kTables);
  if (done)
    done = (*database)->run(
        "INSERT INTO meta(name, value, sum) VALUES('host', ?, ?), ('written', 'no', ?)",
        {host, sum_of_meta("host", host), sum_of_meta("written", "no")});
  if (done) {
    done = (*database)->execute("PRAGMA application_id=" + std::to_string(kApplicationId) +
                                "; PRAGMA user_version=" + std::to_string(kSchema) + "; COMMIT");
  }
  return done;
}

// Syncs the folder of the file, so that the rename survives a loss of power.
Result<void> sync_folder(const std::string& path) {
  const std::string folder =
      path.find('/') == std::string::npos ? "." : path.substr(0, path.rfind('/') + 1);
  const int directory = ::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (directory < 0) return fail(folder + ": " + std::strerror(errno));
  const bool synced = fsync(directory) == 0;
  const int error = errno;
  close(directory);
  if (!synced) return fail(folder + ": " + std::strerror(error));
  return {};
}

}  // namespace

Result<void> create_state_file(const std::string& path, const std::string& host) {
  const std::string aside = path + ".new";
  for (const char* end : {"", "-wal", "-shm", "-journal"}) {
    if (unlink((aside + end).c_str()) != 0 && errno != ENOENT)
      return fail(aside + end + ": " + std::strerror(errno));
  }
  const int made = ::open(aside.c_str(), O_CREAT | O_EXCL | O_RDWR | O_CLOEXEC, 0600);
  if (made < 0) return fail(aside + ": " + std::strerror(errno));
  close(made);
  if (auto filled = fill(aside, host); !filled) {
    unlink(aside.c_str());
    return filled;
  }
  if (rename(aside.c_str(), path.c_str()) != 0) return fail(path + ": " + std::strerror(errno));
  return sync_folder(path);
}

}  // namespace godwit::migration
