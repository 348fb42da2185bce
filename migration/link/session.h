// SPDX-License-Identifier: Apache-2.0
//
// A session with a peer: whole messages over one stream. codec.h has the framing and the limits,
// peer_stream.h TCP and TLS.
//
// Before the peer's hello, a message has at most kMaxHelloBytes, and the hello must arrive within
// handshake_timeout_ms. Later, only a peer that connected and may offer VMs may send an offer's
// kMaxMessageBytes. Over TLS the hello must name a host that the peer's certificate is for. A
// peer that has connected to this host and takes part in no move must then send a message within
// each handshake_timeout_ms. Keep-alive pings do not count. A silent peer of version 2 is pinged,
// and the session ends when it stays silent for idle_timeout_ms. A peer of version 1 cannot be
// pinged; only TCP's keep-alive ends its session.
//
// send() queues without a bound. A sender of bulk data checks queued_bytes() first. While many
// answers to the peer's messages wait because it does not read them, nothing is read from it. After
// close() the session calls on_closed once, and no other callback.
//
// Thread safety: the control thread (the io_context's handlers).
#pragma once

#include <asio/steady_timer.hpp>
#include <chrono>
#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <set>
#include <span>
#include <string>

#include "base/result.h"
#include "migration/link/message_reader.h"
#include "migration/link/network.h"
#include "migration/link/peer_stream.h"

namespace godwit::migration {

struct SessionOptions {
  std::string host;  // name of this host
  // Bounds the TLS handshake, then the hello, then each message until a move owns the session.
  uint64_t handshake_timeout_ms = 5000;
  uint64_t idle_timeout_ms = 15000;
  std::optional<std::set<std::string>> may_offer;  // the hosts that may offer VMs; all if not set
};

class Session final : public PeerSession, public std::enable_shared_from_this<Session> {
 public:
  using Watch = std::function<void()>;
  // `incoming` is set if the peer opened the connection. The stream's handshake must be done.
  Session(std::shared_ptr<PeerStream> stream, SessionOptions options, bool incoming);
  ~Session() override;
  Session(const Session&) = delete;
  Session& operator=(const Session&) = delete;

  void start(OnMessage on_message, OnClosed on_closed) override;
  void hand_over(OnMessage on_message, OnClosed on_closed) override;
  void send(const wire::Envelope& message) override;
  void close(const std::string& reason) override;
  void close_when_sent() override;
  void pause_reading(bool pause) override;
  [[nodiscard]] size_t queued_bytes() const override { return out_.bytes; }
  [[nodiscard]] const std::string& host() const override { return link_.host; }
  [[nodiscard]] const LinkInfo& link() const override { return link_; }

  [[nodiscard]] bool open() const { return !closed_; }
  // See PeerStream::distrust().
  [[nodiscard]] std::string distrust(const std::shared_ptr<const TlsContext>& tls) const {
    return stream_->distrust(tls);
  }
  // Sets what is called, once each, when a move takes the session over and when it is closed.
  void watch(Watch taken, Watch closed);

 private:
  struct Queued {
    std::string bytes;
    bool answer = false;  // to a message of the peer
  };
  // Messages to send, oldest first.
  struct SendQueue {
    std::deque<Queued> messages;
    size_t writing = 0;       // the first ones, which the stream is writing
    size_t bytes = 0;         // of all messages
    size_t answer_bytes = 0;  // of the answers among them
    bool answering = false;   // a message of the peer is being delivered
  };
  struct Watches {
    Watch taken, closed;
  };

  void read();
  void deliver();
  // Checks one message and passes it on. Returns false if nothing after it may be read.
  bool take(std::span<const uint8_t> bytes);
  // Returns the limit of messages from a peer of that name.
  [[nodiscard]] uint32_t most_bytes(const std::string& host) const;
  Result<void> greet(const wire::Hello& hello);
  // Returns whether so many answers wait for the peer that no more of its messages are read.
  [[nodiscard]] bool unread() const;
  void answer_ping(const wire::Ping& ping);
  void write_next();
  void close_after_sending(const std::string& why);
  // Closes the session after `ms`, in place of the limit before.
  void limit(uint64_t ms, const std::string& reason);
  // Pings a silent peer, and closes the session if it stays silent.
  void keep_alive();

  std::shared_ptr<PeerStream> stream_;
  const SessionOptions options_;
  const bool incoming_;
  LinkInfo link_;
  asio::steady_timer timer_, idle_timer_;
  OnMessage on_message_;
  OnClosed on_closed_;
  Watches watches_;
  MessageReader reader_;
  SendQueue out_;
  std::chrono::steady_clock::time_point heard_;  // when bytes came last
  bool owned_ = false;                           // by a move
  bool paused_ = false;
  bool reading_ = false;
  bool delivering_ = false;
  bool refused_ = false;                    // the hello was refused; nothing more is read
  std::optional<std::string> closing_why_;  // set while only queued messages are still sent
  bool closed_ = false;
};

}  // namespace godwit::migration
