// SPDX-License-Identifier: Apache-2.0
//
// Writes the rows of a batch into a state file. The caller opens the transaction and ends it.
//
// Thread safety: the control thread only.
#pragma once

#include <cstdint>

#include "base/result.h"
#include "migration/journal/records.h"

namespace godwit::migration {

class Database;

class SqliteWriter {
 public:
  // The database must outlive the writer.
  explicit SqliteWriter(Database& database) : database_(database) {}

  // Writes the batch. After an error the caller must roll back.
  Result<void> write(const JournalBatch& batch);

 private:
  Result<void> write_move(const MoveRecord& move);
  Result<void> write_document(int64_t move, const Document& document);
  Result<void> write_document_rule(int64_t move, bool uplink, const DocumentRule& rule);
  Result<void> write_delta(const MoveDelta& delta);
  Result<void> write_settled(const SettledMove& move);
  Result<void> write_policy(const JournalBatch& batch);

  Database& database_;
};

}  // namespace godwit::migration
