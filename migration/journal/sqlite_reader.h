// SPDX-License-Identifier: Apache-2.0
//
// Reads the rows of a state file. Each row's checksum, limits (storable.h) and meaning are checked.
// A row that is not as it was written is left out and listed in take_damaged(). An error means that
// SQLite cannot read the file, and names the file.
//
// Thread safety: the control thread only.
#pragma once

#include <cstdint>
#include <functional>
#include <initializer_list>
#include <string>
#include <utility>
#include <vector>

#include "base/result.h"
#include "migration/journal/records.h"
#include "migration/journal/set_aside_table.h"

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
  // Returns the value of a name in the table meta, or an empty text if it is damaged or missing.
  Result<std::string> meta(const char* name);
  // Returns all epochs and ended moves.
  Result<JournalBatch> epochs_and_settled();
  // Returns the moves. One with a damaged rule is left out as a whole.
  Result<std::vector<MoveRecord>> moves();
  // Returns the policy. `incomplete` names the endpoints of damaged rules that were just found.
  Result<StoredPolicy> policy();

  // Returns the damaged rows that were found since the last call.
  [[nodiscard]] std::vector<DamagedRow> take_damaged() { return std::exchange(damaged_, {}); }
  // Returns the error that the file is damaged, with what the operator can do.
  [[nodiscard]] Unexpected damaged(const std::string& what) const;

 private:
  using Each = std::function<void(const Row&)>;
  // Runs a query. An error of SQLite means that the file is damaged.
  Result<void> read(const char* sql, std::initializer_list<Value> values, const Each& each);
  // These note a damaged row by its key or its number.
  void leave_out(const char* table, const std::string& key, const std::string& what);
  void leave_out(const char* table, int64_t number, const std::string& what,
                 const std::string& endpoint = {});
  void leave_out_move(int64_t number, const MoveRecord& move, const std::string& why);
  Result<void> read_epochs(JournalBatch& out);
  Result<void> read_settled(JournalBatch& out);
  Result<MoveRecord> read_move(const Row& row) const;
  // Returns whether each rule of the document is good.
  Result<bool> read_document(int64_t move, Document& document);
  Result<void> read_endpoints(std::vector<StoredEndpoint>& out);
  Result<void> read_rules(StoredPolicy& out);
  Result<void> read_configured(std::vector<std::string>& out);

  Database& database_;
  std::vector<DamagedRow> damaged_;
};

}  // namespace godwit::migration
