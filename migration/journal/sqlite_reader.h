// SPDX-License-Identifier: Apache-2.0
//
// Reads the rows of a state file. Each row's checksum, lengths and meaning are checked. A row that
// is not as it was written is an error that names the file and the row.
//
// Thread safety: the control thread only.
#pragma once

#include <cstdint>
#include <functional>
#include <initializer_list>
#include <string>
#include <vector>

#include "base/result.h"
#include "migration/journal/records.h"

namespace godwit::migration {

class Database;
class Row;
class Value;

class SqliteReader {
 public:
  // The database must outlive the reader.
  explicit SqliteReader(Database& database) : database_(database) {}

  // Runs SQLite's integrity check.
  Result<void> check_integrity();
  // Returns the value of a name in the table meta.
  Result<std::string> meta(const char* name);
  // Returns all epochs and ended moves.
  Result<JournalBatch> epochs_and_settled();
  Result<std::vector<MoveRecord>> moves();
  Result<StoredPolicy> policy();

  // Returns the error that the file is damaged, with what the operator can do.
  [[nodiscard]] Unexpected damaged(const std::string& what) const;

 private:
  using Each = std::function<Result<void>(const Row&)>;
  // Runs a query. An error of SQLite means that the file is damaged.
  Result<void> read(const char* sql, std::initializer_list<Value> values, const Each& each);
  Result<MoveRecord> read_move(const Row& row, int64_t& number) const;
  Result<void> read_document(int64_t move, Document& document);
  Result<void> read_endpoints(std::vector<StoredEndpoint>& out);
  Result<void> read_rules(std::vector<StoredRule>& out);
  Result<void> read_configured(std::vector<std::string>& out);

  Database& database_;
};

}  // namespace godwit::migration
