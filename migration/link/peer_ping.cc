// SPDX-License-Identifier: Apache-2.0
#include "migration/link/peer_ping.h"

#include <utility>

#include "migration/link/codec.h"

namespace godwit::migration {

PeerPing::PeerPing(Network& network, const Clock& clock, std::string self, std::string host,
                   std::string address, uint64_t count, Done done)
    : clock_(clock),
      count_(count),
      done_(std::move(done)),
      link_(network, clock, {std::move(self), host, address},
            {[this] { return !over_; }, [] { return wire::Envelope(); },
             [this](const wire::Hello& hello) { on_hello(hello); },
             [this](wire::Envelope& message) { on_message(message); },
             [this](PeerLink::Loss loss, const std::string& reason) { on_lost(loss, reason); }}),
      timer_(network.timer()) {
  report_.host = std::move(host);
  report_.address = std::move(address);
}

void PeerPing::begin(uint64_t timeout_ms) {
  timer_->set(timeout_ms, [weak = weak_from_this(), timeout_ms] {
    if (auto self = weak.lock())
      self->end(fail(self->report_.host + " did not answer within " + std::to_string(timeout_ms) +
                     " ms"));
  });
  began_ns_ = clock_.now_ns();
  link_.connect(weak_from_this());
}

void PeerPing::on_lost(PeerLink::Loss loss, const std::string& reason) {
  switch (loss) {
    case PeerLink::Loss::kNotConnected:
      return end(
          fail("cannot connect to " + report_.host + " at " + report_.address + ": " + reason));
    case PeerLink::Loss::kWrongName: return end(fail(reason));
    case PeerLink::Loss::kClosed: return end(fail(report_.host + " ended the session: " + reason));
  }
}

void PeerPing::on_hello(const wire::Hello& hello) {
  report_.connect_ns = clock_.now_ns() - began_ns_;
  report_.link = link_.session()->link();
  report_.version_low = hello.version_low();
  report_.version_high = hello.version_high();
  if (report_.link.version < kVersionPing || count_ == 0) return end(std::move(report_));
  send_ping();
}

void PeerPing::on_message(const wire::Envelope& message) {
  if (over_) return;
  const uint64_t now = clock_.now_ns();
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
  link_.send(ping);
}

void PeerPing::stop() { end(fail("the switch ends")); }

void PeerPing::end(Result<PingReport> report) {
  if (std::exchange(over_, true)) return;
  const auto keep = shared_from_this();
  timer_->cancel();
  link_.close_when_sent();
  if (const auto done = std::exchange(done_, nullptr)) done(std::move(report));
}

}  // namespace godwit::migration
