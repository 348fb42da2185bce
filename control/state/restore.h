// SPDX-License-Identifier: Apache-2.0
//
// Puts the stored policy, reconciled with the configuration, into a policy store at the start.
//
// A stored rule or endpoint that cannot be restored keeps the switch from starting: a missing rule
// is an unnoticed hole in a VM's policy. The operator either restores what the rule needs or
// runs `godwitd --forget-lost`.
//
// Thread safety: the control thread only.
#pragma once

#include <string>
#include <vector>

#include "base/result.h"
#include "control/config/host_config.h"
#include "control/state/reconcile.h"
#include "dataplane/policy/policy_store.h"
#include "migration/journal/journal.h"

namespace godwit::control {

struct RestoredPolicy {
  ReconciledPolicy reconciled;
  std::vector<std::string> lost;  // one text for each rule or endpoint
};

// Puts the reconciled policy into an empty store, uplinks first. With `lose` it skips rules and
// endpoints that cannot be restored and returns them in `lost`; otherwise they are an error, which
// lists them.
Result<RestoredPolicy> restore(const HostConfig& config, migration::Journal& journal,
                               dataplane::PolicyStore& store, bool lose);

// Writes the policy of the store to the journal, if it differs from the stored one.
Result<void> write_restored(const RestoredPolicy& restored, const dataplane::PolicyStore& store,
                            migration::Journal& journal);

// Checks that the stored state and the file go together, without changing anything. Returns the
// notes for the operator. For `godwitd --check`.
Result<std::vector<std::string>> check_state(const HostConfig& config);

// Removes rules and endpoints that can no longer be restored from the state, and returns a text for
// each. For `godwitd --forget-lost`.
Result<std::vector<std::string>> forget_lost(const HostConfig& config);

}  // namespace godwit::control
