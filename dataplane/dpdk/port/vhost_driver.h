// SPDX-License-Identifier: Apache-2.0
//
// Dispatches librte_vhost's callbacks, which name a socket path or a device number, to the port
// concerned.
//
// Thread safety: register_vhost() and unregister_vhost() by the control thread. The callbacks run
// on librte_vhost's threads. They also run on the control thread inside register_vhost() (a client
// that connects at once) and unregister_vhost() (its device is destroyed).
#pragma once

#include "base/result.h"
#include "dataplane/dpdk/port/vhost_port.h"

namespace godwit::dataplane {

// Opens the port's socket. librte_vhost then listens, or connects and keeps retrying. Callbacks for
// the port may run before this function returns. Returns an error if the socket cannot be opened.
Result<void> register_vhost(VhostPort& port);
// Closes the socket. No callback for the port runs after this returns.
void unregister_vhost(VhostPort& port);

}  // namespace godwit::dataplane
