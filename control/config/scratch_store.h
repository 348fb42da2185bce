// SPDX-License-Identifier: Apache-2.0
//
// A policy store without workers, in which a policy can be tried out.
#pragma once

#include "base/rcu.h"
#include "dataplane/policy/policy_store.h"
#include "dataplane/state/counter_bank.h"

namespace godwit::control {

struct ScratchStore {
  NoWorkers grace;
  dataplane::StateCell state;
  dataplane::CounterBank counters{1};
  Reclaimer reclaimer{grace};
  dataplane::PolicyStore store{state, reclaimer, counters};
};

}  // namespace godwit::control
