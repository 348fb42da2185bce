// SPDX-License-Identifier: Apache-2.0
//
// The MTU of the uplinks that a VM's traffic takes. A VM that could send large frames through the
// source's uplink must not move behind a narrower one, where those frames are lost.
//
// Thread safety: the control thread only.
#pragma once

#include <cstdint>
#include <string>

#include "dataplane/policy/policy_store.h"
#include "dataplane/ports.h"
#include "migration/policy/document.h"

namespace godwit::migration {

// Returns the least MTU of `uplink` and of the uplinks that the document names, in bytes. Returns
// zero if none is known.
[[nodiscard]] uint16_t uplink_mtu(const dataplane::PolicyStore& store,
                                  const dataplane::Ports& ports, EndpointId uplink,
                                  const Document& document);

// Returns why the VM must not move here, or an empty text. `source_mtu` is the source's
// uplink_mtu(); if it is zero, each endpoint needs its own MTU.
[[nodiscard]] std::string narrower_uplink(const dataplane::PolicyStore& store,
                                          const dataplane::Ports& ports, EndpointId uplink,
                                          const Document& document, uint32_t source_mtu);

}  // namespace godwit::migration
