// SPDX-License-Identifier: Apache-2.0
//
// Syncs the journal to the disk in the background, and logs when that begins to fail and when it
// succeeds again.
//
// Thread safety: the control thread only.
#pragma once

#include <string>

#include "migration/journal/sqlite_journal.h"

namespace godwit::control {

class StateSync {
 public:
  // `directory` names the state in log lines.
  StateSync(migration::SqliteJournal& journal, std::string directory)
      : journal_(journal), directory_(std::move(directory)) {}
  // Syncs if there is something to sync.
  void run();

 private:
  migration::SqliteJournal& journal_;
  const std::string directory_;
  bool synced_ = true;  // result of the last sync
};

}  // namespace godwit::control
