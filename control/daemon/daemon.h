// SPDX-License-Identifier: Apache-2.0
//
// The daemon: what is made in which order, wired together, and taken apart in the reverse one.
// daemon.cc is the one file of control/ that names dataplane/dpdk/.
//
//   claim the control socket -> EAL, pools -> policy in the store -> workers -> ports, uplinks
//   first -> peers -> answer
//
// No port is open before the policy is in the store, so no packet is ever forwarded without it.
//
// Thread safety: one thread, which becomes the control thread (EAL's main lcore). Signals may come
// to any.
#pragma once

#include <memory>
#include <string>

#include "base/result.h"
#include "control/config/config.h"

namespace godwit::control {

class Daemon {
 public:
  Daemon(HostConfig config, std::string version);
  ~Daemon();
  Daemon(const Daemon&) = delete;
  Daemon& operator=(const Daemon&) = delete;

  // Starts, serves until SIGTERM or SIGINT, ends cleanly. An error says why it could not start;
  // everything that had been started has been stopped then.
  Result<void> run();

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace godwit::control
