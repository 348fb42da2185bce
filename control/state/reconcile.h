// SPDX-License-Identifier: Apache-2.0
//
// How the configuration file and the stored state become one policy at the start.
//
// On the first start nothing is stored, and the file is the policy. Later the stored state is the
// policy, and of the file only the lines count that have changed since it was last applied. A rule
// or endpoint that was added to the file is added, one that was removed is removed, one that was
// changed is changed. Changes by commands and moves stay. So a VM that has moved away
// does not come back because another VM's rule was edited, nor does a rule that a command
// destroyed.
//
//   - A rule added to the file that is already in force, by a command or with a VM, is adopted. It
//     is not created twice.
//   - A new line about a VM that has moved to another host is not applied. A note names its place.
//   - Uplinks always come from the file. Uplinks that were attached by command are kept beside
//   them.
//   - Rules added now are younger: their sequence numbers follow those of the stored rules.
//
// Thread safety: a pure function.
#pragma once

#include <map>
#include <string>
#include <utility>
#include <vector>

#include "control/config/host_config.h"
#include "migration/journal/journal.h"
#include "migration/journal/policy_record.h"

namespace godwit::control {

struct ReconciledPolicy {
  migration::StoredPolicy policy;                            // to put in force
  bool changed = false;                                      // it differs from the stored policy
  std::vector<std::string> notes;                            // for the operator, with places
  std::map<std::pair<std::string, uint32_t>, Place> places;  // of rules that the file adds now
  std::vector<migration::LostPolicy> lost;  // rules that name an uplink no longer in the file
};

// Reconciles the file with the stored policy. The file's own rules must be valid (check_policy).
ReconciledPolicy reconcile(const HostConfig& config, const migration::StoredPolicy& stored,
                           const std::map<std::string, migration::Epoch>& epochs);

}  // namespace godwit::control
