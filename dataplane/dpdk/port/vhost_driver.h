// SPDX-License-Identifier: Apache-2.0
//
// librte_vhost's callbacks, which know a path or a device number, brought to the port that they are
// about.
//
// Thread safety: register/unregister by the control thread. The callbacks come from librte_vhost's
// threads, and from the control thread inside register (a client that connects at once) and
// unregister (its device is destroyed).
#pragma once

#include "base/result.h"
#include "dataplane/dpdk/port/vhost_port.h"

namespace godwit::dataplane {

// Opens the port's socket: listens, or connects and goes on trying. Callbacks come from here on.
Result<void> register_vhost(VhostPort& port);
// Closes it. No callback for the port runs once this has returned.
void unregister_vhost(VhostPort& port);

}  // namespace godwit::dataplane
