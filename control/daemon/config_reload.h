// SPDX-License-Identifier: Apache-2.0
//
// Reads the configuration and the certificates again while the switch runs. A file may name 256 MiB
// of rules, so a thread of its own reads them and compares them with those in use. The control
// thread only applies the outcome.
//
// Bounds: one reading at a time. Requests during it lead to one more.
//
// Thread safety: the control thread only. The configuration in use must change only in `done`,
// which no reading overlaps. The destructor waits for a reading in progress.
#pragma once

#include <asio/io_context.hpp>
#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "base/result.h"
#include "control/config/host_config.h"
#include "control/daemon/peer_certificates.h"

namespace godwit::control {

class ConfigReload {
 public:
  struct Loaded {
    MigrationConfig migration;
    TlsContextPtr tls;                   // nullptr without migration.tls
    std::vector<std::string> unchanged;  // settings that differ and need a restart
  };
  using Done = std::function<void(Result<Loaded> loaded)>;

  // A file for another host than that of the configuration in use is refused.
  ConfigReload(asio::io_context& io, std::string path, const HostConfig& in_use, Done done)
      : io_(io), path_(std::move(path)), in_use_(in_use), done_(std::move(done)) {}
  ~ConfigReload();
  ConfigReload(const ConfigReload&) = delete;
  ConfigReload& operator=(const ConfigReload&) = delete;

  // Begins to read. Calls `done` later in the event loop, with what was read or the first error.
  void request();

 private:
  void finish(Result<Loaded> loaded);

  asio::io_context& io_;
  const std::string path_;
  const HostConfig& in_use_;
  const Done done_;
  std::thread reader_;  // joinable while it reads
  bool again_ = false;
  std::shared_ptr<int> alive_ = std::make_shared<int>(0);  // watched by the posted outcome
};

}  // namespace godwit::control
