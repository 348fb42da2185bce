// SPDX-License-Identifier: Apache-2.0
//
// What the moves ask of the world outside the switch: sessions with peers, timers, chance.
// asio_network.h implements it over TCP; the simulator (tests/sim/) over a network of its own,
// where sessions are cut, time is skewed and every chance comes from a seed.
//
// A session delivers whole messages in order, once, or ends: what was on its way then is lost. A
// message is never repeated within a session; sessions that follow each other may repeat what was
// said.
//
// Thread safety: the control thread only.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/result.h"
#include "migration/link/codec.h"
#include "migration/link/tls.h"

namespace godwit::migration {

// What is known of a session and of who is at its other end.
struct LinkInfo {
  std::string address;  // the other side's, with its port
  bool incoming = false;
  std::string host;      // as its hello said; empty: it has said none yet
  uint32_t version = 0;  // of the protocol; 0 as long as there was no hello
  std::string cipher;    // "TLSv1.3 TLS_AES_256_GCM_SHA384"; empty: plain text
  std::optional<CertificateInfo> certificate;
};

class PeerSession {
 public:
  using OnMessage = std::function<void(wire::Envelope& message)>;
  using OnClosed = std::function<void(const std::string& reason)>;

  virtual ~PeerSession() = default;
  // Begins to read. The first message must be a hello; on_message gets it too, after the checks.
  virtual void start(OnMessage on_message, OnClosed on_closed) = 0;
  // Others take over the messages and the end.
  virtual void hand_over(OnMessage on_message, OnClosed on_closed) = 0;
  virtual void send(const wire::Envelope& message) = 0;
  virtual void close(const std::string& reason) = 0;  // at once; on_closed is called, once
  virtual void close_when_sent() = 0;  // when what is queued is out, or after a second
  virtual void pause_reading(bool pause) = 0;
  [[nodiscard]] virtual size_t queued_bytes() const = 0;
  [[nodiscard]] virtual const std::string& host() const = 0;  // as the peer's hello said
  [[nodiscard]] virtual const LinkInfo& link() const {
    static const LinkInfo unknown;
    return unknown;
  }
};

class Timer {
 public:
  virtual ~Timer() = default;
  // One action at a time: setting it again forgets the former. Not called after cancel() or
  // destruction.
  virtual void set(uint64_t ms, std::function<void()> action) = 0;
  virtual void cancel() = 0;
};

class Network {
 public:
  using OnConnected = std::function<void(Result<std::shared_ptr<PeerSession>> session)>;
  using OnAccepted = std::function<void(std::shared_ptr<PeerSession> session)>;

  virtual ~Network() = default;
  // "address:port", numbers only. `done` is called later, once; not after this network has gone.
  virtual void connect(const std::string& address, OnConnected done) = 0;
  virtual Result<void> listen(const std::string& address, OnAccepted accepted) = 0;
  virtual void stop_listening() = 0;
  [[nodiscard]] virtual std::unique_ptr<Timer> timer() = 0;
  virtual void post(std::function<void()> action) = 0;  // soon, but not from within this call
  [[nodiscard]] virtual uint64_t random() = 0;
  // The sessions that there are, for people to look at.
  [[nodiscard]] virtual std::vector<LinkInfo> links() const { return {}; }
};

}  // namespace godwit::migration
