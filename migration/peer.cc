// SPDX-License-Identifier: Apache-2.0
#include "migration/peer.h"

#include <netinet/tcp.h>
#include <sys/socket.h>

#include <asio/read.hpp>
#include <asio/write.hpp>
#include <charconv>

namespace godwit::migration {

namespace {

constexpr int kUserTimeoutMs = 5000;  // unanswered data for this long: the peer is gone

void set_options(asio::ip::tcp::socket& socket) {
  std::error_code ignored;
  socket.set_option(asio::ip::tcp::no_delay(true), ignored);
  const int on = 1, idle_s = 2, interval_s = 1, probes = 3;
  const int fd = socket.native_handle();
  setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof(on));
  setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &idle_s, sizeof(idle_s));
  setsockopt(fd, IPPROTO_TCP, TCP_KEEPINTVL, &interval_s, sizeof(interval_s));
  setsockopt(fd, IPPROTO_TCP, TCP_KEEPCNT, &probes, sizeof(probes));
  setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &kUserTimeoutMs, sizeof(kUserTimeoutMs));
}

}  // namespace

Session::Session(asio::ip::tcp::socket socket) : socket_(std::move(socket)), timer_(socket_.get_executor()) { set_options(socket_); }

void Session::start(OnMessage on_message, OnClosed on_closed) {
  on_message_ = std::move(on_message);
  on_closed_ = std::move(on_closed);
  timer_.expires_after(std::chrono::milliseconds(kHelloTimeoutMs));
  timer_.async_wait([self = shared_from_this()](const std::error_code& error) {
    if (!error && !self->greeted_) self->close("peer: no hello within " + std::to_string(kHelloTimeoutMs) + " ms");
  });
  read_length();
}

void Session::hand_over(OnMessage on_message, OnClosed on_closed) {
  on_message_ = std::move(on_message);
  on_closed_ = std::move(on_closed);
}

void Session::read_length() {
  if (closed_) return;
  if (paused_) {
    read_waits_ = true;
    return;
  }
  asio::async_read(socket_, asio::buffer(length_), [self = shared_from_this()](const std::error_code& error, size_t) {
    if (error) return self->close(error == asio::error::eof ? "the peer closed the connection" : error.message());
    const auto length = frame_length(self->length_, self->greeted_ ? kMaxMessageBytes : kMaxHelloBytes);
    if (!length) return self->close(length.error().message);
    self->read_body(*length);
  });
}

void Session::read_body(uint32_t length) {
  if (closed_) return;
  body_.resize(length);
  asio::async_read(socket_, asio::buffer(body_), [self = shared_from_this()](const std::error_code& error, size_t) {
    if (error) return self->close(error == asio::error::eof ? "the peer closed the connection" : error.message());
    self->take(self->body_);
    if (self->body_.capacity() > (1u << 20)) std::vector<uint8_t>().swap(self->body_);
    self->read_length();
  });
}

void Session::take(std::span<const uint8_t> bytes) {
  auto message = parse_message(bytes);
  if (!message) return close(message.error().message);
  if (message->has_hello() == greeted_) return close(greeted_ ? "peer: a second hello" : "peer: spoke before its hello");
  if (!greeted_) {
    if (auto version = agree_on_version(message->hello()); !version) return close(version.error().message);
    greeted_ = true;
    host_ = message->hello().host();
    timer_.cancel();
  }
  // The callback may hand the session over to another one, or close it.
  if (const OnMessage on_message = on_message_; !closed_ && on_message) on_message(*message);
}

void Session::pause_reading(bool pause) {
  paused_ = pause;
  if (!paused_ && read_waits_) {
    read_waits_ = false;
    read_length();
  }
}

void Session::send(const wire::Envelope& message) {
  if (closed_ || closing_) return;
  out_.push_back(frame_message(message));
  queued_bytes_ += out_.back().size();
  if (out_.size() == 1) write_next();
}

void Session::write_next() {
  asio::async_write(socket_, asio::buffer(out_.front()), [self = shared_from_this()](const std::error_code& error, size_t) {
    if (self->closed_) return;
    if (error) return self->close(error.message());
    self->queued_bytes_ -= self->out_.front().size();
    self->out_.pop_front();
    if (!self->out_.empty()) {
      self->write_next();
    } else if (self->closing_) {
      self->close("closed");
    }
  });
}

void Session::close_when_sent() {
  if (closed_) return;
  closing_ = true;
  if (out_.empty()) return close("closed");
  timer_.expires_after(std::chrono::seconds(1));
  timer_.async_wait([self = shared_from_this()](const std::error_code& error) {
    if (!error) self->close("closed");
  });
}

void Session::close(const std::string& reason) {
  if (closed_) return;
  closed_ = true;
  timer_.cancel();
  std::error_code ignored;
  socket_.shutdown(asio::ip::tcp::socket::shutdown_both, ignored);
  socket_.close(ignored);
  on_message_ = nullptr;
  if (auto on_closed = std::move(on_closed_)) on_closed(reason);
  on_closed_ = nullptr;
}

Result<asio::ip::tcp::endpoint> parse_address(const std::string& text) {
  const auto bad = [&] {
    Error error;
    error.message = "bad address";
    error.token = text.substr(0, 128);
    error.expected = "ADDRESS:PORT, such as 127.0.0.1:7400 or [::1]:7400";
    return fail(std::move(error));
  };
  const size_t colon = text.rfind(':');
  if (colon == std::string::npos || colon == 0) return bad();
  std::string host = text.substr(0, colon);
  if (host.front() == '[' && host.back() == ']') host = host.substr(1, host.size() - 2);
  uint16_t port = 0;
  const char* first = text.data() + colon + 1;
  const char* last = text.data() + text.size();
  if (const auto parsed = std::from_chars(first, last, port); parsed.ec != std::errc{} || parsed.ptr != last || port == 0) return bad();
  std::error_code error;
  const auto address = asio::ip::make_address(host, error);
  if (error) return bad();
  return asio::ip::tcp::endpoint(address, port);
}

}  // namespace godwit::migration
