// SPDX-License-Identifier: Apache-2.0
#include "migration/asio_network.h"

#include <asio/post.hpp>
#include <asio/steady_timer.hpp>
#include <chrono>
#include <random>

#include "migration/peer.h"

namespace godwit::migration {

using asio::ip::tcp;

namespace {

class AsioTimer final : public Timer {
 public:
  explicit AsioTimer(asio::io_context& io) : timer_(io) {}
  void set(uint64_t ms, std::function<void()> action) override {
    timer_.expires_after(std::chrono::milliseconds(ms));
    timer_.async_wait([action = std::move(action), alive = std::weak_ptr<int>(alive_), number = ++number_, this](const std::error_code& error) {
      if (!error && !alive.expired() && number == number_) action();
    });
  }
  void cancel() override {
    ++number_;
    timer_.cancel();
  }

 private:
  asio::steady_timer timer_;
  uint64_t number_ = 0;
  std::shared_ptr<int> alive_ = std::make_shared<int>(0);
};

}  // namespace

void AsioNetwork::connect(const std::string& address, OnConnected done) {
  auto endpoint = parse_address(address);
  if (!endpoint) return post([done = std::move(done), error = endpoint.error()] { done(fail(error)); });
  auto socket = std::make_shared<tcp::socket>(io_);
  socket->async_connect(*endpoint, [done = std::move(done), socket, watch = std::weak_ptr<int>(alive_)](const std::error_code& error) {
    if (watch.expired()) return;
    if (error) return done(fail(error.message()));
    done(std::shared_ptr<PeerSession>(std::make_shared<Session>(std::move(*socket))));
  });
}

Result<void> AsioNetwork::listen(const std::string& address, OnAccepted accepted) {
  auto endpoint = parse_address(address);
  if (!endpoint) return fail(endpoint.error());
  accepted_ = std::move(accepted);
  std::error_code error;
  acceptor_.open(endpoint->protocol(), error);
  if (!error) acceptor_.set_option(tcp::acceptor::reuse_address(true), error);
  if (!error) acceptor_.bind(*endpoint, error);
  if (!error) acceptor_.listen(64, error);
  if (error) return fail("cannot listen on " + address + ": " + error.message());
  accept();
  return {};
}

void AsioNetwork::accept() {
  acceptor_.async_accept([this, watch = std::weak_ptr<int>(alive_)](const std::error_code& error, tcp::socket socket) {
    if (watch.expired() || !acceptor_.is_open()) return;
    if (!error) accepted_(std::make_shared<Session>(std::move(socket)));
    accept();
  });
}

void AsioNetwork::stop_listening() {
  std::error_code ignored;
  acceptor_.close(ignored);
}

std::unique_ptr<Timer> AsioNetwork::timer() { return std::make_unique<AsioTimer>(io_); }

void AsioNetwork::post(std::function<void()> action) { asio::post(io_, std::move(action)); }

uint64_t AsioNetwork::random() {
  std::random_device device;
  return static_cast<uint64_t>(device()) << 32 | device();
}

}  // namespace godwit::migration
