// SPDX-License-Identifier: Apache-2.0
#include "migration/link/peer_ping.h"

#include <utility>

#include "migration/link/codec.h"

namespace godwit::migration {

PeerPing::PeerPing(Network& network, const Clock& clock, std::string self, std::string host,
                   std::string address, uint64_t count, Done done)
    : network_(network),
      clock_(clock),
      self_(std::move(self)),
      count_(count),
      done_(std::move(done)),
      timer_(network.timer()) {
  report_.host = std::move(host);
  report_.address = std::move(address);
}

void PeerPing::begin(uint64_t timeout_ms) {
  const std::weak_ptr<PeerPing> weak = weak_from_this();
  timer_->set(timeout_ms, [weak, timeout_ms] {
    if (auto self = weak.lock())
      self->end(fail(self->report_.host + " did not answer within " + std::to_string(timeout_ms) +
                     " ms"));
  });
  began_ns_ = clock_.now_ns();
  network_.connect(report_.address, [weak](Result<std::shared_ptr<PeerSession>> session) {
    auto self = weak.lock();
    if (self == nullptr || self->over_) return;
    if (!session)
      return self->end(fail("cannot connect to " + self->report_.host + " at " +
                            self->report_.address + ": " + session.error().message));
    self->session_ = std::move(*session);
    self->session_->start(
        [weak](wire::Envelope& message) {
          if (auto ping = weak.lock()) ping->on_message(message);
        },
        [weak](const std::string& reason) {
          auto ping = weak.lock();
          if (ping != nullptr)
            ping->end(fail(ping->report_.host + " ended the session: " + reason));
        });
    wire::Envelope hello;
    *hello.mutable_hello() = make_hello(self->self_);
    self->session_->send(hello);
  });
}

void PeerPing::on_message(const wire::Envelope& message) {
  if (over_) return;
  const uint64_t now = clock_.now_ns();
  if (message.has_hello()) {
    report_.connect_ns = now - began_ns_;
    report_.link = session_->link();
    report_.version_low = message.hello().version_low();
    report_.version_high = message.hello().version_high();
    if (report_.link.host != report_.host)
      return end(fail("the peer calls itself " + report_.link.host + ", not " + report_.host));
    if (report_.link.version < kVersionPing || count_ == 0) return end(std::move(report_));
    return send_ping();
  }
  if (!message.has_pong() || message.pong().number() != report_.round_trips_ns.size() + 1)
    return end(fail("a message that answers no ping"));
  report_.round_trips_ns.push_back(now - began_ns_);
  if (report_.round_trips_ns.size() >= count_) return end(std::move(report_));
  send_ping();
}

void PeerPing::send_ping() {
  wire::Envelope ping;
  ping.mutable_ping()->set_number(report_.round_trips_ns.size() + 1);
  began_ns_ = clock_.now_ns();
  session_->send(ping);
}

void PeerPing::stop() { end(fail("the switch ends")); }

void PeerPing::end(Result<PingReport> report) {
  if (std::exchange(over_, true)) return;
  const auto keep = shared_from_this();
  timer_->cancel();
  if (auto session = std::move(session_)) session->close_when_sent();
  if (const auto done = std::exchange(done_, nullptr)) done(std::move(report));
}

}  // namespace godwit::migration
