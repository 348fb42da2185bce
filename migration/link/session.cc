// SPDX-License-Identifier: Apache-2.0
#include "migration/link/session.h"

#include <algorithm>
#include <asio/post.hpp>
#include <utility>

#include "migration/link/peer_address.h"

namespace godwit::migration {

namespace {

constexpr size_t kWriteBuffers = 32;     // messages in one write
constexpr uint64_t kKeepAliveParts = 3;  // checks in one idle_timeout_ms
// Answers that wait while the peer does not read. Beyond it nothing more is read from the peer.
constexpr size_t kMaxAnswerQueue = 64u << 10;  // bytes
constexpr uint64_t kLingerMs = 1000;           // for queued messages after close_when_sent()

}  // namespace

Session::Session(std::shared_ptr<PeerStream> stream, SessionOptions options, bool incoming)
    : stream_(std::move(stream)),
      options_(std::move(options)),
      incoming_(incoming),
      timer_(stream_->socket().get_executor()),
      idle_timer_(stream_->socket().get_executor()),
      heard_(std::chrono::steady_clock::now()) {
  link_.address = address_text(stream_->socket());
  link_.incoming = incoming;
  link_.cipher = stream_->cipher();
  link_.certificate = stream_->certificate();
}

Session::~Session() {
  if (watches_.closed) watches_.closed();
}

void Session::watch(Watch taken, Watch closed) { watches_ = {std::move(taken), std::move(closed)}; }

void Session::start(OnMessage on_message, OnClosed on_closed) {
  on_message_ = std::move(on_message);
  on_closed_ = std::move(on_closed);
  limit(options_.handshake_timeout_ms,
        "peer: no hello within " + std::to_string(options_.handshake_timeout_ms) + " ms");
  read();
}

void Session::hand_over(OnMessage on_message, OnClosed on_closed) {
  on_message_ = std::move(on_message);
  on_closed_ = std::move(on_closed);
  if (!closing_why_) timer_.cancel();
  owned_ = true;
  if (const auto taken = std::exchange(watches_.taken, nullptr)) taken();
}

void Session::limit(uint64_t ms, const std::string& reason) {
  timer_.expires_after(std::chrono::milliseconds(ms));
  timer_.async_wait([self = shared_from_this(), reason](const std::error_code& error) {
    if (!error) self->close(reason);
  });
}

void Session::read() {
  if (closed_ || paused_ || reading_ || unread()) return;
  reading_ = true;
  const std::span<uint8_t> room = reader_.room();
  stream_->read_some(asio::buffer(room.data(), room.size()),
                     [self = shared_from_this()](const std::string& error, size_t bytes) {
                       self->reading_ = false;
                       if (!error.empty()) return self->close(error);
                       self->reader_.took(bytes);
                       self->heard_ = std::chrono::steady_clock::now();
                       self->deliver();
                     });
}

void Session::deliver() {
  if (delivering_) return;
  const auto self = shared_from_this();
  delivering_ = true;
  out_.answering = true;
  while (!closed_ && !paused_ && !refused_ && !unread()) {
    auto message = reader_.next();
    if (!message) {
      close(message.error().message);
    } else if (!*message) {
      break;
    } else if (!take(**message)) {
      break;
    }
  }
  delivering_ = out_.answering = false;
  read();
}

bool Session::take(std::span<const uint8_t> bytes) {
  auto message = parse_message(bytes);
  const bool greeted = link_.version != 0;
  Result<void> good;
  if (!message) {
    good = fail(message.error());
  } else if (message->has_hello() == greeted) {
    good = fail(greeted ? "peer: a second hello" : "peer: spoke before its hello");
  } else if (!greeted) {
    good = greet(message->hello());
  } else if ((message->has_ping() || message->has_pong()) && link_.version < kVersionPing) {
    good = fail("peer: a ping in version " + std::to_string(link_.version));
  }
  if (!good) {
    if (!refused_) close(good.error().message);
    return false;
  }
  if (message->has_ping()) answer_ping(message->ping());
  const bool keeps_alive = (message->has_ping() && message->ping().number() == 0) ||
                           (message->has_pong() && message->pong().number() == 0);
  if (keeps_alive) return true;
  if (incoming_ && !owned_ && !closing_why_) {
    limit(options_.handshake_timeout_ms, "peer: " + link_.host + " sent nothing of use within " +
                                             std::to_string(options_.handshake_timeout_ms) + " ms");
  }
  if (message->has_ping()) return true;
  // The callback may replace itself by hand_over(), or close the session.
  if (const OnMessage on_message = on_message_; !closed_ && on_message) on_message(*message);
  return !closed_;
}

void Session::answer_ping(const wire::Ping& ping) {
  wire::Envelope pong;
  pong.mutable_pong()->set_number(ping.number());
  send(pong);
}

uint32_t Session::most_bytes(const std::string& host) const {
  if (!incoming_) return kMaxReplyBytes;
  return !options_.may_offer || options_.may_offer->contains(host) ? kMaxMessageBytes
                                                                   : kMaxUnlistedBytes;
}

Result<void> Session::greet(const wire::Hello& hello) {
  const auto version = agree_on_version(hello);
  if (!version) {
    // A switch of another version gets this hello in answer, so that it can name the versions too.
    if (incoming_ && hello.magic() == kMagic && !options_.host.empty()) {
      refused_ = true;
      wire::Envelope ours;
      *ours.mutable_hello() = make_hello(options_.host);
      send(ours);
      close_after_sending(version.error().message);
    }
    return fail(version.error());
  }
  if (link_.certificate && !names_host(*link_.certificate, hello.host())) {
    return fail("peer: calls itself " + hello.host() + ", and its certificate (" +
                link_.certificate->subject + ") is for " + names_text(*link_.certificate));
  }
  link_.host = hello.host();
  link_.version = *version;
  reader_.raise_limit(most_bytes(link_.host));
  timer_.cancel();
  if (link_.version >= kVersionPing) keep_alive();
  return {};
}

void Session::keep_alive() {
  const uint64_t part_ms = std::max<uint64_t>(1, options_.idle_timeout_ms / kKeepAliveParts);
  idle_timer_.expires_after(std::chrono::milliseconds(part_ms));
  idle_timer_.async_wait([self = shared_from_this(), part_ms](const std::error_code& failed) {
    if (failed || self->closed_) return;
    const auto now = std::chrono::steady_clock::now();
    std::error_code ignored;
    // The peer is not silent if its bytes wait unread: this thread may be late, or reading paused.
    if (self->paused_ || self->stream_->socket().available(ignored) > 0) self->heard_ = now;
    const auto silent_ms = static_cast<uint64_t>(
        std::chrono::duration_cast<std::chrono::milliseconds>(now - self->heard_).count());
    if (silent_ms >= self->options_.idle_timeout_ms) {
      return self->close("peer: " + self->link_.host + " has been silent for " +
                         std::to_string(silent_ms) + " ms");
    }
    if (silent_ms >= part_ms) {
      wire::Envelope ping;
      ping.mutable_ping();
      self->send(ping);
    }
    self->keep_alive();
  });
}

void Session::pause_reading(bool pause) {
  if (std::exchange(paused_, pause) == pause || paused_ || closed_) return;
  asio::post(stream_->socket().get_executor(), [self = shared_from_this()] { self->deliver(); });
}

bool Session::unread() const { return out_.answer_bytes >= kMaxAnswerQueue; }

void Session::send(const wire::Envelope& message) {
  if (closed_ || closing_why_) return;
  // Redirected frames are bulk data, and their sender looks at queued_bytes().
  const bool answer = out_.answering && !message.has_redirect();
  out_.messages.push_back({frame_message(message), answer});
  const size_t bytes = out_.messages.back().bytes.size();
  out_.bytes += bytes;
  if (answer) out_.answer_bytes += bytes;
  if (out_.writing == 0) write_next();
}

void Session::write_next() {
  std::vector<asio::const_buffer> buffers;
  for (const Queued& message : out_.messages) {
    if (buffers.size() == kWriteBuffers) break;
    buffers.push_back(asio::buffer(message.bytes));
  }
  out_.writing = buffers.size();
  stream_->write(buffers, [self = shared_from_this()](const std::string& error, size_t) {
    if (self->closed_) return;
    if (!error.empty()) return self->close(error);
    SendQueue& out = self->out_;
    const bool was_unread = self->unread();
    for (; out.writing > 0; --out.writing) {
      const size_t bytes = out.messages.front().bytes.size();
      out.bytes -= bytes;
      if (out.messages.front().answer) out.answer_bytes -= bytes;
      out.messages.pop_front();
    }
    if (was_unread && !self->unread()) self->deliver();
    if (self->closed_ || out.writing > 0) return;
    if (!out.messages.empty()) {
      self->write_next();
    } else if (self->closing_why_) {
      self->close(*self->closing_why_);
    }
  });
}

void Session::close_when_sent() { close_after_sending("closed"); }

void Session::close_after_sending(const std::string& why) {
  if (closed_) return;
  closing_why_ = why;
  if (out_.messages.empty()) return close(why);
  limit(kLingerMs, why);
}

void Session::close(const std::string& reason) {
  if (closed_) return;
  closed_ = true;
  timer_.cancel();
  idle_timer_.cancel();
  stream_->close();
  on_message_ = nullptr;
  watches_.taken = nullptr;
  if (const auto closed = std::exchange(watches_.closed, nullptr)) closed();
  if (auto on_closed = std::move(on_closed_)) on_closed(reason);
  on_closed_ = nullptr;
}

}  // namespace godwit::migration
