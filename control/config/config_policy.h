// SPDX-License-Identifier: Apache-2.0
//
// Puts the policy of a configuration into a policy store. The store needs no running switch.
//
// Each function uses one transaction: an error has changed nothing. Errors name the place in the
// file as read_config() does.
//
// Thread safety: the thread that owns the store.
#pragma once

#include "base/result.h"
#include "control/config/host_config.h"
#include "dataplane/policy/policy_store.h"

namespace godwit::control {

// Adds all uplinks, endpoints and rules. No endpoint has a port yet: uplinks are nowhere, VMs
// behind their uplink or nowhere.
Result<void> put_policy(const HostConfig& config, dataplane::PolicyStore& store);

// Adds the uplinks alone.
Result<void> put_uplinks(const HostConfig& config, dataplane::PolicyStore& store);

// Returns the error that put_policy() would return for an empty store.
Result<void> check_policy(const HostConfig& config);

}  // namespace godwit::control
