// SPDX-License-Identifier: Apache-2.0
//
// Reads the rows of a state file, whose tables sqlite_schema.h describes. The reader checks the
// checksum, the lengths and the meaning of each row. It returns an error that names the file and
// the row if a row is not as it was written.
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
  // Returns all epochs and ended moves. The other members of the batch are empty.
  Result<JournalBatch> epochs_and_settled();
  // Implements Journal::moves() and Journal::policy().
  Result<std::vector<MoveRecord>> moves();
  Result<StoredPolicy> policy();

  // Returns the error for a damaged file. `what` names the damaged part. The message also says how
  // the operator can continue.
  [[nodiscard]] Unexpected damaged(const std::string& what) const;

 private:
  using Each = std::function<Result<void>(const Row&)>;
  // Runs a query and calls `each` for each row, until it returns an error. Returns that error, or
  // damaged() after an error of SQLite.
  Result<void> read(const char* sql, std::initializer_list<Value> values, const Each& each);
  // Returns the move of a row, without the rules of its document. Stores the key of the row in
  // `number`.
  Result<MoveRecord> read_move(const Row& row, int64_t& number) const;
  // Adds the rules of the move with the key `move` to its document.
  Result<void> read_document(int64_t move, Document& document);
  Result<void> read_endpoints(std::vector<StoredEndpoint>& out);
  Result<void> read_rules(std::vector<StoredRule>& out);
  Result<void> read_configured(std::vector<std::string>& out);

  Database& database_;
};

}  // namespace godwit::migration
