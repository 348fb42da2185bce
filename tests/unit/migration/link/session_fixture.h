// SPDX-License-Identifier: Apache-2.0
//
// Two networks with one session between them, over loopback sockets.
#pragma once

#include <gtest/gtest.h>

#include <array>
#include <asio/io_context.hpp>
#include <asio/ip/tcp.hpp>
#include <asio/write.hpp>
#include <chrono>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "migration/link/asio_network.h"
#include "migration/link/peer_address.h"
#include "tests/builders/test_certificates.h"

namespace godwit::migration {

using asio::ip::tcp;
using testing::TestAuthority;

class SessionTest : public ::testing::Test {
 protected:
  static uint16_t free_port() {
    asio::io_context io;
    tcp::acceptor probe(io, {asio::ip::make_address("127.0.0.1"), 0});
    return probe.local_endpoint().port();
  }
  template <typename Condition>
  bool until(Condition holds, int ms = 5000) {
    const auto end = std::chrono::steady_clock::now() + std::chrono::milliseconds(ms);
    while (!holds() && std::chrono::steady_clock::now() < end) {
      io_.restart();
      io_.run_for(std::chrono::milliseconds(2));
    }
    return holds();
  }
  NetworkOptions options(const std::string& host, const std::string& peer,
                         std::optional<TlsFiles> tls) {
    NetworkOptions made;
    made.host = host;
    made.peers[peer] = address_;
    made.tls = std::move(tls);
    made.handshake_timeout_ms = 400;
    made.idle_timeout_ms = 300;
    made.log = [this](const std::string& line) { log_ += line + "\n"; };
    return made;
  }
  // host-b answers each hello and keeps what it hears.
  void serve(NetworkOptions given) {
    server_ = std::make_unique<AsioNetwork>(io_, std::move(given));
    auto loaded = server_->load_certificates();
    ASSERT_TRUE(loaded) << loaded.error().message;
    ASSERT_TRUE(server_->listen(address_, [this](std::shared_ptr<PeerSession> session) {
      accepted_.push_back(session);
      session->start(
          [this, weak = std::weak_ptr<PeerSession>(session)](wire::Envelope& message) {
            heard_.push_back(message.body_case());
            if (!message.has_hello()) return;
            wire::Envelope hello;
            *hello.mutable_hello() = make_hello("host-b");
            weak.lock()->send(hello);
          },
          [this](const std::string& reason) { log_ += "closed: " + reason + "\n"; });
    }));
  }
  // host-a connects, says hello as `claims` and waits for the answer or the end.
  void call(NetworkOptions given, const std::string& claims = "host-a") {
    client_ = std::make_unique<AsioNetwork>(io_, std::move(given));
    auto loaded = client_->load_certificates();
    ASSERT_TRUE(loaded) << loaded.error().message;
    answered_ = false;
    end_.clear();
    client_->connect(address_, [this, claims](Result<std::shared_ptr<PeerSession>> session) {
      if (!session) {
        end_ = session.error().message;
        return;
      }
      ours_ = *session;
      ours_->start(
          [this](wire::Envelope& message) { answered_ = answered_ || message.has_hello(); },
          [this](const std::string& reason) { end_ = reason; });
      wire::Envelope hello;
      *hello.mutable_hello() = make_hello(claims);
      ours_->send(hello);
    });
    ASSERT_TRUE(until([&] { return answered_ || !end_.empty(); })) << log_;
  }
  // Bytes straight into a connection; what came back until it was closed.
  std::string raw(const std::string& bytes, int ms = 2000) {
    tcp::socket socket(io_);
    socket.connect(*parse_address(address_));
    std::string got;
    std::array<char, 4096> block{};
    bool closed = false;
    std::function<void()> read = [&] {
      socket.async_read_some(asio::buffer(block),
                             [&](const std::error_code& error, size_t bytes_read) {
                               got.append(block.data(), bytes_read);
                               closed = static_cast<bool>(error);
                               if (!closed) read();
                             });
    };
    read();
    asio::async_write(socket, asio::buffer(bytes), [](const std::error_code&, size_t) {});
    EXPECT_TRUE(until([&] { return closed; }, ms)) << log_;
    return got;
  }
  static std::string hello_bytes(uint32_t low, uint32_t high, const std::string& host) {
    wire::Envelope message;
    *message.mutable_hello() = make_hello(host);
    message.mutable_hello()->set_version_low(low);
    message.mutable_hello()->set_version_high(high);
    return frame_message(message);
  }

  asio::io_context io_;
  TestAuthority authority_;
  const std::string address_ = "127.0.0.1:" + std::to_string(free_port());
  std::string log_;
  std::unique_ptr<AsioNetwork> server_, client_;
  std::vector<std::shared_ptr<PeerSession>> accepted_;
  std::vector<int> heard_;
  std::shared_ptr<PeerSession> ours_;
  bool answered_ = false;
  std::string end_;
};

}  // namespace godwit::migration
