// SPDX-License-Identifier: Apache-2.0
//
// A thin wrapper of SQLite's C interface with owners and Results. It has what the journal needs and
// knows nothing of what is stored.
//
// Every error names the file. A statement is compiled once and kept. SQLite itself limits the texts
// and blobs that it reads to kMaxCell, so that a damaged file cannot cause a larger allocation.
//
// Thread safety: one thread at a time for each Database.
#pragma once

#include <cstdint>
#include <functional>
#include <initializer_list>
#include <map>
#include <memory>
#include <string>
#include <string_view>

#include "base/result.h"

struct sqlite3;
struct sqlite3_stmt;

namespace godwit::migration {

inline constexpr int kMaxCell = 16 << 20;  // bytes

// The current row of a statement. Columns count from 0.
class Row {
 public:
  explicit Row(sqlite3_stmt* statement) : statement_(statement) {}
  [[nodiscard]] int64_t number(int column) const;
  [[nodiscard]] std::string text(int column) const;
  [[nodiscard]] bool is_null(int column) const;
  [[nodiscard]] int columns() const;

 private:
  sqlite3_stmt* statement_;
};

// A value for a `?` of a statement. A text must outlive the call that uses it.
class Value {
 public:
  Value(std::string_view text) : text_(text), is_text_(true) {}      // NOLINT
  Value(const std::string& text) : text_(text), is_text_(true) {}    // NOLINT
  Value(const char* text) : text_(text), is_text_(true) {}           // NOLINT
  Value(int64_t number) : number_(number) {}                         // NOLINT
  Value(uint64_t number) : number_(static_cast<int64_t>(number)) {}  // NOLINT  keeps the 64 bits
  Value(uint32_t number) : number_(number) {}                        // NOLINT
  Value(int number) : number_(number) {}                             // NOLINT
  Value(bool set) : number_(set ? 1 : 0) {}                          // NOLINT

 private:
  friend class Database;
  std::string_view text_;
  int64_t number_ = 0;
  bool is_text_ = false;
};

class Database {
 public:
  enum class Access : uint8_t { kRead, kWrite, kCreate };
  // Opens the file. Returns an error if it cannot be opened, or does not exist and may not be made.
  static Result<std::unique_ptr<Database>> open(const std::string& path, Access access);
  ~Database();
  Database(const Database&) = delete;
  Database& operator=(const Database&) = delete;

  // Runs a script that has neither values nor rows.
  Result<void> execute(const std::string& sql);
  // Runs one statement, and calls `each` for every row if it is set. An error of `each` ends the
  // statement and is returned. `sql` is compiled once, and must outlive the database as a literal
  // does.
  Result<void> run(const char* sql, std::initializer_list<Value> values = {},
                   const std::function<Result<void>(const Row&)>& each = nullptr);
  // Returns the single number that a query or PRAGMA yields.
  Result<int64_t> number(const char* sql, std::initializer_list<Value> values = {});
  [[nodiscard]] int64_t changes() const;   // rows that the last statement changed
  [[nodiscard]] int64_t last_row() const;  // rowid of the last INSERT
  [[nodiscard]] bool in_transaction() const;
  [[nodiscard]] const std::string& path() const { return path_; }

  // Returns the error "FILE: what".
  [[nodiscard]] Unexpected failure(const std::string& what) const;

 private:
  struct Close {
    void operator()(sqlite3* database) const;
  };
  struct Finalize {
    void operator()(sqlite3_stmt* statement) const;
  };
  Database(std::string path, sqlite3* database) : path_(std::move(path)), database_(database) {}
  // Returns SQLite's last error.
  [[nodiscard]] Unexpected failure() const;
  Result<sqlite3_stmt*> prepared(const char* sql);

  std::string path_;
  std::unique_ptr<sqlite3, Close> database_;
  std::map<const char*, std::unique_ptr<sqlite3_stmt, Finalize>> statements_;
};

}  // namespace godwit::migration
