// SPDX-License-Identifier: Apache-2.0
//
// Writes a VM's policy as a document.
//
// Thread safety: the control thread only.
#pragma once

#include <string>

#include "base/result.h"
#include "dataplane/policy/policy_store.h"
#include "dataplane/ports.h"
#include "migration/policy/document.h"

namespace godwit::migration {

// Returns the VM's policy as it is now. `host` and `epoch` go into the document. Its profiles list
// the virtio features that the VM's driver negotiated with its ports. Returns an error if no
// endpoint of the VM is known here.
Result<Document> export_vm(const dataplane::PolicyStore& store, const dataplane::Ports& ports,
                           const std::string& vm, const std::string& host, const Epoch& epoch);

}  // namespace godwit::migration
