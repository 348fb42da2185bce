// SPDX-License-Identifier: Apache-2.0
//
// Reads the configuration and the certificates again while the switch runs. A file may name 256 MiB
// of rules, so a thread of its own reads them; the control thread only applies the outcome.
//
// Bounds: one reading at a time. Requests during it lead to one more.
//
// Thread safety: the control thread only. The destructor waits for a reading in progress.
#pragma once

#include <asio/io_context.hpp>
#include <functional>
#include <memory>
#include <string>
#include <thread>

#include "base/result.h"
#include "control/config/host_config.h"
#include "control/daemon/peer_certificates.h"

namespace godwit::control {

class ConfigReload {
 public:
  struct Loaded {
    HostConfig config;
    TlsContextPtr tls;  // nullptr without migration.tls
  };
  using Done = std::function<void(Result<Loaded> loaded)>;

  // `host` is this host's name. A file for another host is refused.
  ConfigReload(asio::io_context& io, std::string path, std::string host, Done done)
      : io_(io), path_(std::move(path)), host_(std::move(host)), done_(std::move(done)) {}
  ~ConfigReload();
  ConfigReload(const ConfigReload&) = delete;
  ConfigReload& operator=(const ConfigReload&) = delete;

  // Begins to read. Calls `done` later in the event loop, with what was read or the first error.
  void request();

 private:
  void finish(Result<Loaded> loaded);

  asio::io_context& io_;
  const std::string path_, host_;
  const Done done_;
  std::thread reader_;  // joinable while it reads
  bool again_ = false;
  std::shared_ptr<int> alive_ = std::make_shared<int>(0);  // watched by the posted outcome
};

}  // namespace godwit::control
