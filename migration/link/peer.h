// SPDX-License-Identifier: Apache-2.0
//
// A session with a peer: whole messages over one stream (wire.h has framing and limits,
// peer_stream.h TCP and TLS).
//
// Until the peer has said hello, messages are at most kMaxHelloBytes long and it has
// handshake_timeout_ms. Over TLS its hello must name a host that its certificate is for. Who has
// said hello and is not taken over by a move must say something at least as often. A peer that
// speaks version 2 and is silent is asked whether it is there; one that stays silent for
// idle_timeout_ms is gone. (One that speaks version 1 is given up by TCP's own keep-alive only.)
//
// Sending queues without bound here; who produces in bulk looks at queued_bytes() first. After
// close() nothing is called any more but on_closed, once.
//
// Thread safety: the control thread (the io_context's handlers).
#pragma once

#include <asio/io_context.hpp>
#include <asio/ip/tcp.hpp>
#include <asio/steady_timer.hpp>
#include <chrono>
#include <deque>
#include <functional>
#include <memory>
#include <string>

#include "base/result.h"
#include "migration/link/message_reader.h"
#include "migration/link/network.h"
#include "migration/link/peer_stream.h"

namespace godwit::migration {

struct SessionOptions {
  std::string host;                      // what this one is called
  uint64_t handshake_timeout_ms = 5000;  // TLS; then the hello; then what is wanted
  uint64_t idle_timeout_ms = 15000;
};

class Session final : public PeerSession, public std::enable_shared_from_this<Session> {
 public:
  using Watch = std::function<void()>;
  // `incoming`: the other side has connected. The stream's handshake is done.
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
  [[nodiscard]] size_t queued_bytes() const override { return queued_bytes_; }
  [[nodiscard]] const std::string& host() const override { return link_.host; }
  [[nodiscard]] const LinkInfo& link() const override { return link_; }

  [[nodiscard]] bool open() const { return !closed_; }
  // Called once each: when it belongs to a move, and when it is closed.
  void watch(Watch taken, Watch closed);

 private:
  void read();
  void deliver();
  bool take(std::span<const uint8_t> bytes);
  Result<void> greet(const wire::Hello& hello);
  void answer_ping(const wire::Ping& ping);
  void write_next();
  void close_after_sending(const std::string& why);
  void limit(uint64_t ms, const std::string& reason);
  void keep_alive();

  std::shared_ptr<PeerStream> stream_;
  const SessionOptions options_;
  const bool incoming_;
  LinkInfo link_;
  asio::steady_timer timer_, idle_timer_;
  OnMessage on_message_;
  OnClosed on_closed_;
  Watch taken_, gone_;
  MessageReader reader_;
  std::deque<std::string> out_;
  size_t writing_ = 0;  // of out_, the first so many
  size_t queued_bytes_ = 0;
  std::chrono::steady_clock::time_point heard_;
  bool owned_ = false;
  bool paused_ = false;
  bool reading_ = false;
  bool delivering_ = false;
  bool refused_ = false;
  bool closing_ = false;
  std::string closing_why_;
  bool closed_ = false;
};

// "address:port" or "[v6]:port"; numbers only, so that nothing waits for a resolver.
Result<asio::ip::tcp::endpoint> parse_address(const std::string& text);

}  // namespace godwit::migration
