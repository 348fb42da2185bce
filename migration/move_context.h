// SPDX-License-Identifier: Apache-2.0
//
// What every move needs of the switch around it. Owned by the Driver; control thread only.
#pragma once

#include <asio/io_context.hpp>
#include <asio/steady_timer.hpp>
#include <chrono>
#include <functional>
#include <map>
#include <memory>
#include <string>

#include "base/clock.h"
#include "dataplane/packet_gate.h"
#include "dataplane/policy_store.h"
#include "dataplane/ports.h"
#include "migration/document.h"
#include "migration/driver.h"
#include "migration/peer.h"

namespace godwit::migration {

struct MoveContext {
  asio::io_context& io;
  const DriverOptions options;
  dataplane::PolicyStore& store;
  dataplane::Ports& ports;
  dataplane::PacketGate& gate;
  const Clock& clock;
  Driver::Log log;
  std::map<std::string, Epoch> epochs;  // newest seen of each VM
  uint16_t next_window = 1;             // Location::dedupe of the next move to here

  // The uplink to the other hosts, or an invalid id: the configured one, else the only one.
  [[nodiscard]] EndpointId uplink() const;
  [[nodiscard]] Epoch newest_epoch(const std::string& vm) const {
    const auto found = epochs.find(vm);
    return found == epochs.end() ? Epoch{} : found->second;
  }
  [[nodiscard]] std::string socket_for(const std::string& endpoint) const;  // by the template; empty: none
  // Takes what workers redirected, and gives each frame to the move it belongs to.
  std::function<void()> pump;
};

// A timer that is forgotten when it is set again or its owner goes.
class MoveTimer {
 public:
  explicit MoveTimer(asio::io_context& io) : timer_(io) {}
  void set(uint64_t ms, std::function<void()> action) {
    timer_.expires_after(std::chrono::milliseconds(ms));
    timer_.async_wait([action = std::move(action), alive = std::weak_ptr<int>(alive_), number = ++number_, this](const std::error_code& error) {
      if (!error && !alive.expired() && number == number_) action();
    });
  }
  void cancel() {
    ++number_;
    timer_.cancel();
  }

 private:
  asio::steady_timer timer_;
  uint64_t number_ = 0;
  std::shared_ptr<int> alive_ = std::make_shared<int>(0);
};

}  // namespace godwit::migration
