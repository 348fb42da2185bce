// SPDX-License-Identifier: Apache-2.0
//
// The state directory of one daemon. It holds `lock`, which the daemon keeps locked, and
// `state.sqlite` with its write-ahead log.
//
// Thread safety: the control thread only.
#pragma once

#include <memory>
#include <string>

#include "base/result.h"
#include "control/config/host_config.h"
#include "migration/journal/sqlite_journal.h"

namespace godwit::control {

// Returns the path of the journal in the configured directory.
std::string journal_path(const HostConfig& config);

// Returns an error at the place of the directory in the configuration.
Error directory_error(const StateConfig& state, const std::string& what);

class StateDirectory {
 public:
  // Locks the directory and opens the journal. Creates the directory if its parent exists. Fails if
  // another daemon has it locked.
  static Result<std::unique_ptr<StateDirectory>> open(const HostConfig& config);
  ~StateDirectory();  // unlocks the directory
  StateDirectory(const StateDirectory&) = delete;
  StateDirectory& operator=(const StateDirectory&) = delete;
  [[nodiscard]] migration::SqliteJournal& journal() { return *journal_; }

 private:
  StateDirectory() = default;
  Result<void> lock(const StateConfig& state);

  int lock_ = -1;
  std::unique_ptr<migration::SqliteJournal> journal_;
};

}  // namespace godwit::control
