// SPDX-License-Identifier: Apache-2.0
//
// The interface through which moves reach the outside: sessions with peers, timers and random
// numbers. AsioNetwork implements it over TCP. The simulator (tests/sim/) implements it over a
// network of its own, which cuts sessions, skews time and draws all random numbers from a seed.
//
// A session delivers whole messages, each once and in order. When it ends, messages in flight are
// lost. Two consecutive sessions may carry the same message.
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
#include "migration/link/certificate.h"
#include "migration/link/codec.h"

namespace godwit::migration {

// The facts about a session and its peer.
struct LinkInfo {
  std::string address;  // of the peer, with its port
  bool incoming = false;
  std::string host;      // from the peer's hello; empty before it
  uint32_t version = 0;  // of the protocol; zero before the hello
  std::string cipher;    // "TLSv1.3 TLS_AES_256_GCM_SHA384"; empty for plain text
  std::optional<CertificateInfo> certificate;
};

class PeerSession {
 public:
  using OnMessage = std::function<void(wire::Envelope& message)>;
  using OnClosed = std::function<void(const std::string& reason)>;

  virtual ~PeerSession() = default;
  // Begins to read. The first message must be a hello. It is checked, then passed to on_message.
  virtual void start(OnMessage on_message, OnClosed on_closed) = 0;
  // Replaces the callbacks because a move takes the session over.
  virtual void hand_over(OnMessage on_message, OnClosed on_closed) = 0;
  // Queues the message. Discards it if the session is closed or closing.
  virtual void send(const wire::Envelope& message) = 0;
  // Closes at once. Calls on_closed, once.
  virtual void close(const std::string& reason) = 0;
  // Closes when all queued messages are sent, after a second at the latest.
  virtual void close_when_sent() = 0;
  // Stops the delivery of messages, or lets it continue. Messages that wait are delivered later.
  virtual void pause_reading(bool pause) = 0;
  // Returns how many bytes wait to be sent.
  [[nodiscard]] virtual size_t queued_bytes() const = 0;
  // Returns the peer's name from its hello; empty before it.
  [[nodiscard]] virtual const std::string& host() const = 0;
  [[nodiscard]] virtual const LinkInfo& link() const {
    static const LinkInfo unknown;
    return unknown;
  }
};

class Timer {
 public:
  virtual ~Timer() = default;
  // Calls `action` once, after `ms` milliseconds. It replaces the action that was set before. No
  // action runs after cancel() or destruction.
  virtual void set(uint64_t ms, std::function<void()> action) = 0;
  virtual void cancel() = 0;
};

class Network {
 public:
  using OnConnected = std::function<void(Result<std::shared_ptr<PeerSession>> session)>;
  using OnAccepted = std::function<void(std::shared_ptr<PeerSession> session)>;

  virtual ~Network() = default;
  // Connects to "address:port", which are numbers. Calls `done` once, later, with the session or
  // the reason why there is none. Does not call it if this network is destroyed first.
  virtual void connect(const std::string& address, OnConnected done) = 0;
  // Calls `accepted` for each session that a peer opens, until stop_listening(). Returns an error
  // if the address cannot be used.
  virtual Result<void> listen(const std::string& address, OnAccepted accepted) = 0;
  virtual void stop_listening() = 0;
  [[nodiscard]] virtual std::unique_ptr<Timer> timer() = 0;
  // Calls `action` on the next turn of the event loop.
  virtual void post(std::function<void()> action) = 0;
  [[nodiscard]] virtual uint64_t random() = 0;
  // Lists the open sessions, for display.
  [[nodiscard]] virtual std::vector<LinkInfo> links() const { return {}; }
};

}  // namespace godwit::migration
