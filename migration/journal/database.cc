// SPDX-License-Identifier: Apache-2.0
#include "migration/journal/database.h"

#include <sqlite3.h>

namespace godwit::migration {

namespace {

constexpr int kBusyTimeoutMs = 5000;

}  // namespace

int64_t Row::number(int column) const { return sqlite3_column_int64(statement_, column); }

std::string Row::text(int column) const {
  // Reading the column as a blob keeps a text whole that contains a zero byte.
  const auto* bytes = static_cast<const char*>(sqlite3_column_blob(statement_, column));
  return bytes == nullptr
             ? std::string{}
             : std::string(bytes, static_cast<size_t>(sqlite3_column_bytes(statement_, column)));
}

bool Row::is_null(int column) const {
  return sqlite3_column_type(statement_, column) == SQLITE_NULL;
}

int Row::columns() const { return sqlite3_column_count(statement_); }

void Database::Close::operator()(sqlite3* database) const { sqlite3_close_v2(database); }
void Database::Finalize::operator()(sqlite3_stmt* statement) const { sqlite3_finalize(statement); }

Result<std::unique_ptr<Database>> Database::open(const std::string& path, Access access) {
  const int flags = access == Access::kRead    ? SQLITE_OPEN_READONLY
                    : access == Access::kWrite ? SQLITE_OPEN_READWRITE
                                               : SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE;
  sqlite3* raw = nullptr;
  const int code = sqlite3_open_v2(path.c_str(), &raw,
                                   flags | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_PRIVATECACHE, nullptr);
  std::unique_ptr<Database> made(new Database(path, raw));
  if (code != SQLITE_OK) return made->failure(raw == nullptr ? "no memory" : sqlite3_errmsg(raw));
  sqlite3_limit(raw, SQLITE_LIMIT_LENGTH, kMaxCell);
  // A reader that recovers the log of a crashed process holds the lock for a moment.
  sqlite3_busy_timeout(raw, kBusyTimeoutMs);
  return made;
}

Database::~Database() = default;

Unexpected Database::failure(const std::string& what) const { return fail(path_ + ": " + what); }
Unexpected Database::failure() const {
  const int code = sqlite3_errcode(database_.get());
  // SQLite says only "disk I/O error"; errno has the cause.
  const int error = sqlite3_system_errno(database_.get());
  std::string what = sqlite3_errmsg(database_.get());
  if ((code & 0xff) == SQLITE_IOERR && error != 0) what += " (errno " + std::to_string(error) + ")";
  return failure(what);
}

Result<void> Database::execute(const std::string& sql) {
  if (sqlite3_exec(database_.get(), sql.c_str(), nullptr, nullptr, nullptr) != SQLITE_OK)
    return failure();
  return {};
}

Result<sqlite3_stmt*> Database::prepared(const char* sql) {
  auto& kept = statements_[sql];
  if (kept == nullptr) {
    sqlite3_stmt* made = nullptr;
    if (sqlite3_prepare_v3(database_.get(), sql, -1, SQLITE_PREPARE_PERSISTENT, &made, nullptr) !=
        SQLITE_OK)
      return failure();
    kept.reset(made);
  }
  return kept.get();
}

Result<void> Database::run(const char* sql, std::initializer_list<Value> values,
                           const std::function<Result<void>(const Row&)>& each) {
  auto statement = prepared(sql);
  if (!statement) return fail(statement.error());
  sqlite3_stmt* const raw = *statement;
  int index = 0;
  for (const Value& value : values) {
    ++index;
    const int bound = value.is_text_
                          ? sqlite3_bind_text64(raw, index, value.text_.data(), value.text_.size(),
                                                SQLITE_STATIC, SQLITE_UTF8)
                          : sqlite3_bind_int64(raw, index, value.number_);
    if (bound != SQLITE_OK) return failure();
  }
  Result<void> result;
  int code = SQLITE_ROW;
  while (result && (code = sqlite3_step(raw)) == SQLITE_ROW) {
    if (each) result = each(Row(raw));
  }
  if (result && code != SQLITE_DONE) result = failure();
  sqlite3_reset(raw);
  sqlite3_clear_bindings(raw);
  return result;
}

Result<int64_t> Database::number(const char* sql, std::initializer_list<Value> values) {
  int64_t out = 0;
  auto done = run(sql, values, [&](const Row& row) -> Result<void> {
    out = row.number(0);
    return {};
  });
  if (!done) return fail(done.error());
  return out;
}

int64_t Database::changes() const { return sqlite3_changes64(database_.get()); }
int64_t Database::last_row() const { return sqlite3_last_insert_rowid(database_.get()); }
bool Database::in_transaction() const { return sqlite3_get_autocommit(database_.get()) == 0; }

}  // namespace godwit::migration
