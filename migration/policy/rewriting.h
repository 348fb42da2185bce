// SPDX-License-Identifier: Apache-2.0
//
// All operations on a VM's policy.
#pragma once

#include "migration/policy/exporting.h"      // IWYU pragma: export
#include "migration/policy/staged_import.h"  // IWYU pragma: export
#include "migration/policy/vm_rules.h"       // IWYU pragma: export
#include "migration/policy/withdraw.h"       // IWYU pragma: export
