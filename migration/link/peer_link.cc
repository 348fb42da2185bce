// SPDX-License-Identifier: Apache-2.0
#include "migration/link/peer_link.h"

#include <utility>

#include "migration/link/codec.h"

namespace godwit::migration {

PeerLink::PeerLink(Network& network, const Clock& clock, Peer peer, Handlers handlers)
    : network_(network),
      clock_(clock),
      peer_(std::move(peer)),
      handlers_(std::move(handlers)),
      timer_(network.timer()) {}

PeerLink::~PeerLink() = default;

void PeerLink::connect(std::weak_ptr<void> owner) {
  network_.connect(peer_.address,
                   [this, owner = std::move(owner)](Result<std::shared_ptr<PeerSession>> session) {
                     const auto keep = owner.lock();
                     const bool wanted =
                         keep != nullptr && session_ == nullptr && handlers_.wanted();
                     if (!wanted) {
                       if (session) (*session)->close("the connection is not needed any more");
                     } else if (!session) {
                       handlers_.on_lost(Loss::kNotConnected, session.error().message);
                     } else {
                       connected(std::move(*session), owner);
                     }
                   });
}

void PeerLink::connect_in(uint64_t ms, std::weak_ptr<void> owner) {
  timer_->set(ms, [this, owner = std::move(owner)] {
    if (const auto keep = owner.lock()) connect(owner);
  });
}

void PeerLink::connected(std::shared_ptr<PeerSession> session, const std::weak_ptr<void>& owner) {
  session_ = std::move(session);
  since_ns_ = clock_.now_ns();
  session_->start(messages(owner), closing(owner));
  wire::Envelope hello = handlers_.greeting();
  *hello.mutable_hello() = make_hello(peer_.self);
  session_->send(hello);
}

void PeerLink::adopt(std::shared_ptr<PeerSession> session, std::weak_ptr<void> owner) {
  timer_->cancel();
  session_ = std::move(session);
  since_ns_ = clock_.now_ns();
  session_->hand_over(messages(owner), closing(owner));
}

PeerSession::OnMessage PeerLink::messages(const std::weak_ptr<void>& owner) {
  return [this, owner, current = session_.get()](wire::Envelope& message) {
    const auto keep = owner.lock();
    if (keep != nullptr && session_.get() == current) take(message);
  };
}

PeerSession::OnClosed PeerLink::closing(const std::weak_ptr<void>& owner) {
  return [this, owner, current = session_.get()](const std::string& reason) {
    const auto keep = owner.lock();
    if (keep == nullptr || session_.get() != current) return;
    session_.reset();
    handlers_.on_lost(Loss::kClosed, reason);
  };
}

void PeerLink::take(wire::Envelope& message) {
  if (!message.has_hello()) return handlers_.on_message(message);
  if (message.hello().host() == peer_.host) return handlers_.on_hello(message.hello());
  const std::string reason =
      "the peer calls itself " + message.hello().host() + ", not " + peer_.host;
  close(reason);
  handlers_.on_lost(Loss::kWrongName, reason);
}

void PeerLink::send(const wire::Envelope& message) const {
  if (session_ != nullptr) session_->send(message);
}

void PeerLink::reject(const std::string& reason) const {
  if (const auto session = session_) session->close(reason);
}

void PeerLink::close(const std::string& reason) {
  if (const auto session = std::exchange(session_, nullptr)) session->close(reason);
}

void PeerLink::close_when_sent() {
  if (const auto session = std::exchange(session_, nullptr)) session->close_when_sent();
}

}  // namespace godwit::migration
