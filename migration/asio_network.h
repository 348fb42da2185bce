// SPDX-License-Identifier: Apache-2.0
//
// Network over TCP: sessions are Sessions of peer.h, timers the io_context's. Control thread only.
#pragma once

#include <asio/io_context.hpp>
#include <asio/ip/tcp.hpp>
#include <memory>
#include <string>

#include "migration/network.h"

namespace godwit::migration {

class AsioNetwork final : public Network {
 public:
  explicit AsioNetwork(asio::io_context& io) : io_(io), acceptor_(io) {}
  ~AsioNetwork() override { stop_listening(); }

  void connect(const std::string& address, OnConnected done) override;
  Result<void> listen(const std::string& address, OnAccepted accepted) override;
  void stop_listening() override;
  [[nodiscard]] std::unique_ptr<Timer> timer() override;
  void post(std::function<void()> action) override;
  [[nodiscard]] uint64_t random() override;

 private:
  void accept();

  asio::io_context& io_;
  asio::ip::tcp::acceptor acceptor_;
  OnAccepted accepted_;
  std::shared_ptr<int> alive_ = std::make_shared<int>(0);
};

}  // namespace godwit::migration
