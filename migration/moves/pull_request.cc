// SPDX-License-Identifier: Apache-2.0
#include "migration/moves/pull_request.h"

namespace godwit::migration {

PullRequest::PullRequest(MoveContext& context, std::string vm, std::string from, std::string id,
                         std::string address)
    : context_(context), address_(std::move(address)), timer_(context.network.timer()) {
  status_.vm = std::move(vm);
  status_.peer = std::move(from);
  status_.id = std::move(id);
  status_.role = "destination";
  status_.state = "asking";
  note_step(status_, context_.clock.now_ns(), status_.state, {}, {});
}

void PullRequest::begin() {
  const std::weak_ptr<PullRequest> weak = weak_from_this();
  timer_->set(context_.options.prepare_timeout_ms, [weak] {
    if (auto self = weak.lock()) {
      self->end(self->status_.peer +
                (self->agreed_ ? " agreed, but its offer did not come within "
                               : " did not answer within ") +
                std::to_string(self->context_.options.prepare_timeout_ms) + " ms");
    }
  });
  context_.network.connect(address_, [weak](Result<std::shared_ptr<PeerSession>> session) {
    auto self = weak.lock();
    if (self == nullptr || self->over_) return;
    if (!session)
      return self->end("cannot connect to " + self->status_.peer + ": " + session.error().message);
    self->session_ = std::move(*session);
    self->session_->start(
        [weak](wire::Envelope& message) {
          if (auto request = weak.lock()) request->on_message(message);
        },
        [weak](const std::string& reason) {
          auto request = weak.lock();
          if (request && !request->agreed_)
            request->end(request->status_.peer + " does not answer: " + reason);
        });
    wire::Envelope hello;
    *hello.mutable_hello() = make_hello(self->context_.options.host);
    self->session_->send(hello);
  });
}

void PullRequest::on_message(const wire::Envelope& message) {
  if (over_) return;
  const auto keep = shared_from_this();
  if (message.has_hello()) {
    if (message.hello().host() != status_.peer)
      return end("the peer calls itself " + message.hello().host() + ", not " + status_.peer);
    wire::Envelope pull;
    pull.set_vm(status_.vm);
    pull.set_move(status_.id);
    pull.mutable_pull();
    return session_->send(pull);
  }
  if (message.move() != status_.id || message.vm() != status_.vm)
    return end("peer: a message of another move (" + message.move() + ")");
  if (message.has_refused()) {
    std::string reasons;
    for (const std::string& reason : message.refused().reasons())
      reasons += (reasons.empty() ? "" : "\n") + reason;
    return end("refused by " + status_.peer + ": " + reasons);
  }
  if (!message.has_pulled()) return end("peer: a message that does not answer a pull");
  agreed_ = true;
  if (auto session = std::move(session_)) session->close_when_sent();
}

void PullRequest::arrived() { end({}); }
void PullRequest::cancel() { end("cancelled"); }

void PullRequest::stop() {
  over_ = true;
  timer_->cancel();
  if (auto session = std::move(session_)) session->close("the switch ends");
}

void PullRequest::end(const std::string& error) {
  if (over_) return;
  over_ = true;
  timer_->cancel();
  if (auto session = std::move(session_)) session->close_when_sent();
  if (!error.empty()) {
    status_.error = error;
    status_.state = "aborted";
    note_step(status_, context_.clock.now_ns(), status_.state, {}, error);
    context_.log("pull " + status_.id + " of " + status_.vm + " from " + status_.peer + ": " +
                 error);
  }
  context_.changed();
}

}  // namespace godwit::migration
