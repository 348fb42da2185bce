// SPDX-License-Identifier: Apache-2.0
//
// A session that this host opens to a peer: connects, says hello, and checks that the peer answers
// by the name that it has in the configuration. May connect again, and may take a session that the
// peer has opened instead.
//
// A PeerLink is a member of its owner, which a shared_ptr holds. The link locks the owner before
// each handler and calls none once the owner is gone.
//
// Invariants: at most one session. Handlers are called for the current session only; a session that
// was closed, dropped or released here calls none.
//
// Thread safety: the control thread only.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "base/clock.h"
#include "migration/link/network.h"

namespace godwit::migration {

class PeerLink {
 public:
  enum class Loss : uint8_t {
    kNotConnected,  // the connection could not be made
    kWrongName,     // the peer has another name than the configuration says
    kClosed,        // the session ended
  };
  struct Handlers {
    // Returns whether a connection that has just been made is still of use.
    std::function<bool()> wanted;
    // Returns the message that carries the hello.
    std::function<wire::Envelope()> greeting;
    // Takes the peer's hello, once its name is found to be right.
    std::function<void(const wire::Hello& hello)> on_hello;
    // Takes every later message.
    std::function<void(wire::Envelope& message)> on_message;
    // Takes the loss of the session, or the failure to make one. The link has no session then.
    std::function<void(Loss loss, const std::string& reason)> on_lost;
  };
  struct Peer {
    std::string self;     // name of this host
    std::string host;     // name of the peer
    std::string address;  // "address:port"
  };

  PeerLink(Network& network, const Clock& clock, Peer peer, Handlers handlers);
  ~PeerLink();
  PeerLink(const PeerLink&) = delete;
  PeerLink& operator=(const PeerLink&) = delete;

  // Connects, now or after `ms` milliseconds. A failure is reported to on_lost. `owner` holds this
  // link.
  void connect(std::weak_ptr<void> owner);
  void connect_in(uint64_t ms, std::weak_ptr<void> owner);
  // Takes a session whose hellos are done, and gives up a planned connection.
  void adopt(std::shared_ptr<PeerSession> session, std::weak_ptr<void> owner);
  // Gives the session away. Its handlers are left in place but call nothing any more.
  [[nodiscard]] std::shared_ptr<PeerSession> release() { return std::move(session_); }

  [[nodiscard]] bool connected() const { return session_ != nullptr; }
  // Returns when the last session began, by the clock.
  [[nodiscard]] uint64_t since_ns() const { return since_ns_; }
  // Returns the session, or nullptr if there is none.
  [[nodiscard]] PeerSession* session() const { return session_.get(); }

  // Sends a message. Discards it if there is no session.
  void send(const wire::Envelope& message) const;
  // Closes the session because of what the peer did; on_lost is called.
  void reject(const std::string& reason) const;
  // These three functions end the session and call no handler. close_when_sent() first sends the
  // queued messages. drop() only forgets the session, which its other holders may keep.
  void close(const std::string& reason);
  void close_when_sent();
  void drop() { session_.reset(); }
  // Gives up a planned connection.
  void cancel_connect() { timer_->cancel(); }

 private:
  void connected(std::shared_ptr<PeerSession> session, const std::weak_ptr<void>& owner);
  void take(wire::Envelope& message);
  [[nodiscard]] PeerSession::OnMessage messages(const std::weak_ptr<void>& owner);
  [[nodiscard]] PeerSession::OnClosed closing(const std::weak_ptr<void>& owner);

  Network& network_;
  const Clock& clock_;
  const Peer peer_;
  const Handlers handlers_;
  std::shared_ptr<PeerSession> session_;
  uint64_t since_ns_ = 0;
  std::unique_ptr<Timer> timer_;
};

}  // namespace godwit::migration
