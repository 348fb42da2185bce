// SPDX-License-Identifier: Apache-2.0
//
// Withdraws a VM's policy from a host: removes its transmit rules, and turns its receive rules by
// changing the location of its endpoints. Each function is one transaction.
//
// Thread safety: the control thread only.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "base/result.h"
#include "dataplane/policy/policy_store.h"
#include "migration/policy/vm_rules.h"

namespace godwit::migration {

// What take_out() changed.
struct TakenOut {
  uint64_t transmit_rules = 0;                // removed with the VM's tables
  uint64_t receive_rules = 0;                 // rules of other owners that the new location turned
  std::map<std::string, uint16_t> old_ports;  // by endpoint
};

// Removes the VM's tables, stops polling its ports and sets its
// location to `kind`, which is kUplink or kRedirect. With `keep_port` the ports stay bound, for a
// move that may still return the VM; otherwise they are free. Returns an error if no endpoint of
// the VM is known here.
Result<TakenOut> take_out(dataplane::PolicyStore& store, const std::string& vm,
                          dataplane::LocationKind kind, EndpointId uplink, bool keep_port);

// Removes the rules outside of the VM's tables that leave with it, and returns them: uplink rules
// that lead to no other endpoint here, and the VM's rules in the shared table.
std::vector<OwnedRule> remove_uplink_rules(dataplane::PolicyStore& store, const std::string& vm);

// Removes those of the rules that exist.
void destroy_rules(dataplane::PolicyStore& store, const std::vector<OwnedRule>& rules);

// Sets the location of each endpoint of the VM to what `make` returns. `active` sets whether
// endpoints with a port are polled.
Result<void> relocate(
    dataplane::PolicyStore& store, const std::string& vm, bool active,
    const std::function<dataplane::Location(const dataplane::EndpointRecord&)>& make);

}  // namespace godwit::migration
