// SPDX-License-Identifier: Apache-2.0
#include "migration/moves/pull_request.h"

#include <utility>

namespace godwit::migration {

PullRequest::PullRequest(MoveContext& context, std::string vm, std::string from, std::string id,
                         const std::string& address)
    : context_(context),
      link_(context.network, context.clock, {context.options.host, from, address},
            {[this] { return !over_; }, [] { return wire::Envelope(); },
             [this](const wire::Hello&) { ask(); },
             [this](wire::Envelope& message) { on_message(message); },
             [this](PeerLink::Loss loss, const std::string& reason) { on_lost(loss, reason); }}),
      timer_(context.network.timer()) {
  status_.vm = std::move(vm);
  status_.peer = std::move(from);
  status_.id = std::move(id);
  status_.role = "destination";
  status_.state = "asking";
  note_step(status_, context_.clock.now_ns(), status_.state, {}, {});
}

void PullRequest::begin() {
  const uint64_t ms = context_.options.prepare_timeout_ms;
  timer_->set(ms, [weak = weak_from_this(), ms] {
    const auto self = weak.lock();
    if (self == nullptr) return;
    self->end(self->status_.peer +
              (self->agreed_ ? " agreed, but its offer did not come within "
                             : " did not answer within ") +
              std::to_string(ms) + " ms");
  });
  link_.connect(weak_from_this());
}

void PullRequest::ask() {
  wire::Envelope pull;
  pull.set_vm(status_.vm);
  pull.set_move(status_.id);
  pull.mutable_pull();
  link_.send(pull);
}

void PullRequest::on_lost(PeerLink::Loss loss, const std::string& reason) {
  switch (loss) {
    case PeerLink::Loss::kNotConnected:
      return end("cannot connect to " + status_.peer + ": " + reason);
    case PeerLink::Loss::kWrongName: return end(reason);
    case PeerLink::Loss::kClosed:
      if (!agreed_) end(status_.peer + " does not answer: " + reason);
  }
}

void PullRequest::on_message(const wire::Envelope& message) {
  if (over_) return;
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
  link_.close_when_sent();
}

void PullRequest::arrived() { end({}); }
void PullRequest::cancel() { end("cancelled"); }

void PullRequest::stop() {
  over_ = true;
  timer_->cancel();
  link_.close("the switch ends");
}

void PullRequest::end(const std::string& error) {
  if (over_) return;
  over_ = true;
  timer_->cancel();
  link_.close_when_sent();
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
