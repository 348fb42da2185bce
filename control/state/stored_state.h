// SPDX-License-Identifier: Apache-2.0
//
// The state directory, and how what is stored there and the configuration file make one policy at
// start.
//
// Nothing stored yet: the file is the policy. Later the store is, and of the file only what has
// changed since it was last applied, line by line: a rule or endpoint that was added comes, one
// that was taken out goes, one that was changed is changed. What commands and moves did in between
// stays. So a VM that has moved away does not come back because somebody edits another VM's rule,
// and a rule that was destroyed by command does not come back either.
//   - A rule added to the file that is in force already (it came with a VM, or by command) is
//   adopted, not made twice.
//   - What the file newly says of a VM that has moved to another host is not applied, and noted, by
//   place.
//   - Uplinks are always the file's; those that were attached by command are kept beside them.
// Rules added to the file are younger than those that are there.
//
// The directory holds `lock` (whoever has it locked is the daemon of this state) and `state.sqlite`
// with its log.
//
// Thread safety: the control thread only.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "base/result.h"
#include "control/config/config.h"
#include "migration/journal/journal.h"
#include "migration/journal/policy_record.h"
#include "migration/journal/sqlite_journal.h"

namespace godwit::control {

struct CombinedPolicy {
  migration::StoredPolicy policy;                            // what is to be in force
  bool changed = false;                                      // it is not what is stored
  std::vector<std::string> notes;                            // for the operator, placed
  std::map<std::pair<std::string, uint32_t>, Place> places;  // of rules that the file adds now
  std::vector<migration::LostPolicy>
      lost;  // rules that name an uplink which is no longer in the file
};

// The file's rules must be good by themselves (check_policy).
CombinedPolicy combine(const HostConfig& config, const migration::StoredPolicy& stored,
                       const std::map<std::string, migration::Epoch>& epochs);

// The daemon's hold on its directory, for as long as it lives.
class StateDirectory {
 public:
  // Makes the directory if its parent is there. An error if another daemon has it.
  static Result<std::unique_ptr<StateDirectory>> open(const HostConfig& config);
  ~StateDirectory();
  StateDirectory(const StateDirectory&) = delete;
  StateDirectory& operator=(const StateDirectory&) = delete;
  [[nodiscard]] migration::SqliteJournal& journal() { return *journal_; }

 private:
  StateDirectory() = default;
  int lock_ = -1;
  std::unique_ptr<migration::SqliteJournal> journal_;
};

// The combined policy put into an empty store, uplinks first. `lost`: take what can be restored and
// say what cannot; null: such is an error, which lists all of it.
struct RestoredPolicy {
  CombinedPolicy combined;
  std::vector<std::string> lost;
};
Result<RestoredPolicy> restore(const HostConfig& config, migration::Journal& journal,
                               dataplane::PolicyStore& store, bool lose);
// What is in the store now, as the whole of what is stored.
Result<void> write_restored(const RestoredPolicy& restored, const dataplane::PolicyStore& store,
                            migration::Journal& journal);

// For `godwitd --check`: whether the state and the file go together, without changing anything; the
// notes.
Result<std::vector<std::string>> check_state(const HostConfig& config);
// For `godwitd --forget-lost`: what can no longer be restored goes from the state; what that was.
Result<std::vector<std::string>> forget_lost(const HostConfig& config);

}  // namespace godwit::control
