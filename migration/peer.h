// SPDX-License-Identifier: Apache-2.0
//
// A session with a peer: whole messages over one TCP connection (wire.h has framing and limits).
//
// Until the peer has said hello, messages are at most kMaxHelloBytes long and it has kHelloTimeoutMs. Sending queues
// without bound here; who produces in bulk looks at queued_bytes() first. After close() nothing is called any more
// but on_closed, once.
//
// Thread safety: the control thread (the io_context's handlers).
#pragma once

#include <array>
#include <asio/io_context.hpp>
#include <asio/ip/tcp.hpp>
#include <asio/steady_timer.hpp>
#include <deque>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "base/result.h"
#include "migration/network.h"

namespace godwit::migration {

inline constexpr uint64_t kHelloTimeoutMs = 5000;

class Session final : public PeerSession, public std::enable_shared_from_this<Session> {
 public:
  explicit Session(asio::ip::tcp::socket socket);

  void start(OnMessage on_message, OnClosed on_closed) override;
  void hand_over(OnMessage on_message, OnClosed on_closed) override;
  void send(const wire::Envelope& message) override;
  void close(const std::string& reason) override;
  void close_when_sent() override;
  void pause_reading(bool pause) override;
  [[nodiscard]] size_t queued_bytes() const override { return queued_bytes_; }
  [[nodiscard]] const std::string& host() const override { return host_; }

 private:
  void read_length();
  void read_body(uint32_t length);
  void take(std::span<const uint8_t> bytes);
  void write_next();

  asio::ip::tcp::socket socket_;
  asio::steady_timer timer_;
  OnMessage on_message_;
  OnClosed on_closed_;
  std::string host_;
  std::array<uint8_t, kLengthBytes> length_{};
  std::vector<uint8_t> body_;
  std::deque<std::string> out_;
  size_t queued_bytes_ = 0;
  bool greeted_ = false;
  bool paused_ = false;
  bool read_waits_ = false;
  bool closing_ = false;
  bool closed_ = false;
};

// "address:port" or "[v6]:port"; numbers only, so that nothing waits for a resolver.
Result<asio::ip::tcp::endpoint> parse_address(const std::string& text);

}  // namespace godwit::migration
