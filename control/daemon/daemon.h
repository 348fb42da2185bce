// SPDX-License-Identifier: Apache-2.0
//
// The daemon: creates the parts of the switch in order, wires them together, and takes them apart
// in reverse order.
//
//   control socket claimed -> state directory locked -> EAL and pools -> policy in the store ->
//   workers run -> engine -> ports open, uplinks first -> moves of the journal resumed -> peers
//   accepted -> requests answered
//
// No port is open before the policy is in the store, so no packet is forwarded without policy.
//
// Only control/daemon/ includes dataplane/dpdk/.
//
// Thread safety: one thread, which becomes the control thread (EAL's main lcore). Signals may
// arrive on any thread.
#pragma once

#include <memory>
#include <string>

#include "base/result.h"
#include "control/config/host_config.h"

namespace godwit::control {

class Daemon {
 public:
  // `path` is the configuration's file, which SIGHUP reads again.
  Daemon(HostConfig config, std::string path, std::string version);
  ~Daemon();
  Daemon(const Daemon&) = delete;
  Daemon& operator=(const Daemon&) = delete;

  // Starts, serves until SIGTERM or SIGINT, and stops. Returns an error if the start failed;
  // whatever had been started is then stopped.
  Result<void> run();

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace godwit::control
