// SPDX-License-Identifier: Apache-2.0
//
// The table of a state file that holds damaged rows of the other tables. A row moves there whole,
// so that an operator can still read it. The table is made when the first row is set aside.
//
//   set_aside  seq, source, endpoint, what, row    source: the table that had it; row: its columns,
//                                                  a JSON array; the others as in SetAside
//
// Thread safety: the control thread only.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/result.h"
#include "migration/journal/records.h"

namespace godwit::migration {

class Database;

// Where a damaged row is. Tables with a text as primary key use `key`, the others `number`. Of the
// table move_rules, `number` is the move: its rules go together. Of `configured` all rows go.
struct DamagedRow {
  SetAside about;
  int64_t number = 0;
  std::string key;
};

class SetAsideTable {
 public:
  // The database must outlive the table.
  explicit SetAsideTable(Database& database) : database_(database) {}

  // Moves the rows here in one transaction. Returns an error, and moves none, if the disk refuses.
  Result<void> take(const std::vector<DamagedRow>& rows);
  // Returns all records, oldest first.
  Result<std::vector<SetAside>> read();
  // Removes all records.
  Result<void> forget();

 private:
  Result<bool> exists();
  Result<void> take(const DamagedRow& row);

  Database& database_;
};

}  // namespace godwit::migration
