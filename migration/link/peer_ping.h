// SPDX-License-Identifier: Apache-2.0
//
// `peer ping`: opens a session to a peer and reports the peer's certificate, its versions of the
// protocol and the round-trip times.
//
// Thread safety: the control thread only.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "base/clock.h"
#include "migration/link/network.h"
#include "migration/link/peer_link.h"

namespace godwit::migration {

inline constexpr uint64_t kMaxPings = 100;

struct PingReport {
  std::string host, address;
  bool may_move_in = false, may_move_out = false;
  LinkInfo link;
  uint32_t version_low = 0, version_high = 0;  // of the protocol, as the peer speaks it
  uint64_t connect_ns = 0;               // until the peer's hello: TCP, TLS and one round trip
  std::vector<uint64_t> round_trips_ns;  // empty for a peer of version 1
};

class PeerPing : public std::enable_shared_from_this<PeerPing> {
 public:
  using Done = std::function<void(Result<PingReport> report)>;
  // Sends `count` pings, one after the other. A count of zero only exchanges hellos.
  PeerPing(Network& network, const Clock& clock, std::string self, std::string host,
           std::string address, uint64_t count, Done done);

  // Connects and sends the pings. Calls `done` once, with an error if the whole takes longer than
  // `timeout_ms`.
  void begin(uint64_t timeout_ms);
  // Ends the ping because the switch ends, and calls `done` with that error.
  void stop();
  [[nodiscard]] bool over() const { return over_; }

 private:
  void on_hello(const wire::Hello& hello);
  void on_message(const wire::Envelope& message);
  void on_lost(PeerLink::Loss loss, const std::string& reason);
  void send_ping();
  void end(Result<PingReport> report);

  const Clock& clock_;
  const uint64_t count_;
  Done done_;
  PingReport report_;
  PeerLink link_;
  std::unique_ptr<Timer> timer_;
  uint64_t began_ns_ = 0;
  bool over_ = false;
};

}  // namespace godwit::migration
