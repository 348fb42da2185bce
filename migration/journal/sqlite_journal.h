// SPDX-License-Identifier: Apache-2.0
//
// The journal in a file: SQLite with a write-ahead log.
//
// One batch is one transaction. A batch that has to do with moves or epochs is synced before
// write() returns. One of policy alone, when `lazy_policy` is set, is in the operating system's
// hands by then (a killed switch has it again, a host without power may not) and on the disk with
// the next sync() or synced batch; order is kept, so that what is lost is the end.
//
// On disk (schema 1; PRAGMA application_id says that it is ours, user_version which schema):
//   meta(name, value)                         host: whose state it is; written: whether a policy
//   was stored epochs(vm, counter, host) moves(seq, role, id, vm, peer, state, offered and handed
//   epochs, nonce, head, digest)   head: the document without rules, JSON move_rules(seq, move,
//   uplink, owner, id, text, packets, bytes)                          the document's rules, deltas
//   applied settled(seq, role, id, vm, peer, done, epoch, why) the newest kMaxSettled
//   endpoints(name, body)                     JSON: profile and place
//   rules(seq, owner, id, inside, text)       testpmd text, in the order they were made
//   configured(seq, line)
// (and syncs(count), which sync() changes). Each row of these ends with `sum`: FNV-1a, 64 bits,
// over its table's name and values. Opening runs SQLite's integrity_check; reading checks sums,
// lengths and meaning. What is not as written is an error that names the file.
//
// A file is made beside its place, whole, and renamed into it, so that an empty file is a damaged
// one. Of a torn write SQLite drops the torn end, by whole transactions. A disk that is full
// refuses the batch, and nothing has changed.
//
// Thread safety: the control thread only.
#pragma once

#include <functional>
#include <initializer_list>
#include <memory>
#include <string>

#include "base/result.h"
#include "migration/journal/journal.h"

namespace godwit::migration {

class Database;
class Row;
class Value;

struct SqliteJournalOptions {
  std::string host;  // whose state it is; a file of another host's is refused
  bool lazy_policy = false;
  bool read_only = false;  // the file must be there
};

class SqliteJournal final : public Journal {
 public:
  // Makes the file if it is not there (not its folder).
  static Result<std::unique_ptr<SqliteJournal>> open(const std::string& path,
                                                     const SqliteJournalOptions& options);
  ~SqliteJournal() override;

  Result<std::vector<MoveRecord>> moves() override;
  Result<StoredPolicy> policy() override;

  // Policy that was stored lazily is not on the disk yet.
  [[nodiscard]] bool unsynced() const { return unsynced_; }
  Result<void> sync();
  [[nodiscard]] const std::string& path() const;

 private:
  SqliteJournal(std::unique_ptr<Database> database, SqliteJournalOptions options);
  Result<void> check();
  Result<void> load();
  Result<std::string> meta(const char* name);
  // A query of what is stored: what SQLite cannot do then is the file's fault.
  Result<void> read(const char* sql, std::initializer_list<Value> values,
                    const std::function<Result<void>(const Row&)>& each);
  Result<void> store(const JournalBatch& batch) override;
  Result<void> store_rows(const JournalBatch& batch);
  Result<void> store_move(const MoveRecord& move);
  Result<void> store_document(int64_t move, const Document& document);
  Result<void> store_delta(const MoveDelta& delta);
  Result<void> store_settled(const SettledMove& move);
  Result<void> store_policy(const JournalBatch& batch);
  Result<MoveRecord> read_move(const Row& row, int64_t& number) const;
  Result<void> read_document(int64_t move, Document& document);
  Result<void> set_synchronous(bool full);
  [[nodiscard]] Unexpected damaged(const std::string& what) const;

  std::unique_ptr<Database> database_;
  const SqliteJournalOptions options_;
  bool full_ = true;  // as PRAGMA synchronous is
  bool unsynced_ = false;
};

}  // namespace godwit::migration
